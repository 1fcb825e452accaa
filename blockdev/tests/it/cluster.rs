//! Clusters of nodes in one process, over QUIC on loopback.

mod changes;
mod clones;
mod full;
mod keys;
mod limits;
mod news;
mod receive;
mod rotation;
mod schedules;
mod sizes;
mod together;
mod trash;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use blockdev::access::Principal;
use blockdev::cluster::{
    AllExports, Cluster, ClusterSlot, NewVolume, NodeReport, NodeStanding, Place, ReplicaRole, VolumeHealth,
    VolumeReport,
};
use blockdev::export::{Change, Export, Exports, Requests, Write, Zeroing};
use blockdev::lsm_store::clock::{Clock, SystemClock};
use blockdev::lsm_store::codec::Codec;
use blockdev::lsm_store::device::AccessMode;
use blockdev::lsm_store::device::directory::DirectoryDevice;
use blockdev::lsm_store::rng::SystemRng;
use blockdev::lsm_store::store::{BackgroundMode, Budget, Environment, Options, Settings, Store};
use blockdev::name::{SnapshotName, VolumeName};
use blockdev::node::Node;

const SIZE: u64 = 8 << 20;
const TOKEN_VALIDITY: Duration = Duration::from_secs(600);

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

fn snapshot(text: &str) -> SnapshotName {
    text.parse().unwrap()
}

/// Waits until something is so.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let clock = SystemClock::new();
    while !is_so() {
        assert!(clock.monotonic() < Duration::from_secs(60), "{what}");
        clock.sleep(Duration::from_millis(20));
    }
}

/// A directory of one test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster-{test}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A node that runs.
struct Member {
    path: PathBuf,
    cluster: Arc<Cluster>,
    exports: AllExports,
    store: Arc<Store>,
}

fn place(path: &Path) -> Place {
    Place { data: path.to_owned(), listen: Some("127.0.0.1:0".parse().unwrap()), name: None, zone: None }
}

fn open_node(path: &Path) -> Arc<Node> {
    open_node_at(path, Arc::new(SystemClock::new()))
}

fn open_node_at(path: &Path, clock: Arc<dyn Clock>) -> Arc<Node> {
    fs::create_dir_all(path).unwrap();
    let device = DirectoryDevice::open(path, AccessMode::ReadWrite).unwrap();
    let environment = Environment { device: Arc::new(device), clock, rng: Arc::new(SystemRng) };
    if !Store::exists(&environment).unwrap() {
        Store::create(&environment, Settings::default()).unwrap();
    }
    let budget = Budget::new(128 << 20).unwrap();
    let options = Options { budget, background: BackgroundMode::Threads, read_only: false };
    Node::open(Store::open(environment, options).unwrap(), false).unwrap()
}

impl Member {
    fn new(path: PathBuf, node: Arc<Node>, cluster: Arc<Cluster>) -> Self {
        let slot = Arc::new(ClusterSlot::default());
        slot.set(Arc::clone(&cluster));
        let store = Arc::clone(node.store());
        Self { path, cluster, exports: AllExports::new(node, slot), store }
    }

    fn found(path: PathBuf) -> Self {
        let node = open_node(&path);
        let cluster = Cluster::found(&place(&path), &node).unwrap();
        Self::new(path, node, cluster)
    }

    fn join(path: PathBuf, token: &str) -> Self {
        let node = open_node(&path);
        let cluster = Cluster::join(&place(&path), token, &node).unwrap();
        Self::new(path, node, cluster)
    }

    /// Goes on after [`Self::stop`], at the address it had.
    fn open(path: PathBuf) -> Self {
        let node = open_node(&path);
        let place = Place { listen: None, ..place(&path) };
        let cluster = Cluster::open(&place, &node).unwrap().unwrap();
        Self::new(path, node, cluster)
    }

    fn stop(self) -> PathBuf {
        self.cluster.stop();
        self.store.close().unwrap();
        self.path
    }

    fn open_volume(&self, name: &str) -> Arc<dyn Export> {
        self.exports.open(name, &Principal::Local).unwrap()
    }

    fn create(&self, volume: &str, replicas: u8) -> VolumeReport {
        let volume = NewVolume { name: name(volume), size_bytes: SIZE, codec: Codec::Lz4, replicas };
        self.cluster.create(&volume).unwrap()
    }

