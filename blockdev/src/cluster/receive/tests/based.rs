//! Streams that go on from a snapshot of a volume of the cluster.

use super::*;
use crate::access::Principal;
use crate::export::Exports;
use crate::node::Shrink;

fn receive_there(fixture: &Fixture, stream: &[u8], force: bool) -> Result<ClusterReceived> {
    let mut receiver = ClusterReceiver::into_volume(Arc::clone(&fixture.cluster), name("copy"), force);
    stream.chunks(9_777).try_for_each(|piece| receiver.push(piece, &mut go_on))?;
    receiver.finish(&mut go_on)
}

fn session(fixture: &Fixture) -> Session {
    let core = fixture.cluster.core();
    let volume = core.volume_named(&name("copy")).unwrap().id;
    Session::new(core, volume)
}

/// What the volume or a snapshot of it holds.
fn content_of(fixture: &Fixture, snapshot: Option<&str>, size_bytes: u64) -> Vec<u8> {
    session(fixture).read(snapshot, 0, size_bytes as usize).unwrap().to_vec()
}

fn volume_bytes(fixture: &Fixture) -> u64 {
    fixture.cluster.volume(&name("copy")).unwrap().size_bytes
}

/// All snapshots of the volume, also those that people do not see.
fn all_snapshots(fixture: &Fixture) -> Vec<String> {
    session(fixture).snapshots().unwrap().into_iter().map(|snapshot| snapshot.name).collect()
}

fn write(fixture: &Fixture, offset: u64, data: &[u8]) {
    fixture.exports.open("copy", &Principal::Local).unwrap().write(&[Write { offset, data }]).unwrap();
}

/// That nothing of a reception is left on the node.
#[track_caller]
fn assert_tidy(fixture: &Fixture) {
    let names: Vec<_> = fixture.node.volumes().into_iter().map(|volume| volume.name.to_string()).collect();
    assert!(names.iter().all(|name| !name.starts_with("receive")), "{names:?}");
    assert!(fixture.node.intakes().is_empty());
}

#[test]
fn a_volume_goes_on_from_its_snapshot() {
    let fixture = Fixture::new("based");
    let (content, [first, _, changes]) = streams(&fixture);
    receive(&fixture, &first).unwrap();
    let received = receive_there(&fixture, &changes, false).unwrap();
    assert_eq!((received.snapshot.name.to_string(), received.base), ("copy@b".into(), Some(name("a"))));
    let source = fixture.node.root(&"source@b".parse().unwrap(), &mut go_on).unwrap();
    let copy = fixture.cluster.source(&snapshot_name("copy@b"), None).unwrap();
    assert_eq!([received.root, copy.root(&mut go_on).unwrap().root], [source.root; 2]);
    for snapshot in [None, Some("b")] {
        assert!(content_of(&fixture, snapshot, SIZE) == content);
    }
    assert!(content_of(&fixture, Some("a"), SIZE)[SIZE as usize / 2..].iter().all(|byte| *byte == 0));
    assert_eq!(all_snapshots(&fixture), ["a", "b"]);
    assert_tidy(&fixture);
    let again = receive_there(&fixture, &changes, true).unwrap_err();
    assert_eq!(again.to_string(), "volume copy has a snapshot named b");
}

#[test]
fn what_does_not_fit_the_volume_is_refused() {
    let fixture = Fixture::new("based-refused");
    let (_, [first, full, changes]) = streams(&fixture);
    let refused = |stream: &[u8], force| receive_there(&fixture, stream, force).unwrap_err();
    receive(&fixture, &full).unwrap();
    let error = refused(&changes, true);
    assert!(matches!(error, ClusterError::Transfer(TransferError::NoBase(_))), "{error}");
    let error = refused(&full, true);
    assert!(matches!(error, ClusterError::NameTaken(_)), "{error}");
    fixture.cluster.rename_snapshot(&snapshot_name("copy@b"), &name("a")).unwrap();
    let error = refused(&changes, true);
    assert!(matches!(error, ClusterError::Transfer(TransferError::OtherBase { .. })), "{error}");
    fixture.cluster.remove(&name("copy"), true).unwrap();

    receive(&fixture, &first).unwrap();
    let client = fixture.exports.open("copy", &Principal::Local).unwrap();
    let error = refused(&changes, true);
    assert!(matches!(error, ClusterError::InUse { connections: 1, .. }), "{error}");
    client.write(&[Write { offset: 4096, data: &[7; 9000] }]).unwrap();
    drop(client);
    let error = refused(&changes, false);
    assert!(matches!(error, ClusterError::Transfer(TransferError::Changed { .. })), "{error}");
    assert!(content_of(&fixture, None, SIZE)[4096..13_096] == [7; 9000]);
    assert_eq!(all_snapshots(&fixture), ["a"]);
    assert_tidy(&fixture);
}

