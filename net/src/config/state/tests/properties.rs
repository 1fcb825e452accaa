//! Any sequence of commands: the invariants hold, what is refused changes nothing, and the same commands give the same.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const KINDS: u64 = 34;

/// Numbers that a command is made of. Most name something that exists or could.
#[derive(Clone, Copy, Debug)]
struct Seed {
    kind: u64,
    a: u64,
    b: u64,
    c: u64,
}

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let seed = (0..KINDS, any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(kind, a, b, c)| Seed { kind, a, b, c });
    vec(seed, 1..120)
}

/// One of what there is, or nothing.
fn pick<T: Default>(ids: impl Iterator<Item = T>, number: u64) -> T {
    let mut ids: Vec<T> = ids.collect();
    let at = (number % (ids.len() as u64 + 1)) as usize;
    if at < ids.len() { ids.swap_remove(at) } else { T::default() }
}

/// What replication could propose: the members without one or with another, and sometimes what it must not.
fn proposal(Seed { a, b, c, .. }: Seed, volume: &Volume) -> replication::Configuration {
    let mut next = volume.replicas.configuration();
    next.epoch.0 += 1 + u64::from(c % 8 == 0);
    let (placement, count) = (&volume.replicas.placement, next.members.len() as u64);
    if a % 3 == 0 {
        next.members.remove((b % count) as usize);
    }
    if a % 4 > 1 {
        let node = placement[(b % placement.len() as u64) as usize];
        next.members.push(Member { node: NodeId(node.0 + u64::from(c % 5 == 0)), since: next.epoch });
    }
    if c % 2 == 0 {
        next.primary = volume.replicas.members[(b / 8 % count) as usize].node;
    }
    next.loss = if b % 3 == 0 { next.epoch } else { Epoch(next.loss.0 + u64::from(b % 7 == 0)) };
    next
}