    fn wait_healthy(&self, volume: &str) {
        wait_until("the volume is healthy", || {
            self.cluster.volume(&name(volume)).is_ok_and(|report| report.health == VolumeHealth::Healthy)
        });
    }

    fn primary(&self, volume: &str) -> u64 {
        let report = self.cluster.volume(&name(volume)).unwrap();
        report.replicas.iter().find(|replica| replica.role == ReplicaRole::Primary).unwrap().node
    }
}

fn cluster_of(scratch: &Scratch, count: usize) -> Vec<Member> {
    let mut members = vec![Member::found(scratch.0.join("1"))];
    for number in 2..=count {
        let token = members[0].cluster.token(TOKEN_VALIDITY).unwrap();
        members.push(Member::join(scratch.0.join(number.to_string()), &token));
    }
    wait_until("all are members", || {
        let report = members[0].cluster.report();
        let is_in = |node: &NodeReport| node.is_reachable && node.standing == NodeStanding::Member;
        report.nodes.len() == count && report.nodes.iter().all(is_in)
    });
    members
}

fn write(export: &Arc<dyn Export>, offset: u64, byte: u8, len: usize) {
    export.write(&[Write { offset, data: &vec![byte; len] }]).unwrap();
}

fn read(export: &Arc<dyn Export>, offset: u64, len: usize) -> Vec<u8> {
    let mut reads = export.requests().unwrap();
    reads.start_read(7, offset, len);
    let clock = SystemClock::new();
    loop {
        if let Some((7, data)) = reads.next_read() {
            let mut bytes = vec![0; len];
            data.unwrap().copy_to(&mut bytes);
            return bytes;
        }
        assert!(clock.monotonic() < Duration::from_secs(60), "the read ends");
        reads.wait(None, Some(Duration::from_millis(100))).unwrap();
    }
}

#[test]
fn a_cluster_of_one_keeps_a_volume() {
    let scratch = Scratch::new("one");
    let member = Member::found(scratch.0.join("1"));
    let report = member.create("db", 1);
    assert_eq!((report.replicas.len(), report.health), (1, VolumeHealth::Healthy));
    let export = member.open_volume("db");
    write(&export, 4096, 1, 8192);
    write(&export, 100, 2, 50);
    assert_eq!(read(&export, 0, 8192)[90..160], [&[0; 10][..], &[2; 50], &[0; 10]].concat());
    export.flush().unwrap();
    member.cluster.snapshot(&snapshot("db@a")).unwrap();
    export.zero(4096, 4096, Zeroing::Hole).unwrap();
    assert_eq!(read(&export, 4096, 8192), [vec![0; 4096], vec![1; 4096]].concat());
    assert_eq!(read(&member.open_volume("db@a"), 4096, 8192), [1; 8192]);
    drop(export);
    let member = Member::open(member.stop());
    let export = member.open_volume("db");
    assert_eq!(read(&export, 4096, 8192), [vec![0; 4096], vec![1; 4096]].concat());
    assert_eq!(read(&export, 100, 50), [2; 50]);
    drop(export);
    member.cluster.roll_back(&snapshot("db@a")).unwrap();
    assert_eq!(read(&member.open_volume("db"), 4096, 8192), [1; 8192]);
    member.cluster.resize(&name("db"), 2 * SIZE, false).unwrap();
    let export = member.open_volume("db");
    assert_eq!(export.size_bytes(), 2 * SIZE);
    write(&export, 2 * SIZE - 512, 9, 512);
    assert_eq!(read(&export, 2 * SIZE - 512, 512), [9; 512]);
    drop(export);
    assert!(member.cluster.remove(&name("db"), false).is_err(), "it has a snapshot");
    member.cluster.remove(&name("db"), true).unwrap();
    assert!(member.exports.open("db", &Principal::Local).is_err());
    member.stop();
}

