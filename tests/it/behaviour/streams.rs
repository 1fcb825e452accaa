//! Snapshots as streams, and roots.

use std::ops::ControlFlow;

use siltstone::{ErrorKind, Progress, ReceiveOptions, Root, Shrink, Snapshot, Store, Volume, VolumeOptions, unwatched};

use super::objects::{Breaking, Full, assert_cable};
use super::{MIB, assert_kind, noise, read};

fn stream(snapshot: &Snapshot, base: Option<&Snapshot>) -> Vec<u8> {
    let mut stream = Vec::new();
    let sent = snapshot.send(base, &mut stream, &mut unwatched).unwrap();
    assert_eq!((sent.stream_bytes, sent.size_bytes), (stream.len() as u64, snapshot.size_bytes()));
    assert_eq!(sent.root, snapshot.root(&mut unwatched).unwrap());
    stream
}

fn receive(store: &Store, name: &str, stream: &[u8]) -> siltstone::Result<siltstone::Received> {
    store.receive(name, &ReceiveOptions::new(), stream, &mut unwatched)
}

/// A volume with a size of no whole block, and its first snapshot.
fn source(store: &Store) -> (Volume, Snapshot) {
    let disk = store.create_volume("disk", &VolumeOptions::new(16 * MIB + 10)).unwrap();
    disk.write_at(5000, &noise(3 * MIB as usize, 1)).unwrap();
    disk.write_at(16 * MIB, b"the tail").unwrap();
    let monday = disk.snapshot("monday").unwrap();
    (disk, monday)
}

fn is_same(a: &siltstone::View, b: &siltstone::View) -> bool {
    a.size_bytes() == b.size_bytes() && read(a, 0..a.size_bytes()) == read(b, 0..b.size_bytes())
}

pub(super) fn snapshots_travel(store: &Store) {
    let (mut disk, monday) = source(store);
    let received = receive(store, "copy", &stream(&monday, None)).unwrap();
    assert_eq!((received.name.as_str(), &received.base), ("copy@monday", &None));
    let copy = store.snapshot(&received.name).unwrap();
    assert_eq!((received.id, received.size_bytes), (copy.id(), 16 * MIB + 10));
    assert_eq!(received.root, monday.root(&mut unwatched).unwrap());
    assert!(is_same(&copy, &monday) && is_same(&store.volume("copy").unwrap(), &monday));

    disk.write_at(MIB, &noise(8192, 2)).unwrap();
    disk.trim(2 * MIB, 8192).unwrap();
    disk.resize(17 * MIB, Shrink::Refused).unwrap();
    let tuesday = disk.snapshot("tuesday").unwrap();
    let received = receive(store, "copy", &stream(&tuesday, Some(&monday))).unwrap();
    assert_eq!((received.name.as_str(), received.base.as_deref()), ("copy@tuesday", Some("copy@monday")));
    assert!(received.data_bytes < MIB, "only what is new travels: {received:?}");
    assert!(is_same(&store.snapshot("copy@tuesday").unwrap(), &tuesday) && is_same(&copy, &monday));
    assert!(is_same(&store.volume("copy").unwrap(), &tuesday));
}

pub(super) fn names_of_what_comes_are_checked(store: &Store) {
    let (disk, monday) = source(store);
    let first = stream(&monday, None);
    let tuesday = disk.snapshot("tuesday").unwrap();
    let second = stream(&tuesday, Some(&monday));
    assert_kind(receive(store, "disk", &first), ErrorKind::Exists);
    assert_kind(receive(store, "Copy", &first), ErrorKind::Invalid);
    assert_kind(receive(store, "copy", &second), ErrorKind::NotFound);
    store.create_volume("copy", &VolumeOptions::new(16 * MIB + 10)).unwrap();
    assert_kind(receive(store, "copy", &second), ErrorKind::NotFound);
    drop(store.create_snapshot("copy@monday").unwrap());
    assert_kind(receive(store, "copy", &second), ErrorKind::Invalid);
    store.remove_volume_with_snapshots("copy").unwrap();

    receive(store, "copy", &first).unwrap();
    receive(store, "copy", &second).unwrap();
    assert_kind(receive(store, "copy", &second), ErrorKind::Exists);
    assert_kind(monday.send(Some(&store.snapshot("copy@monday").unwrap()), Full, &mut unwatched), ErrorKind::Invalid);
}