/// The command of a seed, given what there is. Epochs are mostly right, so that compare-and-set is passed often enough.
fn command(seed: Seed, configuration: &Configuration, step: u64) -> Command {
    let Seed { kind, a, b, c } = seed;
    let node = pick(configuration.nodes().map(|node| node.id), a);
    let volume = pick(configuration.volumes().map(|volume| volume.id), b / 8);
    let epoch = configuration.volume(volume).map_or(0, |volume| volume.replicas.epoch.0) + u64::from(c % 8 == 0);
    let epoch = Epoch(epoch);
    let called = name(&format!("n{}", c % 7));
    let fresh = About { name: name(&format!("m{}", c % 16)), ..new_node(step % 250) };
    let token = TokenId([(a % 6) as u8; 8]);
    let joining = configuration.nodes().filter(|node| node.state == NodeState::Joining).map(|node| node.id);
    let joining = pick(joining, a / 64);
    let mut snapshots = configuration.snapshots(volume).map(|(name, _)| name.clone());
    let snapshot = snapshots.next().filter(|_| b % 4 != 0).unwrap_or_else(|| called.clone());
    let copies = Copies { replicas: (b % 6) as u8, in_sync_min: 1 + (c % 2) as u8 };
    let nodes: BTreeSet<NodeId> = (1..5).filter(|bit| c >> bit & 1 == 1).map(NodeId).chain([node]).collect();
    let nodes: Vec<NodeId> = nodes.into_iter().chain((b % 9 == 0).then_some(node)).collect();
    match kind {
        0 => Command::Found { cluster: CLUSTER, node: fresh, now_ms: step },
        1 => Command::CreateToken { token, key: kept(1), expires_ms: step + c % 40, now_ms: step },
        2 => Command::RemoveToken { token },
        3 => Command::Join { token, key: fresh.key, now_ms: step },
        4 => Command::AdmitNode { node: joining },
        5 => Command::MoveNode { node, addresses: vec![text("a"); (c % 10) as usize], zone: text("z") },
        6 => Command::RenameNode { node, name: called },
        7 => Command::RenewKey { node, key: key(step % 120 + b % 2) },
        8 => Command::DrainNode { node },
        9 => Command::ResumeNode { node },
        10 => Command::RemoveNode { node },
        11 => Command::CreateVolume(NewVolume {
            name: called,
            size_bytes: b % 5,
            placement: nodes,
            primary: node,
            copies,
            state: if a % 2 == 0 { VolumeState::Ready } else { VolumeState::Importing },
            origin: (c % 3 == 0).then_some(Origin { volume, snapshot: (b % 2 == 0).then_some(SnapshotId(a % 6)) }),
            ..new_volume("x", &[1])
        }),
        12 => Command::FinishImport { volume },
        13 => Command::RenameVolume { volume, name: called },
        14 => Command::ResizeVolume { volume, size_bytes: a % 3 },
        15 => Command::SetCodec { volume, codec: text("none") },
        16 => Command::SetSchedule { volume, schedule: (a % 2 == 0).then(|| text("every=1h")) },
        17 => Command::SetCopies { volume, copies, placement: nodes },
        18 => Command::TrashVolume { volume, expires_ms: step + a % 4, now_ms: step },
        19 => Command::RestoreVolume { volume, name: called },
        20 => Command::DeleteVolume { volume, with_snapshots: a % 2 == 0 },
        21 => {
            let missing = || next(1, &[(1, 1)]);
            let next = configuration.volume(volume).map_or_else(missing, |volume| proposal(seed, volume));
            Command::ChangeReplicas { volume, next }
        }
        22 => Command::PlaceReplicas { volume, nodes },
        23 => Command::CreateSnapshots {
            cuts: vec![Cut { volume, epoch, name: called, lsn: Lsn(a) }; 1 + (a % 5 == 0) as usize],
            now_ms: step,
        },
        24 => Command::RenameSnapshot { volume, name: snapshot, to: name(&format!("n{}", a % 7)) },
        25 => Command::RemoveSnapshots { volume, names: vec![snapshot; 1 + (a % 5 == 0) as usize] },
        26 => describe(joining, &fresh),
        // Not so often that nothing is left.
        27 => Command::ForgetNode { node: if c % 4 == 0 { node } else { NodeId::default() } },
        28 => Command::SetAllowed { volume, names: (0..c % 3).map(|_| identity(&format!("i{}", a % 3))).collect() },
        29 => {
            let limit = |number: u64| (!number.is_multiple_of(3)).then_some(number);
            Command::SetLimits { volume, limits: VolumeLimits { reserve_bytes: limit(a), quota_bytes: limit(c) } }
        }
        // One that is always refused, and mostly none: while there is one, nobody joins.
        30 => Command::BeginRotation { node, certificate: certificate(if c % 4 == 0 { (a % 200) as u8 } else { 0 }) },
        31 => rotation_step(configuration, node, c % 5 == 0),
        32 => {
            let of = |rotation: &Rotation| if c % 2 == 0 { rotation.authority() } else { Fingerprint([0; 32]) };
            Command::CancelRotation { authority: configuration.rotation().map_or(Fingerprint([0; 32]), of) }
        }
        _ => Command::SetSetting { name: called, value: (a % 2 == 0).then(|| text("v")) },
    }
}

/// A step of a change of the authority, mostly one that is awaited.
fn rotation_step(configuration: &Configuration, node: NodeId, is_any: bool) -> Command {
    let awaited = configuration.awaited().next().filter(|_| !is_any);
    let (authority, stage) = configuration
        .rotation()
        .map_or((Fingerprint([0; 32]), RotationStage::Trusting), |rotation| (rotation.authority(), rotation.stage));
    Command::ConfirmRotation { node: awaited.unwrap_or(node), authority, stage }
}

/// What must hold from one state to the next.
#[derive(Default)]
struct History {
    epochs: BTreeMap<VolumeId, Epoch>,
    nodes: BTreeMap<NodeId, Option<(PublicKey, NodeId)>>,
    given: BTreeSet<Outcome2>,
}

/// An id that was given out.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Outcome2 {
    Volume(VolumeId),
    Snapshot(SnapshotId),
}

