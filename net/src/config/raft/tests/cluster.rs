//! A cluster for tests, and what works when nothing fails.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::super::disk::Disk;
use super::super::super::id::{ClusterId, NodeId, StoreId, TokenId};
use super::super::super::state::{About, Command, KeptKey, NodeState, Outcome, Rejection};
use super::super::super::storage::Storage;
use super::super::*;
use super::wire::Wire;
use crate::identity::PublicKey;
use crate::join::TokenKey;

pub(super) const CLUSTER: ClusterId = ClusterId([1; 16]);

/// Nodes that run or not, their disks, and what connects them.
pub(super) struct Cluster {
    pub(super) wire: Wire,
    pub(super) disks: BTreeMap<NodeId, Disk>,
    pub(super) nodes: BTreeMap<NodeId, Raft>,
    timing: Timing,
}

pub(super) fn store_of(number: u64) -> StoreId {
    StoreId([number as u8; 16])
}

pub(super) fn about(number: u64) -> About {
    About {
        name: format!("node-{number}").parse().unwrap(),
        addresses: vec![format!("10.0.0.{number}:7000").parse().unwrap()],
        zone: "".parse().unwrap(),
        key: PublicKey([number as u8; 32]),
        store: Some(store_of(number)),
    }
}

pub(super) fn describe(node: NodeId, number: u64) -> Command {
    let About { name, addresses, zone, .. } = about(number);
    Command::DescribeNode { node, name, addresses, zone, store: store_of(number) }
}

impl Cluster {
    /// One node, which has made a cluster.
    pub(super) async fn of_one(timing: Timing) -> Self {
        let mut cluster = Self { wire: Wire::default(), disks: BTreeMap::new(), nodes: BTreeMap::new(), timing };
        cluster.create(1, NodeId(1)).await;
        cluster.node(1).found(about(1), 0).await.unwrap();
        cluster
    }

    /// Several nodes, all members.
    pub(super) async fn of(count: u64) -> Self {
        let mut cluster = Self::of_one(Timing::default()).await;
        for number in 2..=count {
            cluster.join(number).await;
        }
        cluster.wait_for_voters(count as usize).await;
        cluster
    }

    pub(super) fn node(&self, number: u64) -> &Raft {
        &self.nodes[&NodeId(number)]
    }

    /// Makes the disk of a node and starts it.
    pub(super) async fn create(&mut self, store: u64, id: NodeId) {
        let disk = Disk::default();
        let storage = Storage::create_on(disk.open(), store_of(store)).unwrap();
        storage.assign(CLUSTER, id).unwrap();
        self.disks.insert(id, disk);
        self.run(id, storage).await;
    }

    async fn run(&mut self, id: NodeId, storage: Storage) {
        let raft = Raft::start(storage, self.wire.end(id), &self.timing).await.unwrap();
        self.wire.connect(id, raft.clone());
        self.nodes.insert(id, raft);
    }

    /// Starts a node from its disk.
    pub(super) async fn restart(&mut self, number: u64) {
        let storage = Storage::open_on(self.disks[&NodeId(number)].open()).unwrap();
        self.run(NodeId(number), storage).await;
    }

    /// Takes a node's power away.
    pub(super) async fn crash(&mut self, number: u64) {
        let id = NodeId(number);
        self.wire.disconnect(id);
        self.disks[&id].crash(|| false);
        if let Some(node) = self.nodes.remove(&id) {
            node.stop().await;
        }
    }

    /// Lets a node join, with a token of its own.
    pub(super) async fn join(&mut self, number: u64) {
        let id = self.let_in(number).await;
        self.leader().await.propose(describe(id, number)).await.unwrap();
        self.create(number, id).await;
    }

    /// Lets a node join that has not described itself yet, and is not there.
    pub(super) async fn let_in(&mut self, number: u64) -> NodeId {
        let asked = self.leader().await;
        let (token, key) = (TokenId([number as u8; 8]), KeptKey::from(&TokenKey::new([2; 32])));
        asked.propose(Command::CreateToken { token, key, expires_ms: 1000, now_ms: 0 }).await.unwrap();
        let join = Command::Join { token, key: about(number).key, now_ms: 1 };
        let Outcome::Node(id) = asked.propose(join).await.unwrap().outcome else { panic!("a node") };
        id
    }

