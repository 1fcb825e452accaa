use std::ops::ControlFlow;

use lsm_store::ErrorKind;
use lsm_store::codec::Encoding;
use lsm_store::fingerprint::Fingerprint;
use lsm_store::id::{BLOCK_BYTES, StoreId, VolumeId};
use lsm_store::store::VolumeSpec;

use super::*;
use crate::cluster::asking::Session;
use crate::cluster::tests::{Fixture, name};
use crate::name::ExportName;
use crate::transfer::{self, Outlet, StreamEncoder, StreamError};

mod based;

/// Not a whole number of blocks.
const SIZE: u64 = 600_000;

#[derive(Default)]
struct Collected(Vec<u8>);

impl Outlet for Collected {
    fn write(&mut self, bytes: &[u8]) -> transfer::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn progress(&mut self, _: &str, _: u64, _: u64) -> transfer::Result<()> {
        Ok(())
    }
}

fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn snapshot_name(text: &str) -> SnapshotName {
    text.parse().unwrap()
}

/// What a volume of the node holds, which has snapshots of the first half and of all of it, and streams of these: full ones, and
/// one that goes on from the first.
fn streams(fixture: &Fixture) -> (Vec<u8>, [Vec<u8>; 3]) {
    let node = &fixture.node;
    node.create(&name("source"), VolumeSpec { size_bytes: SIZE, codec: Codec::Lz4 }).unwrap();
    let volume = node.export(&ExportName::Volume(name("source"))).unwrap();
    let half = (SIZE / 2) as usize;
    let mut content: Vec<u8> = (0..SIZE as u32).map(|at| (at / 300 * 7) as u8).collect();
    content[20_000..90_000].fill(0);
    for (data, offset, snapshot) in [(&content[..half], 0, "source@a"), (&content[half..], half, "source@b")] {
        volume.volume().write(&[Write { offset: offset as u64, data }]).unwrap();
        node.snapshot(&[snapshot_name(snapshot)]).unwrap();
    }
    let send = |of: &str, base: Option<&str>| {
        let mut outlet = Collected::default();
        transfer::send(node, &snapshot_name(of), base.map(snapshot_name).as_ref(), &mut outlet).unwrap();
        outlet.0
    };
    (content, [send("source@a", None), send("source@b", None), send("source@b", Some("source@a"))])
}

fn receive(fixture: &Fixture, stream: &[u8]) -> Result<ClusterReceived> {
    let mut receiver = ClusterReceiver::new(Arc::clone(&fixture.cluster), name("copy"), Codec::Lz4, 1);
    stream.chunks(977).try_for_each(|piece| receiver.push(piece, &mut go_on))?;
    assert!(receiver.size_bytes() == Some(SIZE) && receiver.position_bytes() <= SIZE);
    receiver.finish(&mut go_on)
}

fn is_there(fixture: &Fixture) -> bool {
    fixture.cluster.core.volume_named(&name("copy")).is_ok()
}

#[test]
fn a_stream_becomes_a_volume_with_a_snapshot() {
    let fixture = Fixture::new("receive");
    let (content, [_, full, _]) = streams(&fixture);
    let received = receive(&fixture, &full).unwrap();
    assert_eq!((received.snapshot.name.to_string(), received.snapshot.size_bytes), ("copy@b".into(), SIZE));
    let source = fixture.node.root(&"source@b".parse().unwrap(), &mut go_on).unwrap();
    assert_eq!((received.root, received.data_blocks), (source.root, source.data_blocks));
    let copy = fixture.cluster.source(&snapshot_name("copy@b"), None).unwrap();
    assert_eq!(copy.root(&mut go_on).unwrap().root, source.root);
    let core = fixture.cluster.core();
    let volume = core.volume_named(&name("copy")).unwrap().id;
    for snapshot in [None, Some("b")] {
        assert!(Session::new(Arc::clone(&core), volume).read(snapshot, 0, SIZE as usize).unwrap()[..] == content);
    }
    assert!(matches!(receive(&fixture, &full), Err(ClusterError::NameTaken(_))));
}