#[test]
fn any_node_serves_a_volume_that_three_hold() {
    let scratch = Scratch::new("three");
    let members = cluster_of(&scratch, 3);
    members[0].create("db", 3);
    members[0].wait_healthy("db");
    let exports: Vec<_> = members.iter().map(|member| member.open_volume("db")).collect();
    for (number, export) in (1..).zip(&exports) {
        write(export, u64::from(number) << 16, number, 5000);
    }
    for export in &exports {
        for number in 1..=3u8 {
            assert_eq!(read(export, u64::from(number) << 16, 5000), [number; 5000]);
        }
        export.flush().unwrap();
    }
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_client_goes_on_when_the_primary_stops_and_the_node_catches_up() {
    let scratch = Scratch::new("failover");
    let mut members = cluster_of(&scratch, 3);
    members[0].create("db", 3);
    members[0].wait_healthy("db");
    assert_eq!(members[0].primary("db"), 1);
    let export = members[2].exports.open("db", &Principal::Local).unwrap();
    write(&export, 0, 1, 4096);
    let stopped = members.remove(0).stop();
    write(&export, 4096, 2, 4096);
    assert_eq!(read(&export, 0, 8192), [vec![1; 4096], vec![2; 4096]].concat());
    export.flush().unwrap();
    assert_ne!(members[1].primary("db"), 1);
    let back = Member::open(stopped);
    back.wait_healthy("db");
    write(&export, 8192, 3, 4096);
    assert_eq!(read(&back.open_volume("db"), 0, 12288), [vec![1; 4096], vec![2; 4096], vec![3; 4096]].concat());
    drop(export);
    back.stop();
    members.into_iter().for_each(|member| drop(member.stop()));
}

/// Waits for changes that were started, each once.
fn await_changes(requests: &mut dyn Requests, count: usize) {
    let (clock, mut tokens) = (SystemClock::new(), BTreeSet::new());
    while tokens.len() < count {
        while let Some((token, result)) = requests.next_change() {
            result.unwrap();
            assert!(tokens.insert(token), "change {token} ends once");
        }
        assert!(clock.monotonic() < Duration::from_secs(60), "the changes end");
        requests.wait(None, Some(Duration::from_millis(100))).unwrap();
    }
    assert_eq!(requests.in_flight(), 0);
}

#[test]
fn changes_under_way_are_done_whoever_is_primary() {
    let scratch = Scratch::new("under-way");
    let mut members: BTreeMap<u64, Member> = (1..).zip(cluster_of(&scratch, 4)).collect();
    members[&1].create("db", 3);
    members[&1].wait_healthy("db");
    let report = members[&1].cluster.volume(&name("db")).unwrap();
    let apart = (1..=4).find(|node| report.replicas.iter().all(|replica| replica.node != *node)).unwrap();
    let export = members[&apart].open_volume("db");
    write(&export, 80 * 4096, 99, 4096);
    let mut requests = export.requests().unwrap();
    let change = |requests: &mut dyn Requests, block: u64| {
        let write = Write { offset: block * 4096, data: &[block as u8 + 1; 4096] };
        assert!(requests.start_change(block, Change::Write(&[write])));
    };
    (0..40).for_each(|block| change(&mut *requests, block));
    members.remove(&members[&apart].primary("db")).unwrap().stop();
    (40..80).for_each(|block| change(&mut *requests, block));
    assert!(requests.start_change(80, Change::Flush));
    assert!(requests.start_change(81, Change::Zero(80 * 4096, 4096, Zeroing::Hole)));
    await_changes(&mut *requests, 82);
    let content = (1..=81).flat_map(|byte| [if byte == 81 { 0 } else { byte }; 4096]).collect::<Vec<u8>>();
    assert!(read(&export, 0, content.len()) == content);
    assert!(requests.start_change(0, Change::Zero(SIZE, 1, Zeroing::Hole)));
    assert!(requests.next_change().unwrap().1.is_err(), "beyond the end");
    drop((requests, export));
    // The same where the replica is.
    let export = members[&members[&apart].primary("db")].open_volume("db");
    let mut requests = export.requests().unwrap();
    (0..100).for_each(|block| change(&mut *requests, block));
    await_changes(&mut *requests, 100);
    let content = (1..=100).flat_map(|byte| [byte; 4096]).collect::<Vec<u8>>();
    assert!(read(&export, 0, content.len()) == content);
    drop((requests, export));
    members.into_values().for_each(|member| drop(member.stop()));
}

#[test]
fn a_volume_gets_more_copies_with_all_it_holds() {
    let scratch = Scratch::new("copies");
    let mut members = cluster_of(&scratch, 3);
    members[0].create("db", 1);
    let export = members[0].open_volume("db");
    write(&export, 0, 1, 1 << 20);
    export.flush().unwrap();
    members[0].cluster.snapshot(&snapshot("db@a")).unwrap();
    write(&export, 0, 2, 4096);
    export.flush().unwrap();
    drop(export);
    // The log is of no use to a node that has none of it once a part is gone: the content travels.
    members[0].cluster.set_replicas(&name("db"), 3).unwrap();
    members[0].wait_healthy("db");
    members.remove(0).stop();
    let export = members[0].open_volume("db");
    assert_eq!(read(&export, 0, 8192), [vec![2; 4096], vec![1; 4096]].concat());
    assert_eq!(read(&members[1].open_volume("db@a"), 0, 8192), [1; 8192]);
    drop(export);
    members.into_iter().for_each(|member| drop(member.stop()));
}

/// Bytes that no codec makes shorter.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len / 8).flat_map(|_| next()).collect()
}

