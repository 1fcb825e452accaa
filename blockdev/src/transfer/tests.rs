mod exchange;
#[cfg(feature = "tls")]
mod remote;

use std::ops::ControlFlow;
use std::sync::Arc;

use lsm_store::ErrorKind;
use lsm_store::clock::SystemClock;
use lsm_store::codec::{Codec, Encoding, ZstdLevel};
use lsm_store::device::sim::{Faults, SimDevice};
use lsm_store::fingerprint::Fingerprint;
use lsm_store::id::{BLOCK_BYTES, BlockIndex};
use lsm_store::request::{Write, Zeroing};
use lsm_store::rng::{Rng, SeededRng};
use lsm_store::store::{
    BackgroundMode, Budget, ColdScope, Environment, Options, Settings, Store, StoredBlock, Volume, VolumeSpec,
};
use proptest::prelude::*;

use super::*;
use crate::name::{ExportName, SnapshotName, VolumeName};
use crate::node::{Node, Shrink, SnapshotLoss};
use crate::root::PLAIN_DOMAIN;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A node on a simulated disk.
struct Bench {
    device: SimDevice,
    node: Arc<Node>,
}

fn opened(device: &SimDevice) -> Arc<Node> {
    let environment = Environment {
        device: Arc::new(device.clone()),
        clock: Arc::new(SystemClock::new()),
        rng: Arc::new(SeededRng::new(7)),
    };
    if !Store::exists(&environment).unwrap() {
        Store::create(&environment, Settings::default()).unwrap();
    }
    let options = Options { budget: Budget::divide(8 << 20), background: BackgroundMode::Manual, read_only: false };
    Node::open(Store::open(environment, options).unwrap(), false).unwrap()
}

impl Bench {
    fn new(seed: u64) -> Self {
        let device = SimDevice::new(seed, Faults::none());
        let node = opened(&device);
        Self { device, node }
    }

    fn create(&self, name: &str, size_bytes: u64, codec: Codec) {
        self.node.create(&volume_name(name), VolumeSpec { size_bytes, codec }).unwrap();
    }

    fn volume(&self, name: &str) -> Volume {
        let name: ExportName = name.parse().unwrap();
        self.node.store().volume(self.node.export(&name).unwrap().volume().id()).unwrap()
    }

    fn content(&self, name: &str) -> Vec<u8> {
        let volume = self.volume(name);
        let mut content = vec![0; volume.size_bytes() as usize];
        volume.read(0, content.len()).unwrap().copy_to(&mut content);
        content
    }

    fn write(&self, name: &str, block: u64, data: &[u8]) {
        self.volume(name).write(&[Write { offset: block * BLOCK, data }]).unwrap();
    }

    fn snapshot(&self, name: &str) {
        self.node.snapshot(&[snapshot_name(name)]).unwrap();
    }

    fn settle(&self) {
        self.node.store().freeze().unwrap();
        while self.node.store().step().unwrap() {}
    }

    fn root(&self, name: &str) -> String {
        self.node.root(&name.parse().unwrap(), &mut ignore).unwrap().root.to_string()
    }

    fn send(&self, name: &str, base: Option<&str>) -> Vec<u8> {
        let mut outlet = Collected::default();
        let base = base.map(snapshot_name);
        let sent = send(&self.node, &snapshot_name(name), base.as_ref(), &mut outlet).unwrap();
        assert_eq!(sent.stream_bytes, outlet.0.len() as u64);
        assert_eq!(sent.root.to_string(), self.root(name));
        outlet.0
    }

    /// Pieces of an odd length, so that records are cut anywhere.
    fn receive(&self, name: &str, stream: &[u8], force: bool) -> Result<Received> {
        let options = ReceiveOptions { codec: Codec::Lz4, force };
        let mut receiver = Receiver::new(Arc::clone(&self.node), volume_name(name), options);
        stream.chunks(977).try_for_each(|piece| receiver.push(piece, &mut ignore))?;
        receiver.finish(&mut ignore)
    }

    /// Everything that has a name.
    fn names(&self) -> Vec<String> {
        let volumes = self.node.volumes().into_iter().map(|volume| volume.name.to_string());
        volumes.chain(self.node.all_snapshots().into_iter().map(|snapshot| snapshot.name.to_string())).collect()
    }
}

#[derive(Default)]
struct Collected(Vec<u8>);

impl Outlet for Collected {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn progress(&mut self, _what: &str, done: u64, total: u64) -> Result<()> {
        assert!(done <= total);
        Ok(())
    }
}