    /// The node that leads, once there is one that most agree on.
    pub(super) async fn leader(&self) -> Raft {
        let found = async {
            loop {
                for node in self.nodes.values() {
                    if node.metrics().leader == Some(node.metrics().node) && node.read().await.is_ok() {
                        return node.clone();
                    }
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(60), found).await.expect("a leader is found")
    }

    pub(super) async fn wait_for_voters(&self, count: usize) {
        self.wait(|metrics| metrics.membership.voters.len() == count, "voters").await;
    }

    /// Waits until all running nodes are as wanted.
    pub(super) async fn wait(&self, is_as_wanted: impl Fn(&Metrics) -> bool, what: &str) {
        let all = async {
            while !self.nodes.values().all(|node| is_as_wanted(&node.metrics())) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = timeout(Duration::from_secs(120), all).await;
        let metrics: Vec<Metrics> = self.nodes.values().map(|node| node.metrics()).collect();
        waited.unwrap_or_else(|_| panic!("{what}: {metrics:#?}"));
    }

    pub(super) async fn stop(&self) {
        for node in self.nodes.values() {
            timeout(Duration::from_secs(5), node.stop()).await.expect("it stops without a hang");
        }
    }
}

pub(super) fn set(name: &str, value: &str) -> Command {
    Command::SetSetting { name: name.parse().unwrap(), value: Some(value.parse().unwrap()) }
}

pub(super) fn value(view: &View, name: &str) -> Option<String> {
    view.configuration.setting(&name.parse().unwrap()).map(ToString::to_string)
}

#[tokio::test(start_paused = true)]
async fn one_node_commits_and_has_it_back_after_a_crash() {
    let mut cluster = Cluster::of_one(Timing::default()).await;
    let committed = cluster.node(1).propose(set("colour", "blue")).await.unwrap();
    assert_eq!(committed.outcome, Outcome::Done);
    assert!(cluster.node(1).watch().borrow().applied >= committed.index);
    cluster.crash(1).await;
    cluster.restart(1).await;
    let view = cluster.node(1).read().await.unwrap();
    assert_eq!(value(&view, "colour").as_deref(), Some("blue"));
    assert_eq!(view.configuration.cluster(), Some(CLUSTER));
    assert_eq!(view.configuration.node(NodeId(1)).unwrap().about, about(1));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn founding_goes_on_where_it_stopped_and_is_done_once() {
    let mut cluster = Cluster::of_one(Timing::default()).await;
    cluster.node(1).found(about(9), 5).await.unwrap();
    assert_eq!(cluster.node(1).read().await.unwrap().configuration.nodes().count(), 1);
    cluster.create(2, NodeId(2)).await;
    let error = cluster.node(2).found(about(2), 5).await.unwrap_err();
    assert_eq!(error.to_string(), "node 2 cannot make a cluster: it joined one");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn three_nodes_agree_and_followers_forward() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await.metrics().node;
    for node in cluster.nodes.values() {
        let id = node.metrics().node;
        let committed = node.propose(set(&format!("from-{id}"), "yes")).await.unwrap();
        // Whoever reads next, anywhere, sees it.
        for other in cluster.nodes.values() {
            let view = other.read().await.unwrap();
            assert!(view.applied >= committed.index);
            assert_eq!(value(&view, &format!("from-{id}")).as_deref(), Some("yes"));
        }
    }
    let members = cluster.node(1).read().await.unwrap();
    assert!(members.configuration.nodes().all(|node| node.state == NodeState::Member), "all were admitted");
    let metrics = cluster.nodes[&leader].metrics();
    assert_eq!(metrics.lag.len(), 2);
    assert_eq!(metrics.stopped, None);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rejection_comes_back_from_the_leader() {
    let cluster = Cluster::of(3).await;
    for node in cluster.nodes.values() {
        let error = node.propose(Command::RemoveToken { token: TokenId([99; 8]) }).await.unwrap_err();
        assert_eq!(error, ProposeError::Rejected(Rejection::InvalidToken));
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_sees_each_configuration() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    for node in cluster.nodes.values() {
        let mut watch = node.watch();
        let name = format!("watched-by-{}", node.metrics().node);
        leader.propose(set(&name, "1")).await.unwrap();
        watch.wait_for(|view| value(view, &name).is_some()).await.unwrap();
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_a_message_is_refused() {
    let cluster = Cluster::of_one(Timing::default()).await;
    let names = (0..200_000).map(|number| format!("snapshot-{number}").parse().unwrap()).collect();
    let command = Command::RemoveSnapshots { volume: super::super::super::id::VolumeId(1), names };
    assert_eq!(cluster.node(1).propose(command).await.unwrap_err(), ProposeError::TooLarge);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_stopped_says_so() {
    let cluster = Cluster::of_one(Timing::default()).await;
    cluster.node(1).stop().await;
    cluster.node(1).stop().await;
    let error = cluster.node(1).propose(set("a", "b")).await.unwrap_err();
    assert!(matches!(error, ProposeError::Stopped(_)), "{error:?}");
    let error = cluster.node(1).read().await.unwrap_err();
    assert!(matches!(error, ProposeError::Stopped(_)), "{error:?}");
}
