//! What commands do and refuse, the invariants under any sequence of them, the bytes.

mod bytes;
mod nodes;
mod placement;
mod properties;
mod replicas;
mod rotation;
mod tokens;
mod volumes;
mod voters;

use super::super::id::{ClusterId, Epoch, Lsn, NodeId, SnapshotId, StoreId, TokenId, VolumeId};
use super::*;
use crate::identity::{Fingerprint, PublicKey};
use crate::join::TokenKey;
use crate::replication::{self, Member};

const CLUSTER: ClusterId = ClusterId([1; 16]);
fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn text(text: &str) -> Text {
    text.parse().unwrap()
}

fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

fn key(number: u64) -> PublicKey {
    PublicKey([number as u8; 32])
}

fn new_node(number: u64) -> About {
    About {
        name: name(&format!("node-{number}")),
        addresses: vec![text(&format!("10.0.0.{number}:7000"))],
        zone: text(&format!("rack-{}", number % 3)),
        key: key(number),
        store: Some(StoreId([number as u8; 16])),
    }
}

fn new_volume(called: &str, placement: &[u64]) -> NewVolume {
    NewVolume {
        name: name(called),
        size_bytes: 1 << 30,
        codec: text("lz4"),
        state: VolumeState::Ready,
        origin: None,
        copies: Copies::of(3),
        primary: NodeId(placement[0]),
        placement: placement.iter().copied().map(NodeId).collect(),
        now_ms: 5,
    }
}

/// A cluster with nodes 1 to `count`, all members.
fn cluster(count: u64) -> Configuration {
    let mut configuration = Configuration::default();
    done(&mut configuration, Command::Found { cluster: CLUSTER, node: new_node(1), now_ms: 1 });
    for number in 2..=count {
        joining(&mut configuration, number);
        done(&mut configuration, describe(NodeId(number), &new_node(number)));
        done(&mut configuration, Command::AdmitNode { node: NodeId(number) });
    }
    configuration
}

/// A cluster of four nodes and volume 1 on the first three.
fn with_volume() -> Configuration {
    let mut configuration = cluster(4);
    done(&mut configuration, Command::CreateVolume(new_volume("db", &[1, 2, 3])));
    configuration
}

/// A node that was let in with a token of its own, and that nothing else is known of.
fn joining(configuration: &mut Configuration, number: u64) -> NodeId {
    let token = token(configuration);
    let Outcome::Node(id) = done(configuration, Command::Join { token, key: key(number), now_ms: 3 }) else {
        panic!("a node")
    };
    id
}

fn describe(node: NodeId, about: &About) -> Command {
    let About { name, addresses, zone, store, .. } = about.clone();
    Command::DescribeNode { node, name, addresses, zone, store: store.unwrap() }
}

fn kept(number: u8) -> KeptKey {
    KeptKey::from(&TokenKey::new([number; 32]))
}

fn token(configuration: &mut Configuration) -> TokenId {
    let token = TokenId([configuration.tokens().count() as u8 + 1; 8]);
    done(configuration, Command::CreateToken { token, key: kept(9), expires_ms: 100, now_ms: 2 });
    token
}

fn change(volume: u64, next: replication::Configuration) -> Command {
    Command::ChangeReplicas { volume: VolumeId(volume), next }
}

/// What replication would propose for volume 1: these members, since these epochs, and the first as primary.
fn next(epoch: u64, members: &[(u64, u64)]) -> replication::Configuration {
    let member = |&(node, since): &(u64, u64)| Member { node: NodeId(node), since: Epoch(since) };
    replication::Configuration {
        epoch: Epoch(epoch),
        primary: NodeId(members[0].0),
        members: members.iter().map(member).collect(),
        loss: Epoch(0),
    }
}

/// The certificate of an authority, for what the configuration knows of it.
fn certificate(number: u8) -> Vec<u8> {
    vec![number; 300]
}

fn begin_rotation(configuration: &mut Configuration, node: u64, authority: u8) {
    done(configuration, Command::BeginRotation { node: NodeId(node), certificate: certificate(authority) });
}

fn confirmation(node: NodeId, authority: u8, stage: RotationStage) -> Command {
    Command::ConfirmRotation { node, authority: Fingerprint::of(&certificate(authority)), stage }
}

fn confirm_rotation(configuration: &mut Configuration, node: u64, authority: u8, stage: RotationStage) {
    done(configuration, confirmation(NodeId(node), authority, stage));
}

/// Takes all steps of a change of the authority that are left.
fn rotate(configuration: &mut Configuration, authority: u8) {
    while let Some(rotation) = configuration.rotation() {
        let (stage, node) = (rotation.stage, configuration.awaited().next().unwrap());
        done(configuration, confirmation(node, authority, stage));
    }
}

#[track_caller]
fn done(configuration: &mut Configuration, command: Command) -> Outcome {
    let outcome = configuration.apply(&command).unwrap();
    configuration.check().unwrap();
    outcome
}

/// That the command is refused with these words and changes nothing.
#[track_caller]
fn refused(configuration: &mut Configuration, command: Command, words: &str) {
    let before = configuration.clone();
    assert_eq!(configuration.apply(&command).unwrap_err().to_string(), words);
    assert_eq!(*configuration, before);
}

#[test]
fn there_is_nothing_before_the_cluster_and_only_one_cluster() {
    let mut configuration = Configuration::default();
    refused(
        &mut configuration,
        Command::CreateVolume(new_volume("a", &[1])),
        "there is no cluster yet: make one first",
    );
    let found = Command::Found { cluster: CLUSTER, node: new_node(1), now_ms: 1 };
    assert_eq!(done(&mut configuration, found.clone()), Outcome::Node(NodeId(1)));
    assert_eq!(configuration.cluster(), Some(CLUSTER));
    assert_eq!(configuration.node(NodeId(1)).unwrap().state, NodeState::Member);
    refused(&mut configuration, found, "the cluster exists already");
}

#[test]
fn settings_are_set_and_taken_away_and_bounded() {
    let mut configuration = cluster(1);
    let set = |key: &str, value: Option<&str>| Command::SetSetting { name: name(key), value: value.map(text) };
    done(&mut configuration, set("a", Some("1")));
    done(&mut configuration, set("a", Some("2")));
    assert_eq!(configuration.setting(&name("a")), Some(&text("2")));
    done(&mut configuration, set("a", None));
    assert_eq!(configuration.settings().count(), 0);
    for number in 0..SETTINGS_MAX {
        done(&mut configuration, set(&format!("s{number}"), Some("")));
    }
    refused(&mut configuration, set("one-more", Some("")), "the cluster has as many settings as it can");
    done(&mut configuration, set("s0", Some("changed")));
}