/// Flips a byte in the middle of every segment of a store that nobody has open.
fn damage_segments(data: &Path) -> usize {
    let mut damaged = 0;
    for entry in fs::read_dir(data.join("segments")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        damaged += 1;
    }
    damaged
}

#[test]
fn damage_is_repaired_from_another_node_before_the_client_sees_it() {
    let scratch = Scratch::new("damage");
    let mut members = cluster_of(&scratch, 3);
    members[0].create("db", 3);
    let export = members[0].open_volume("db");
    let content = noise(2 << 20);
    export.write(&[Write { offset: 0, data: &content }]).unwrap();
    export.flush().unwrap();
    drop(export);
    // When the second is there, the log knows that the store has what is before the first: it is not applied again, which would
    // mend it too.
    members[0].cluster.snapshot(&snapshot("db@a")).unwrap();
    members[0].cluster.snapshot(&snapshot("db@b")).unwrap();
    members[0].wait_healthy("db");
    let path = members.remove(0).stop();
    assert!(damage_segments(&path) > 0);
    let back = Member::open(path);
    back.wait_healthy("db");
    let export = back.open_volume("db");
    wait_until("this node serves the volume", || {
        // A client that does something has its node ask for the volume.
        export.block_status(0, 4096, 1).unwrap();
        back.primary("db") == 1
    });
    assert!(read(&export, 0, content.len()) == content);
    drop(export);
    back.stop();
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_node_that_is_lost_is_replaced_by_another() {
    let scratch = Scratch::new("lost");
    let mut members = cluster_of(&scratch, 3);
    members[0].create("db", 3);
    let export = members[0].open_volume("db");
    let content = noise(1 << 20);
    export.write(&[Write { offset: 4096, data: &content }]).unwrap();
    export.flush().unwrap();
    members[0].wait_healthy("db");
    let lost = members.pop().unwrap().stop();
    fs::remove_dir_all(lost).unwrap();
    write(&export, 0, 5, 4096);
    members[0].cluster.remove_node("3", true).unwrap();
    let token = members[0].cluster.token(TOKEN_VALIDITY).unwrap();
    let new = Member::join(scratch.0.join("4"), &token);
    members[0].wait_healthy("db");
    let report = members[0].cluster.volume(&name("db")).unwrap();
    let nodes: Vec<_> = report.replicas.iter().map(|replica| replica.node).collect();
    assert_eq!(nodes, [1, 2, 4]);
    drop(export);
    // The new node alone with one other has everything.
    members.remove(0).stop();
    let export = new.open_volume("db");
    assert!(read(&export, 4096, content.len()) == content);
    assert_eq!(read(&export, 0, 4096), [5; 4096]);
    drop(export);
    new.stop();
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_drained_node_gives_away_what_it_holds() {
    let scratch = Scratch::new("drain");
    let members = cluster_of(&scratch, 4);
    members[0].create("db", 3);
    let export = members[1].open_volume("db");
    write(&export, 0, 7, 1 << 20);
    export.flush().unwrap();
    members[0].wait_healthy("db");
    assert!(members[0].cluster.remove_node("1", false).is_err(), "it holds a replica");
    members[3].cluster.drain("node-1").unwrap();
    wait_until("node 1 holds nothing", || {
        let report = members[3].cluster.volume(&name("db")).unwrap();
        report.replicas.iter().all(|replica| replica.node != 1) && report.health == VolumeHealth::Healthy
    });
    assert_eq!(read(&members[3].open_volume("db"), 0, 4096), [7; 4096]);
    members[3].cluster.remove_node("1", false).unwrap();
    assert_eq!(members[3].cluster.report().nodes.len(), 3);
    drop(export);
    members.into_iter().for_each(|member| drop(member.stop()));
}
