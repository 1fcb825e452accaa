//! Snapshots as streams, and roots.

use std::io::{self, Write};
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::thread;

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

/// Both ends of an exchange in one store, and what each says of it.
fn exchanged(
    store: &Store,
    (snapshot, base): (&Snapshot, Option<&Snapshot>),
    name: &str,
    options: &ReceiveOptions,
) -> (siltstone::Result<siltstone::Sent>, siltstone::Result<siltstone::Received>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let accepting = scope.spawn(move || store.accept(name, options, &theirs, &theirs, &mut unwatched));
        let sent = snapshot.offer(base, &ours, &ours, &mut unwatched);
        drop(ours);
        (sent, accepting.join().unwrap())
    })
}

fn exchange(store: &Store, what: (&Snapshot, Option<&Snapshot>), name: &str) -> (siltstone::Sent, siltstone::Received) {
    let (sent, received) = exchanged(store, what, name, &ReceiveOptions::new());
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!((sent.root, sent.size_bytes), (received.root, received.size_bytes));
    assert_eq!((sent.data_bytes, sent.had_bytes), (received.data_bytes, received.had_bytes));
    (sent, received)
}

pub(super) fn what_a_store_lacks_is_asked_for(store: &Store) {
    let (disk, monday) = source(store);
    let (sent, received) = exchange(store, (&monday, None), "copy");
    assert_eq!((received.name.as_str(), &received.base), ("copy@monday", &None));
    assert_eq!(received.root, monday.root(&mut unwatched).unwrap());
    // 3 MiB that begin and end within a block, and the tail.
    assert_eq!(sent.data_bytes + sent.had_bytes, 3 * MIB + 2 * 4096);
    disk.write_at(MIB, &noise(8192, 2)).unwrap();
    disk.trim(2 * MIB, 8192).unwrap();
    let tuesday = disk.snapshot("tuesday").unwrap();
    // With a base little is offered, without one little is asked for.
    let (sent, received) = exchange(store, (&tuesday, Some(&monday)), "copy");
    assert_eq!((received.base.as_deref(), sent.stream_bytes < 20_000), (Some("copy@monday"), true), "{sent:?}");
    assert!(is_same(&store.snapshot("copy@tuesday").unwrap(), &tuesday));
    assert!(is_same(&store.volume("copy").unwrap(), &tuesday));
}

pub(super) fn a_volume_goes_on_with_what_is_offered(store: &Store) {
    let (mut disk, monday) = source(store);
    exchange(store, (&monday, None), "copy");
    disk.write_at(MIB, &noise(8192, 2)).unwrap();
    disk.resize(17 * MIB, Shrink::Refused).unwrap();
    let tuesday = disk.snapshot("tuesday").unwrap();
    let (sent, received) = exchange(store, (&tuesday, None), "copy");
    assert_eq!(received.base.as_deref(), Some("copy@monday"));
    assert!(sent.data_bytes <= 4 * 4096 && sent.had_bytes > 2 * MIB, "{sent:?}");
    assert!(is_same(&store.snapshot("copy@monday").unwrap(), &monday));
    assert!(is_same(&store.snapshot("copy@tuesday").unwrap(), &tuesday));
    assert!(is_same(&store.volume("copy").unwrap(), &tuesday));
}

pub(super) fn both_ends_hear_why_nothing_was_received(store: &Store) {
    let (disk, monday) = source(store);
    let tuesday = disk.snapshot("tuesday").unwrap();
    let refused = |what, name, options: &ReceiveOptions, kind| {
        let (sent, received) = exchanged(store, what, name, options);
        let told = sent.unwrap_err();
        assert_eq!(told.kind(), kind, "{told}");
        assert!(told.to_string().starts_with("the receiver says: "), "{told}");
        assert_kind(received, kind);
    };
    let plain = ReceiveOptions::new();
    refused((&tuesday, Some(&monday)), "copy", &plain, ErrorKind::NotFound);
    let copy = store.create_volume("copy", &VolumeOptions::new(MIB)).unwrap();
    refused((&monday, None), "copy", &plain, ErrorKind::Exists);
    drop(copy.snapshot("monday").unwrap());
    drop(copy);
    refused((&tuesday, Some(&monday)), "copy", &plain, ErrorKind::Invalid);
    refused((&monday, None), "copy", &plain, ErrorKind::Exists);
    let copy = store.volume("copy").unwrap();
    copy.write_at(0, b"precious").unwrap();
    refused((&tuesday, None), "copy", &plain, ErrorKind::Busy);
    drop(copy);
    refused((&tuesday, None), "copy", &plain, ErrorKind::Invalid);
    assert_eq!(read(&store.volume("copy").unwrap(), 0..8), b"precious");
    let (sent, _) = exchanged(store, (&tuesday, None), "copy", &ReceiveOptions::new().force(true));
    assert_eq!(sent.unwrap().root, store.volume("copy").unwrap().root(&mut unwatched).unwrap());
    // Who is no such end.
    let talk = |says: &[u8]| monday.offer(None, says, Vec::new(), &mut unwatched);
    assert_kind(talk(b"Last login: today"), ErrorKind::Invalid);
    assert_kind(talk(b""), ErrorKind::Io);
    assert_cable(monday.offer(None, Breaking(b"Silt"), Vec::new(), &mut unwatched));
    let stream = stream(&monday, None);
    assert_kind(store.accept("new", &plain, &stream[..], Vec::new(), &mut unwatched), ErrorKind::Invalid);
    assert_kind(store.accept("new", &plain, &b""[..], Vec::new(), &mut unwatched), ErrorKind::Corrupt);
    assert_cable(store.accept("new", &plain, &b""[..], Full, &mut unwatched));
    assert_kind(store.volume("new"), ErrorKind::NotFound);
}