pub(super) fn what_was_changed_is_not_lost(store: &Store) {
    let (disk, monday) = source(store);
    receive(store, "copy", &stream(&monday, None)).unwrap();
    let second = stream(&disk.snapshot("tuesday").unwrap(), Some(&monday));
    let copy = store.volume("copy").unwrap();
    copy.write_at(0, b"precious").unwrap();
    assert_kind(receive(store, "copy", &second), ErrorKind::Busy);
    drop(copy);
    assert_kind(receive(store, "copy", &second), ErrorKind::Invalid);
    assert_eq!(read(&store.volume("copy").unwrap(), 0..8), b"precious");
    store.receive("copy", &ReceiveOptions::new().force(true), &second[..], &mut unwatched).unwrap();
    assert!(is_same(&store.volume("copy").unwrap(), &monday));
}

pub(super) fn damaged_streams_are_refused(store: &Store) {
    let (_disk, monday) = source(store);
    let sound = stream(&monday, None);
    let mut broken: Vec<_> = (0..40).map(|step| sound[..sound.len() * step / 40].to_vec()).collect();
    broken.push([&sound[..], b"x"].concat());
    for step in 1..40 {
        let mut damaged = sound.clone();
        damaged[sound.len() * step / 40] ^= 0x10;
        broken.push(damaged);
    }
    for broken in &broken {
        assert_kind(receive(store, "copy", broken), ErrorKind::Corrupt);
    }
    assert_kind(receive(store, "copy", &noise(100_000, 1)), ErrorKind::Invalid);
    assert_cable(store.receive("copy", &ReceiveOptions::new(), Breaking(&sound[..MIB as usize]), &mut unwatched));
    let names: Vec<_> = store.volumes().unwrap().into_iter().map(|volume| volume.name).collect();
    assert_eq!(names, ["disk"], "nothing is left of them");
    receive(store, "copy", &sound).unwrap();
}

/// A watch that ends its operation when it is called so often, or hears that all is done.
fn breaking(mut calls: u32) -> impl FnMut(Progress) -> ControlFlow<()> {
    move |progress| {
        let is_done = progress.total_bytes.is_some_and(|total| progress.done_bytes >= total);
        calls = calls.saturating_sub(1);
        if calls == 0 || is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

pub(super) fn streams_can_be_cancelled(store: &Store) {
    let (disk, monday) = source(store);
    disk.write_at(0, &noise(8 * MIB as usize, 2)).unwrap();
    let tuesday = disk.snapshot("tuesday").unwrap();
    let (first, second) = (stream(&monday, None), stream(&tuesday, Some(&monday)));
    receive(store, "copy", &first).unwrap();
    for calls in 1..4 {
        let options = ReceiveOptions::new();
        assert_kind(store.receive("other", &options, &first[..], &mut breaking(calls)), ErrorKind::Cancelled);
        assert_kind(store.receive("copy", &options, &second[..], &mut breaking(calls)), ErrorKind::Cancelled);
    }
    // At the beginning, and as late as it can be.
    for calls in [1, u32::MAX] {
        assert_kind(tuesday.send(Some(&monday), Vec::new(), &mut breaking(calls)), ErrorKind::Cancelled);
        assert_kind(tuesday.root(&mut breaking(calls)), ErrorKind::Cancelled);
    }
    assert_cable(tuesday.send(None, Full, &mut unwatched));
    let names: Vec<_> = store.all_snapshots().unwrap().into_iter().map(|snapshot| snapshot.name).collect();
    assert_eq!(names, ["copy@monday", "disk@monday", "disk@tuesday"]);
    assert!(is_same(&store.volume("copy").unwrap(), &monday));
}

pub(super) fn roots_are_those_of_the_content(store: &Store) {
    let [a, b] = ["a", "b"].map(|name| store.create_volume(name, &VolumeOptions::new(MIB + 10)).unwrap());
    let root = |view: &siltstone::View| view.root(&mut unwatched).unwrap();
    let empty = root(&a);
    assert_eq!(empty, root(&b));
    a.write_at(8192, &noise(8192, 1)).unwrap();
    assert_ne!(root(&a), empty);
    b.write_at(8192, &noise(4096, 1)).unwrap();
    b.zero(0, 4096).unwrap();
    assert_ne!(root(&a), root(&b));
    b.write_at(8192, &noise(8192, 1)).unwrap();
    assert_eq!(root(&a), root(&b), "zeros are zeros");
    let frozen = a.snapshot("a").unwrap();
    a.trim(0, MIB).unwrap();
    assert_eq!((root(&frozen), root(&a)), (root(&b), empty));
    let text = root(&b).to_string();
    assert_eq!((text.len(), text.parse::<Root>().unwrap()), (64, root(&b)));
    assert_kind(text[1..].parse::<Root>(), ErrorKind::Invalid);
}