#[test]
fn what_is_no_whole_stream_leaves_nothing() {
    let fixture = Fixture::new("receive-broken");
    let (_, [_, full, _]) = streams(&fixture);
    let mut receiver = ClusterReceiver::new(Arc::clone(&fixture.cluster), name("copy"), Codec::Lz4, 1);
    receiver.push(&full[..full.len() - 1], &mut go_on).unwrap();
    assert!(is_there(&fixture) && receiver.size_bytes() == Some(SIZE));
    let error = receiver.finish(&mut go_on).unwrap_err();
    assert!(matches!(error, ClusterError::Transfer(TransferError::Stream(StreamError::Truncated { .. }))), "{error}");
    assert!(!is_there(&fixture));
    for at in (0..full.len()).step_by(full.len() / 40) {
        let mut damaged = full.clone();
        damaged[at] ^= 0x10;
        let error = receive(&fixture, &damaged).unwrap_err();
        let expected = if at < 8 { ErrorKind::Invalid } else { ErrorKind::Corrupt };
        assert!(error.kind() == expected || at < 16, "byte {at}: {error}");
        assert!(!is_there(&fixture), "byte {at}");
    }
}

#[test]
fn a_stream_that_goes_on_from_another_is_refused() {
    let fixture = Fixture::new("receive-based");
    let (_, [first, _, changes]) = streams(&fixture);
    let error = receive(&fixture, &changes).unwrap_err();
    assert_eq!((error.kind(), is_there(&fixture)), (ErrorKind::Unsupported, false));
    receive(&fixture, &first).unwrap();
    let error = receive(&fixture, &changes).unwrap_err();
    assert!(error.to_string().contains("copy@a"), "{error}");
}

#[test]
fn a_root_that_does_not_fit_leaves_nothing() {
    let fixture = Fixture::new("receive-root");
    let (_, [first, ..]) = streams(&fixture);
    let mut receiver = ClusterReceiver::new(Arc::clone(&fixture.cluster), name("copy"), Codec::Lz4, 1);
    receiver.push(&first, &mut go_on).unwrap();
    receiver.end.as_mut().unwrap().root[0] ^= 1;
    let error = receiver.finish(&mut go_on).unwrap_err();
    assert!(matches!(error, ClusterError::Transfer(TransferError::OtherRoot { .. })), "{error}");
    assert!(!is_there(&fixture));
}

/// A volume of 100 bytes, whose block holds a byte at `at`.
fn stream_with_byte(at: usize) -> Vec<u8> {
    let mut content = [0; BLOCK_BYTES];
    content[at] = 9;
    let fingerprint = Fingerprint::of(&content);
    let begin = Begin {
        store: StoreId([1; 16]),
        id: VolumeId(1),
        volume: name("source"),
        snapshot: name("a"),
        created_ms: 0,
        size_bytes: 100,
        domain: PLAIN_DOMAIN,
        base: None,
    };
    let block = StoredBlock { fingerprint, encoding: Encoding::Raw, bytes: content.to_vec() };
    let mut root = RootBuilder::new(PLAIN_DOMAIN, 100);
    root.push(&fingerprint);
    let end = End { root: root.finish().digest, data_blocks: 1, zero_blocks: 0, records: 2 };
    let (mut encoder, mut stream) = (StreamEncoder::default(), Vec::new());
    let records =
        [Record::Begin(begin), Record::Blocks { first: BlockIndex(0), blocks: vec![block] }, Record::End(end)];
    records.iter().for_each(|record| encoder.encode(record, &mut stream));
    stream
}

#[test]
fn nothing_lies_beyond_the_end() {
    let fixture = Fixture::new("receive-beyond");
    let received = |stream: &[u8]| {
        let mut receiver = ClusterReceiver::new(Arc::clone(&fixture.cluster), name("copy"), Codec::Lz4, 1);
        receiver.push(stream, &mut go_on)?;
        receiver.finish(&mut go_on)
    };
    let error = received(&stream_with_byte(100)).unwrap_err();
    assert_eq!((error.kind(), is_there(&fixture)), (ErrorKind::Corrupt, false), "{error}");
    assert_eq!(received(&stream_with_byte(99)).unwrap().snapshot.size_bytes, 100);
}