#[test]
fn a_change_may_be_lost_if_that_is_said() {
    let fixture = Fixture::new("based-force");
    let (content, [first, _, changes]) = streams(&fixture);
    receive(&fixture, &first).unwrap();
    write(&fixture, 4096, &[7; 9000]);
    fixture.cluster.snapshot(&snapshot_name("copy@own")).unwrap();
    fixture.cluster.resize(&name("copy"), SIZE + 4096, false).unwrap();
    receive_there(&fixture, &changes, true).unwrap();
    assert!(content_of(&fixture, None, SIZE) == content);
    assert!(content_of(&fixture, Some("own"), SIZE)[4096..13_096] == [7; 9000]);
    assert_eq!((all_snapshots(&fixture), volume_bytes(&fixture)), (["a", "own", "b"].map(String::from).into(), SIZE));
}

#[test]
fn what_changes_while_the_stream_comes_is_not_lost() {
    let fixture = Fixture::new("based-meanwhile");
    let (_, [first, _, changes]) = streams(&fixture);
    receive(&fixture, &first).unwrap();
    let mut receiver = ClusterReceiver::into_volume(Arc::clone(&fixture.cluster), name("copy"), false);
    receiver.push(&changes, &mut go_on).unwrap();
    write(&fixture, 0, &[9; 100]);
    let error = receiver.finish(&mut go_on).unwrap_err();
    assert!(matches!(error, ClusterError::Transfer(TransferError::Changed { .. })), "{error}");
    assert!(content_of(&fixture, None, SIZE)[..100] == [9; 100]);
    assert_eq!(all_snapshots(&fixture), ["a"]);
    assert_tidy(&fixture);
}

#[test]
fn a_broken_stream_leaves_the_volume_as_it_was() {
    let fixture = Fixture::new("based-broken");
    let (_, [first, _, changes]) = streams(&fixture);
    receive(&fixture, &first).unwrap();
    write(&fixture, 400_000, &[5; 10_000]);
    let before = content_of(&fixture, None, SIZE);
    let mut receiver = ClusterReceiver::into_volume(Arc::clone(&fixture.cluster), name("copy"), true);
    receiver.push(&changes[..changes.len() - 1], &mut go_on).unwrap();
    assert!(fixture.node.volumes().iter().any(|volume| volume.name.as_str().starts_with("receive.")));
    assert!(receiver.finish(&mut go_on).is_err());
    for at in (16..changes.len()).step_by(changes.len() / 20) {
        let mut damaged = changes.clone();
        damaged[at] ^= 0x10;
        let error = receive_there(&fixture, &damaged, true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
    }
    let mut receiver = ClusterReceiver::into_volume(Arc::clone(&fixture.cluster), name("copy"), true);
    receiver.push(&changes, &mut go_on).unwrap();
    receiver.end.as_mut().unwrap().root[0] ^= 1;
    let error = receiver.finish(&mut go_on).unwrap_err();
    assert!(matches!(error, ClusterError::Transfer(TransferError::OtherRoot { .. })), "{error}");
    assert!(content_of(&fixture, None, SIZE) == before);
    assert_eq!(all_snapshots(&fixture), ["a"]);
    assert_tidy(&fixture);
}

#[test]
fn snapshots_of_other_sizes_follow_each_other() {
    const SIZES: [u64; 5] = [600_000, 5_000_000, 4096, 4097, 2_000_000];
    let fixture = Fixture::new("based-sizes");
    let node = &fixture.node;
    node.create(&name("source"), VolumeSpec { size_bytes: SIZES[0], codec: Codec::Lz4 }).unwrap();
    let mut last: Option<SnapshotName> = None;
    for (number, size_bytes) in (1..).zip(SIZES) {
        node.resize(&name("source"), size_bytes, Shrink::Allowed).unwrap();
        let source = node.export(&ExportName::Volume(name("source"))).unwrap();
        source.volume().write(&[Write { offset: 0, data: &[number; 3000] }]).unwrap();
        source.volume().write(&[Write { offset: size_bytes - 1, data: &[number] }]).unwrap();
        drop(source);
        let snapshot = snapshot_name(&format!("source@s{number}"));
        node.snapshot(std::slice::from_ref(&snapshot)).unwrap();
        let mut stream = Collected::default();
        transfer::send(node, &snapshot, last.as_ref(), &mut stream).unwrap();
        match last {
            None => receive(&fixture, &stream.0).unwrap(),
            Some(_) => receive_there(&fixture, &stream.0, false).unwrap(),
        };
        let expected = node.export(&snapshot.clone().into()).unwrap();
        let mut content = vec![0; size_bytes as usize];
        expected.volume().read(0, content.len()).unwrap().copy_to(&mut content);
        for of in [None, Some(snapshot.snapshot.as_str())] {
            assert!(content_of(&fixture, of, size_bytes) == content, "snapshot {number}");
        }
        assert_eq!(volume_bytes(&fixture), size_bytes);
        last = Some(snapshot);
    }
    assert_eq!(all_snapshots(&fixture), ["s1", "s2", "s3", "s4", "s5"]);
}