/// A way to the other end that breaks at the last word, which names what was received or exists.
struct Speechless(UnixStream);

impl Write for Speechless {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let is_last = buf.windows(4).any(|word| word == b"copy");
        if is_last { Err(io::Error::other("the cable is out")) } else { self.0.write(buf) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

pub(super) fn what_is_received_stays_though_nobody_is_told(store: &Store) {
    let (_disk, monday) = source(store);
    let accepted = || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            let accepting = scope.spawn(move || {
                let to = Speechless(theirs.try_clone().unwrap());
                store.accept("copy", &ReceiveOptions::new(), &theirs, to, &mut unwatched)
            });
            assert_kind(monday.offer(None, &ours, &ours, &mut unwatched), ErrorKind::Io);
            drop(ours);
            accepting.join().unwrap()
        })
    };
    assert_eq!(accepted().unwrap().root, monday.root(&mut unwatched).unwrap());
    assert!(is_same(&store.snapshot("copy@monday").unwrap(), &monday));
    assert_kind(accepted(), ErrorKind::Exists);
}

pub(super) fn exchanges_can_be_cancelled(store: &Store) {
    let (_disk, monday) = source(store);
    for calls in 1..4 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            let accepting =
                scope.spawn(move || store.accept("copy", &ReceiveOptions::new(), &theirs, &theirs, &mut unwatched));
            assert_kind(monday.offer(None, &ours, &ours, &mut breaking(calls)), ErrorKind::Cancelled);
            drop(ours);
            assert_kind(accepting.join().unwrap(), ErrorKind::Corrupt);
        });
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            let offering = scope.spawn({
                let monday = &monday;
                move || monday.offer(None, &theirs, &theirs, &mut unwatched)
            });
            let options = ReceiveOptions::new();
            assert_kind(store.accept("copy", &options, &ours, &ours, &mut breaking(calls)), ErrorKind::Cancelled);
            drop(ours);
            assert!(offering.join().unwrap().is_err());
        });
    }
    assert_kind(store.volume("copy"), ErrorKind::NotFound);
    exchange(store, (&monday, None), "copy");
}

/// Says so many bytes, and fails.
struct Cut<'a>(&'a UnixStream, usize);

impl Write for Cut<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let len = data.len().min(self.1);
        if len == 0 {
            self.0.shutdown(Shutdown::Write)?;
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.1 -= len;
        self.0.write(&data[..len])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn broken_exchanges_are_gone_on_with(store: &Store) {
    let (_disk, monday) = source(store);
    assert_eq!(store.receptions().unwrap(), []);
    let break_off = || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            let accepting =
                scope.spawn(move || store.accept("copy", &ReceiveOptions::new(), &theirs, &theirs, &mut unwatched));
            monday.offer(None, &ours, Cut(&ours, 300), &mut unwatched).unwrap_err();
            drop(ours);
            assert_kind(accepting.join().unwrap(), ErrorKind::Corrupt);
        });
        let receptions = store.receptions().unwrap();
        assert_eq!((receptions.len(), receptions[0].name.as_str()), (1, "copy"));
        assert_eq!(receptions[0].size_bytes, monday.size_bytes());
        assert!(receptions[0].expires_ms > receptions[0].began_ms);
        assert_kind(store.volume("copy"), ErrorKind::NotFound);
    };
    break_off();
    store.remove_reception("copy").unwrap();
    assert_kind(store.remove_reception("copy"), ErrorKind::NotFound);
    assert_kind(store.remove_reception("a@b"), ErrorKind::Invalid);
    break_off();
    exchange(store, (&monday, None), "copy");
    assert_eq!(store.receptions().unwrap(), []);
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