fn ignore(done: u64, total: u64) -> ControlFlow<()> {
    assert!(done <= total);
    ControlFlow::Continue(())
}

fn volume_name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

fn snapshot_name(text: &str) -> SnapshotName {
    text.parse().unwrap()
}

fn noise(seed: u64, blocks: u64) -> Vec<u8> {
    let mut bytes = vec![0; (blocks * BLOCK) as usize];
    SeededRng::new(seed).fill(&mut bytes);
    bytes
}

fn text(seed: u64, blocks: u64) -> Vec<u8> {
    let line = format!("{seed} and so on, line after line\n");
    line.bytes().cycle().take((blocks * BLOCK) as usize).collect()
}

#[test]
fn a_snapshot_arrives_whole_under_its_name() {
    let (from, to) = (Bench::new(1), Bench::new(2));
    let size = 300 * BLOCK - 100;
    from.create("vm", size, Codec::Zstd { level: ZstdLevel::default() });
    from.write("vm", 3, &text(1, 100));
    from.write("vm", 200, &noise(2, 60));
    from.settle();
    from.write("vm", 299, &noise(3, 1)[..4000 - 4]);
    from.volume("vm").zero(10 * BLOCK, 5 * BLOCK, Zeroing::Allocated).unwrap();
    from.snapshot("vm@one");
    let stream = from.send("vm@one", None);
    from.write("vm", 0, &noise(4, 9));
    let received = to.receive("copy", &stream, false).unwrap();
    assert_eq!((received.data_blocks, received.zero_blocks), (156, 0));
    assert_eq!(to.names(), ["copy", "copy@one"]);
    for _ in 0..2 {
        assert!(to.content("copy") == from.content("vm@one"));
        assert!(to.content("copy@one") == from.content("vm@one"));
        assert_eq!(to.root("copy@one"), from.root("vm@one"));
        to.settle();
    }
    assert_eq!(to.receive("copy", &stream, true).unwrap_err().kind(), ErrorKind::Exists);
    let reopened = Bench { node: opened(&to.device.process_death()), ..to };
    assert_eq!(reopened.names(), ["copy", "copy@one"]);
    assert!(reopened.content("copy@one") == from.content("vm@one"));
}

/// Two snapshots that differ by writes, trims and another size.
fn grown(seed: u64) -> Bench {
    let bench = Bench::new(seed);
    bench.create("vm", 200 * BLOCK, Codec::Lz4);
    bench.write("vm", 0, &noise(1, 150));
    bench.snapshot("vm@mon");
    bench.settle();
    bench.write("vm", 20, &text(2, 7));
    bench.write("vm", 90, &noise(3, 1));
    bench.volume("vm").zero(100 * BLOCK, 20 * BLOCK, Zeroing::Hole).unwrap();
    bench.node.resize(&volume_name("vm"), 250 * BLOCK + 5, Shrink::Refused).unwrap();
    bench.write("vm", 249, &noise(4, 1));
    bench.volume("vm").write(&[Write { offset: 250 * BLOCK, data: b"12345" }]).unwrap();
    bench.snapshot("vm@tue");
    bench
}

#[test]
fn what_changed_arrives_on_top_of_what_was_there() {
    let (from, to) = (grown(3), Bench::new(4));
    let (full, changes) = (from.send("vm@mon", None), from.send("vm@tue", Some("vm@mon")));
    assert!(changes.len() < full.len() / 10, "{} of {}", changes.len(), full.len());
    assert!(matches!(to.receive("vm", &changes, false).unwrap_err().kind(), ErrorKind::NotFound));
    to.receive("vm", &full, false).unwrap();
    let received = to.receive("vm", &changes, false).unwrap();
    assert_eq!((received.data_blocks, received.base), (10, Some(volume_name("mon"))));
    assert_eq!(to.names(), ["vm", "vm@mon", "vm@tue"]);
    assert_eq!(to.receive("vm", &changes, false).unwrap_err().kind(), ErrorKind::Exists);
    // And on, to a smaller size.
    from.node.resize(&volume_name("vm"), 100 * BLOCK + 1, Shrink::Allowed).unwrap();
    from.write("vm", 50, &noise(5, 2));
    from.snapshot("vm@wed");
    to.receive("vm", &from.send("vm@wed", Some("vm@tue")), false).unwrap();
    for _ in 0..2 {
        for snapshot in ["vm@mon", "vm@tue", "vm@wed"] {
            assert!(to.content(snapshot) == from.content(snapshot), "{snapshot}");
            assert_eq!(to.root(snapshot), from.root(snapshot));
        }
        assert!(to.content("vm") == from.content("vm@wed"));
        to.settle();
    }
    to.node.roll_back(&snapshot_name("vm@mon")).unwrap();
    assert!(to.content("vm") == from.content("vm@mon"));
    // Backwards, over a snapshot between.
    from.node.roll_back(&snapshot_name("vm@mon")).unwrap();
    from.snapshot("vm@again");
    let back = from.send("vm@again", Some("vm@wed"));
    assert!(matches!(to.receive("vm", &back, false), Err(TransferError::Changed { .. })));
    to.receive("vm", &back, true).unwrap();
    assert!(to.content("vm@again") == from.content("vm@mon"));
}

