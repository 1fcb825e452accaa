//! A replica that is alone, with and without threads: what a seed need not be looked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use blockdev::node::Node;
use blockdev::replica::ledger::Ledger;
use blockdev::replica::log::BootId;
use blockdev::replica::operation::{Draft, Operation};
use blockdev::replica::ticks::{BootTicks, Ticks};
use blockdev::replica::{Bounds, LocalReplica, Outside, Sending, Setting};
use fuzz::store::environment;
use lsm_store::codec::Codec;
use lsm_store::device::Device;
use lsm_store::device::sim::{Faults, SimDevice};
use lsm_store::store::{BackgroundMode, Budget};
use lsm_store::{Options, Settings, Store, VolumeSpec};
use net::replication::{
    Configuration, Event, Incarnation, Lsn, Message, NodeId, Outcome, Policy, Tick, Timing, TransferId, VolumeId,
};

const VOLUME: VolumeId = VolumeId(7);
const ME: NodeId = NodeId(1);
const KIB: u64 = 1024;

/// A node that is the whole cluster.
#[derive(Default)]
struct Alone(OnceLock<Arc<LocalReplica>>);

impl Alone {
    fn tell(&self, configuration: Configuration) {
        if let Some(replica) = self.0.get() {
            replica.tell(Event::Configuration { configuration, is_fresh: true });
        }
    }
}

impl Outside for Alone {
    fn send(&self, _: VolumeId, _: NodeId, _: &Message) {}
    fn propose(&self, _: VolumeId, next: Configuration) {
        self.tell(next);
    }
    fn fetch_configuration(&self, _: VolumeId) {}
    fn send_content(&self, _: Sending) {}
    fn receive_content(&self, _: VolumeId, _: NodeId, _: TransferId) {}
    fn cancel_transfer(&self, _: TransferId) {}
    fn pin(&self, _: VolumeId, _: NodeId, _: Lsn) {}
    fn unpin(&self, _: VolumeId, _: NodeId) {}
}

/// A clock that runs when it is looked at.
#[derive(Default)]
struct Hurried(AtomicU64);

impl Ticks for Hurried {
    fn now(&self) -> Tick {
        Tick(self.0.fetch_add(1000, Ordering::Relaxed))
    }
}

fn node(disk: &SimDevice) -> Arc<Node> {
    let device: Arc<dyn Device> = Arc::new(disk.clone());
    let environment = environment(&device);
    if !Store::exists(&environment).expect("a disk that can be read") {
        Store::create(&environment, Settings::default()).expect("an empty disk takes a store");
    }
    let budget = Budget::divide(1 << 20);
    let options = Options { budget, background: BackgroundMode::Manual, read_only: false };
    Node::open(Store::open(environment, options).expect("a sound store"), false).expect("a sound catalog")
}

fn setting(disk: &SimDevice, outside: &Arc<Alone>, ticks: Arc<dyn Ticks>, incarnation: u64) -> Setting {
    let timing = Timing {
        heartbeat_us: 5000,
        lease_us: 20_000,
        grace_us: 30_000,
        member_us: 50_000,
        ask_us: 5000,
        ..Timing::DEFAULT
    };
    Setting {
        id: VOLUME,
        me: ME,
        incarnation: Incarnation(incarnation),
        device: Arc::new(disk.clone()),
        boot: BootId([7; 16]),
        node: node(disk),
        spec: VolumeSpec { size_bytes: 32 * KIB, codec: Codec::Lz4 },
        is_creator: true,
        is_alone: true,
        source: None,
        policy: Policy { timing, in_sync_min: 1, ..Policy::DEFAULT },
        ledger: Arc::new(Ledger::new(|_| u64::MAX)),
        memory: Arc::default(),
        ticks,
        outside: Arc::clone(outside) as Arc<dyn Outside>,
    }
}

fn resize(size_bytes: u64) -> Draft {
    Draft::of(&[Operation::Resize { size_bytes }])
}

fn write(offset: u64, len: u64) -> Draft {
    Draft::of(&[Operation::Write { offset, data: vec![9; len as usize].into() }])
}

/// What all bytes of a block are.
fn block(replica: &LocalReplica, offset: u64) -> u8 {
    let data = replica.shared().volume.read(offset, 4096).expect("a sound store");
    let mut bytes = vec![0; 4096];
    data.copy_to(&mut bytes);
    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "blocks are written whole");
    bytes[0]
}