impl History {
    fn see(&mut self, configuration: &Configuration, outcome: &Outcome) {
        let given = match outcome {
            // The same key gets the same node, however often it asks.
            Outcome::Node(id) => {
                let key = configuration.tokens().find_map(|it| it.used_by.filter(|(_, node)| node == id));
                let is_new = self.nodes.insert(*id, key).is_none_or(|before| before == key);
                assert!(is_new, "an id is given out once");
                Vec::new()
            }
            Outcome::Volume(id) => vec![Outcome2::Volume(*id)],
            Outcome::Snapshots(ids) => ids.iter().copied().map(Outcome2::Snapshot).collect(),
            Outcome::Done | Outcome::Epoch(_) => Vec::new(),
        };
        for id in given {
            assert!(self.given.insert(id), "an id is given out once");
        }
        for volume in configuration.volumes() {
            let set = &volume.replicas;
            let before = self.epochs.insert(volume.id, set.epoch);
            assert!(before <= Some(set.epoch), "an epoch only grows");
            assert!(set.is_member(set.primary), "the primary is a member");
            let is_present = |node: NodeId| configuration.node(node).unwrap().is_present();
            let members = set.members.iter().map(|member| member.node);
            let held: BTreeSet<NodeId> = members.filter(|node| is_present(*node)).collect();
            assert!(!held.is_empty(), "somebody holds it");
            assert!(set.placement.iter().all(|node| is_present(*node)), "a removed node shall hold nothing");
        }
        let names: BTreeSet<_> = configuration.volumes().filter(|v| v.trashed.is_none()).map(|v| &v.name).collect();
        let named = configuration.volumes().filter(|volume| volume.trashed.is_none()).count();
        assert_eq!(names.len(), named, "names are unique");
    }
}

/// Applies a command to two configurations at once, one of which has just been stored and read back.
fn apply(configuration: &mut Configuration, command: &Command) -> Result<Outcome, Rejection> {
    let before = configuration.clone();
    let mut stored = Configuration::decode(&before.encode()).unwrap();
    let result = configuration.apply(command);
    assert_eq!(stored.apply(command), result, "the same command does the same");
    assert_eq!(stored, *configuration);
    if result.is_err() {
        assert_eq!(*configuration, before, "what is refused changes nothing");
    }
    configuration.check().unwrap();
    let changed_epoch = |volume: &Volume| {
        let Some(old) = before.volume(volume.id) else { return true };
        let (old, new) = (&old.replicas, &volume.replicas);
        old.epoch != new.epoch || old.configuration() == new.configuration()
    };
    assert!(configuration.volumes().all(changed_epoch), "who acknowledges changes with the epoch only");
    configuration.volumes().for_each(|volume| check_bound(before.volume(volume.id), volume, configuration));
    result
}

/// That no more nodes hold a volume or shall than one beyond its copies, but for those that were too many before.
fn check_bound(before: Option<&Volume>, volume: &Volume, configuration: &Configuration) {
    let count = |volume: &Volume| {
        let members = volume.replicas.members.iter().map(|member| member.node);
        let is_present = |node: &NodeId| configuration.node(*node).unwrap().is_present();
        members.chain(volume.replicas.placement.iter().copied()).filter(is_present).collect::<BTreeSet<_>>().len()
    };
    let most = usize::from(volume.copies.replicas) + MOVING_MAX;
    assert!(count(volume) <= most.max(before.map_or(0, count)), "{volume:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_whatever_is_asked(seeds in seeds()) {
        let mut configuration = cluster(5);
        let mut history = History::default();
        for (step, seed) in (10..).zip(seeds) {
            let command = command(seed, &configuration, step);
            if let Ok(outcome) = apply(&mut configuration, &command) {
                history.see(&configuration, &outcome);
            }
        }
    }

    #[test]
    fn damaged_bytes_are_no_configuration(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut record = with_volume().encode();
        let at = at.index(record.len());
        record[at] ^= 1 << bit;
        prop_assert!(Configuration::decode(&record).is_err());
        prop_assert!(Configuration::decode(&record[..at]).is_err());
    }
}

/// The property above would be worth little if its commands were never accepted, or never refused.
#[test]
fn every_kind_of_command_is_accepted_and_refused_at_some_time() {
    let (mut accepted, mut refused) = (BTreeMap::new(), BTreeMap::new());
    let kinds = |found: &BTreeMap<u64, Discriminant<Command>>| found.len() as u64;
    let mut random = 1_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 32
    };
    for round in 0..60 {
        let mut configuration = if round == 0 { Configuration::default() } else { cluster(5) };
        for step in 10..200 {
            let kind = if step == 10 { 0 } else { next() % KINDS };
            let command = command(Seed { kind, a: next(), b: next(), c: next() }, &configuration, step);
            let seen = if configuration.apply(&command).is_ok() { &mut accepted } else { &mut refused };
            seen.insert(kind, discriminant(&command));
        }
        configuration.check().unwrap();
    }
    assert_eq!(
        kinds(&accepted),
        KINDS,
        "{:?}",
        (0..KINDS).filter(|kind| !accepted.contains_key(kind)).collect::<Vec<_>>()
    );
    // A setting is only refused when there are too many.
    assert_eq!(kinds(&refused), KINDS - 1);
}