#[test]
fn a_stream_that_does_not_fit_changes_nothing() {
    let (from, to) = (grown(5), Bench::new(6));
    let changes = from.send("vm@tue", Some("vm@mon"));
    to.create("vm", 200 * BLOCK, Codec::Lz4);
    to.write("vm", 0, &noise(1, 150));
    assert!(matches!(to.receive("vm", &changes, false), Err(TransferError::NoBase(_))));
    to.write("vm", 3, &noise(9, 1));
    to.snapshot("vm@mon");
    assert!(matches!(to.receive("vm", &changes, false), Err(TransferError::OtherBase { .. })));
    to.node.remove_snapshot(&snapshot_name("vm@mon")).unwrap();
    to.write("vm", 3, &noise(1, 150)[3 * BLOCK_BYTES..][..BLOCK_BYTES]);
    to.snapshot("vm@mon");
    to.write("vm", 199, &noise(8, 1));
    assert!(matches!(to.receive("vm", &changes, false), Err(TransferError::Changed { .. })));
    let held = to.node.export(&"vm".parse().unwrap()).unwrap();
    assert_eq!(to.receive("vm", &changes, true).unwrap_err().kind(), ErrorKind::Busy);
    drop(held);
    assert_eq!(to.names(), ["vm", "vm@mon"]);
    // A base that came another way will do.
    to.receive("vm", &changes, true).unwrap();
    assert!(to.content("vm@tue") == from.content("vm@tue"));
    let unrelated = Bench::new(7);
    unrelated.create("a", BLOCK, Codec::Lz4);
    unrelated.create("b", BLOCK, Codec::Lz4);
    unrelated.snapshot("a@x");
    unrelated.snapshot("b@y");
    let base = snapshot_name("a@x");
    let refused = send(&unrelated.node, &snapshot_name("b@y"), Some(&base), &mut Collected::default());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
}