/// A replica without threads that serves, in its epoch.
fn serving(disk: &SimDevice, incarnation: u64, configuration: Configuration) -> Arc<LocalReplica> {
    let outside = Arc::new(Alone::default());
    let setting = setting(disk, &outside, Arc::new(Hurried::default()), incarnation);
    let replica = LocalReplica::start_manual(&setting, Bounds::DEFAULT).expect("a sound log");
    assert!(outside.0.set(Arc::clone(&replica)).is_ok());
    outside.tell(configuration);
    for _ in 0..10_000 {
        work(&replica);
        if replica.serves() {
            return replica;
        }
    }
    panic!("it does not serve: {:?}", replica.role());
}

fn work(replica: &LocalReplica) {
    let mut hands = replica.hands().expect("it has no threads");
    hands.execute();
    hands.sync();
    hands.execute();
}

/// Whatever was ordered is durable.
fn order(replica: &LocalReplica, records: &[Draft]) {
    for record in records {
        let call = replica.begin_write(std::slice::from_ref(record), None).expect("it takes requests");
        while call.outcome().is_none() {
            work(replica);
        }
        assert_eq!(call.outcome(), Some(Outcome::Done));
    }
    let call = replica.begin_flush(None).expect("it takes requests");
    while call.outcome().is_none() {
        work(replica);
    }
    assert_eq!(call.outcome(), Some(Outcome::Done));
}

/// Applies everything; the log hears of it, but for the last piece if that is told.
fn apply_all(replica: &LocalReplica, hears_last: bool) {
    let end = replica.shared().pending.visible();
    while replica.shared().pending.applied() < end {
        replica.hands().expect("it has no threads").apply(false);
        if hears_last || replica.shared().pending.applied() < end {
            work(replica);
        }
    }
}

/// What was ordered behind a cut of the volume, and did nothing there, was done again after a crash, when the volume had grown
/// since: one replica had bytes that the others lacked.
#[test]
fn what_a_cut_made_nothing_of_stays_nothing_after_a_crash() {
    let disk = SimDevice::new(1, Faults::none());
    let replica = serving(&disk, 1, Configuration::first(ME, &[ME]));
    order(&replica, &[resize(16 * KIB), write(12 * KIB, 8 * KIB), resize(32 * KIB)]);
    apply_all(&replica, false);
    assert_eq!(block(&replica, 16 * KIB), 0);

    let left = disk.process_death();
    let again = Configuration { epoch: net::replication::Epoch(9), ..Configuration::first(ME, &[ME]) };
    let replica = serving(&left, 2, again);
    apply_all(&replica, true);
    assert_eq!(block(&replica, 12 * KIB), 9);
    assert_eq!(block(&replica, 16 * KIB), 0, "it does nothing beyond the end it met");
}

#[test]
fn threads_do_what_hands_do() {
    let disk = SimDevice::new(2, Faults::none());
    let outside = Arc::new(Alone::default());
    let replica = LocalReplica::start(setting(&disk, &outside, Arc::new(BootTicks), 1)).expect("a new log");
    assert!(outside.0.set(Arc::clone(&replica)).is_ok());
    outside.tell(Configuration::first(ME, &[ME]));
    while replica.write(&[resize(16 * KIB)]) != Outcome::Done {
        replica.shared().pending.wait_applied(Lsn(u64::MAX), std::time::Duration::from_millis(5));
    }
    assert_eq!(replica.write(&[write(12 * KIB, 8 * KIB), resize(32 * KIB), write(0, 4096)]), Outcome::Done);
    assert_eq!(replica.flush(), Outcome::Done);
    let end = replica.shared().pending.visible();
    assert!(replica.apply_up_to(end, std::time::Duration::from_secs(60)), "barriers are passed");
    assert_eq!(block(&replica, 0), 9);
    assert_eq!(block(&replica, 16 * KIB), 0);
    assert_eq!(replica.pin(end).map(|pinned| pinned.at), Some(end));
    assert!(replica.history().is_some_and(|history| history.end().lsn >= end));
    assert!(!replica.begin_install(TransferId(3)), "nobody has offered this");
    replica.stop();
}