/// A volume that was opened or changed while its stream came.
#[test]
fn what_happens_meanwhile_is_not_lost() {
    let (from, to) = (grown(8), Bench::new(9));
    to.receive("vm", &from.send("vm@mon", None), false).unwrap();
    let changes = from.send("vm@tue", Some("vm@mon"));
    let begun = || {
        let mut receiver = Receiver::new(Arc::clone(&to.node), volume_name("vm"), ReceiveOptions::default());
        receiver.push(&changes, &mut ignore).unwrap();
        receiver
    };
    let receiver = begun();
    assert!(to.content("vm") == from.content("vm@mon"));
    to.write("vm", 0, &noise(9, 1));
    assert!(matches!(receiver.finish(&mut ignore), Err(TransferError::Changed { .. })));
    to.node.roll_back(&snapshot_name("vm@mon")).unwrap();
    let receiver = begun();
    let held = to.node.export(&"vm".parse().unwrap()).unwrap();
    assert_eq!(receiver.finish(&mut ignore).unwrap_err().kind(), ErrorKind::Busy);
    drop(held);
    let receiver = begun();
    to.node.remove(&volume_name("vm"), SnapshotLoss::Allowed).unwrap();
    assert_eq!(receiver.finish(&mut ignore).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(to.names(), [""; 0]);
}

#[test]
fn a_crash_while_a_stream_comes_leaves_what_was_there() {
    let (from, to) = (grown(10), Bench::new(11));
    let (full, changes) = (from.send("vm@mon", None), from.send("vm@tue", Some("vm@mon")));
    let mut receiver = Receiver::new(Arc::clone(&to.node), volume_name("vm"), ReceiveOptions::default());
    receiver.push(&full, &mut ignore).unwrap();
    assert!(to.node.export(&"vm".parse().unwrap()).is_err());
    let crashed = Bench { node: opened(&to.device.process_death()), device: to.device.clone() };
    assert_eq!(crashed.names(), [""; 0]);
    receiver.finish(&mut ignore).unwrap();
    let mut receiver = Receiver::new(Arc::clone(&to.node), volume_name("vm"), ReceiveOptions::default());
    receiver.push(&changes, &mut ignore).unwrap();
    assert_eq!(to.names().len(), 3, "the clone is there");
    let crashed = Bench { node: opened(&to.device.process_death()), device: to.device.clone() };
    assert_eq!(crashed.names(), ["vm", "vm@mon"]);
    assert!(crashed.content("vm") == from.content("vm@mon"));
    receiver.finish(&mut ignore).unwrap();
    let crashed = Bench { node: opened(&to.device.process_death()), device: to.device.clone() };
    assert_eq!(crashed.names(), ["vm", "vm@mon", "vm@tue"]);
    assert!(crashed.content("vm@tue") == from.content("vm@tue"));
}

/// A small stream on a base, and a node that has the base.
fn small() -> (Vec<u8>, Bench) {
    let (from, to) = (Bench::new(12), Bench::new(13));
    from.create("vm", 9 * BLOCK, Codec::Lz4);
    from.write("vm", 0, &text(1, 6));
    from.snapshot("vm@a");
    from.write("vm", 1, &text(2, 1));
    from.write("vm", 7, &text(3, 1));
    from.volume("vm").zero(3 * BLOCK, BLOCK, Zeroing::Hole).unwrap();
    from.snapshot("vm@b");
    to.receive("vm", &from.send("vm@a", None), false).unwrap();
    (from.send("vm@b", Some("vm@a")), to)
}

#[test]
fn a_stream_cut_anywhere_leaves_nothing() {
    let (stream, to) = small();
    let before = (to.names(), to.root("vm"));
    for len in 0..stream.len() {
        for name in ["vm", "new"] {
            assert!(to.receive(name, &stream[..len], true).is_err(), "{len} bytes");
        }
    }
    assert_eq!((to.names(), to.root("vm")), before);
    to.receive("vm", &stream, false).unwrap();
}

#[test]
fn a_stream_with_any_bit_flipped_leaves_nothing() {
    let (stream, to) = small();
    let before = (to.names(), to.root("vm"));
    for bit in 0..8 * stream.len() {
        let mut damaged = stream.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(to.receive("vm", &damaged, true).is_err(), "bit {bit}");
    }
    assert_eq!((to.names(), to.root("vm")), before);
    to.receive("vm", &stream, false).unwrap();
}

fn begin(size_bytes: u64, domain: u32) -> Record {
    Record::Begin(Begin {
        store: lsm_store::id::StoreId([1; 16]),
        id: lsm_store::id::VolumeId(5),
        volume: volume_name("vm"),
        snapshot: volume_name("s"),
        created_ms: 0,
        size_bytes,
        domain,
        base: None,
    })
}

fn encoded(records: &[Record]) -> Vec<u8> {
    let (mut encoder, mut bytes) = (StreamEncoder::default(), Vec::new());
    records.iter().for_each(|record| encoder.encode(record, &mut bytes));
    bytes
}

/// With good checksums: what a hostile sender can do.
#[test]
fn a_forged_stream_brings_nothing_that_it_does_not_say() {
    let to = Bench::new(14);
    let data = text(1, 1);
    let content: &[u8; BLOCK_BYTES] = data[..].try_into().unwrap();
    let block = StoredBlock { fingerprint: Fingerprint::of(content), encoding: Encoding::Raw, bytes: content.to_vec() };
    let blocks = |block: &StoredBlock| Record::Blocks { first: BlockIndex(1), blocks: vec![block.clone()] };
    let mut root = BytesRoot::new(3 * BLOCK);
    root.push(BLOCK, content);
    let end = |root| Record::End(End { root, data_blocks: 1, zero_blocks: 0, records: 2 });
    let good = end(root.finish().0.digest);
    let receive = |records: &[Record]| to.receive("vm", &encoded(records), false);
    let other = StoredBlock { fingerprint: Fingerprint([3; 32]), ..block.clone() };
    let refused = receive(&[begin(3 * BLOCK, 0), blocks(&other), good.clone()]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    let refused = receive(&[begin(3 * BLOCK, 0), blocks(&block), end([9; 32])]).unwrap_err();
    assert!(matches!(refused, TransferError::OtherRoot { .. }));
    let refused = receive(&[begin(3 * BLOCK - 1, 0), blocks(&block), good.clone()]).unwrap_err();
    assert!(matches!(refused, TransferError::OtherRoot { .. }));
    let refused = receive(&[begin(3 * BLOCK, 1), blocks(&block), good.clone()]).unwrap_err();
    assert!(matches!(refused, TransferError::UnknownDomain(1)));
    assert_eq!(to.names(), [""; 0]);
    receive(&[begin(3 * BLOCK, 0), blocks(&block), good]).unwrap();
    assert_eq!(to.names(), ["vm", "vm@s"]);
}

#[test]
fn a_root_does_not_depend_on_how_the_content_is_stored() {
    let content = [text(1, 40), vec![0; 30 * BLOCK_BYTES], noise(2, 20), vec![7; 100]].concat();
    let mut expected = BytesRoot::new(content.len() as u64);
    expected.push(0, &content);
    let (expected, data_blocks) = expected.finish();
    assert_eq!(data_blocks, 61);
    for (seed, codec) in [(20, Codec::Lz4), (21, Codec::None), (22, Codec::Zstd { level: ZstdLevel::default() })] {
        let bench = Bench::new(seed);
        bench.create("v", content.len() as u64, codec);
        if seed % 2 == 0 {
            bench.write("v", 0, &noise(3, 80));
            bench.volume("v").zero(40 * BLOCK, 3 * BLOCK, Zeroing::Hole).unwrap();
            bench.settle();
        }
        for (at, piece) in content.chunks(7 * BLOCK_BYTES + seed as usize).enumerate().collect::<Vec<_>>().iter().rev()
        {
            let offset = (at * (7 * BLOCK_BYTES + seed as usize)) as u64;
            bench.volume("v").write(&[Write { offset, data: piece }]).unwrap();
        }
        let at_once = bench.root("v");
        bench.snapshot("v@s");
        bench.settle();
        let settled = bench.root("v@s");
        let last = bench.node.store().segment_ids().last().copied().unwrap();
        bench.node.store().pack_cold(ColdScope::All, last).unwrap();
        assert_eq!([at_once, settled, bench.root("v@s")], [(); 3].map(|()| expected.to_string()), "{codec}");
        bench.write("v", 0, &[1]);
        assert_ne!(bench.root("v"), expected.to_string());
        assert_eq!(bench.names(), ["v", "v@s"], "nothing is left of the moment that a volume was looked at");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_root_of_bytes_does_not_depend_on_their_pieces(
        pieces in prop::collection::vec((0..9000_usize, 0..9000_usize, any::<u8>()), 1..12),
        tail in 1..9000_u64,
    ) {
        let mut image = Vec::new();
        let mut given = Vec::new();
        for (gap, len, byte) in pieces {
            image.resize(image.len() + gap, 0);
            given.push((image.len() as u64, vec![byte; len]));
            image.resize(image.len() + len, byte);
        }
        image.resize(image.len() + tail as usize, 0);
        let mut by_pieces = BytesRoot::new(image.len() as u64);
        given.iter().for_each(|(offset, data)| by_pieces.push(*offset, data));
        let mut naive = crate::root::RootBuilder::new(PLAIN_DOMAIN, image.len() as u64);
        for part in image.chunks(BLOCK_BYTES) {
            let mut block = [0; BLOCK_BYTES];
            block[..part.len()].copy_from_slice(part);
            match block == [0; BLOCK_BYTES] {
                true => naive.push_zeros(1),
                false => naive.push(&Fingerprint::of(&block)),
            }
        }
        prop_assert_eq!(by_pieces.finish().0, naive.finish());
    }
}

#[test]
fn who_asked_can_stop_it() {
    struct Closed;
    impl Outlet for Closed {
        fn write(&mut self, _bytes: &[u8]) -> Result<()> {
            Err(TransferError::Stopped)
        }

        fn progress(&mut self, _what: &str, _done: u64, _total: u64) -> Result<()> {
            Ok(())
        }
    }
    let from = grown(15);
    let stopped = send(&from.node, &snapshot_name("vm@mon"), None, &mut Closed);
    assert!(matches!(stopped, Err(TransferError::Stopped)));
    let stopped = from.node.root(&"vm".parse().unwrap(), &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(TransferError::Stopped)));
    assert_eq!(from.names(), ["vm", "vm@mon", "vm@tue"]);
}
