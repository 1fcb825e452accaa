//! Snapshots copied into volumes and files.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::PathBuf;

use siltstone::{ErrorKind, Shrink, Snapshot, Store, Volume, VolumeOptions, unwatched};

use super::{MIB, assert_kind, noise, read};

#[track_caller]
fn assert_same(copy: &Volume, source: &Snapshot) {
    assert_eq!(copy.size_bytes(), source.size_bytes());
    assert!(read(copy, 0..copy.size_bytes()) == read(source, 0..source.size_bytes()));
}

pub(super) fn copies_follow_their_source(store: &Store) {
    let mut disk = store.create_volume("disk", &VolumeOptions::new(4 * MIB + 5)).unwrap();
    let mut copy = store.create_volume("copy", &VolumeOptions::new(6 * MIB)).unwrap();
    copy.write_at(3 * MIB, &noise(3 * MIB as usize, 9)).unwrap();
    let mut last: Option<Snapshot> = None;
    for round in 0..6_u64 {
        disk.write_at(round * 10_001, &noise(5000, round)).unwrap();
        disk.write_at(disk.size_bytes() - 3, b"end").unwrap();
        disk.trim(MIB / 2 + 4096 * round, 9000).unwrap();
        let snapshot = disk.snapshot(&round.to_string()).unwrap();
        let copied = copy.copy_from(&snapshot, last.as_ref(), &mut unwatched).unwrap();
        assert_same(&copy, &snapshot);
        assert!(copied.known_bytes + copied.read_bytes <= copied.compared_bytes + 8192, "{copied:?}");
        let size_bytes = [5 * MIB, 5 * MIB + 4097, 3 * MIB + 7, 3 * MIB + 8, MIB][(round % 5) as usize];
        disk.resize(size_bytes, Shrink::Allowed).unwrap();
        last = Some(snapshot);
    }
}

pub(super) fn copies_cost_what_differs(store: &Store) {
    let disk = store.create_volume("disk", &VolumeOptions::new(1 << 40)).unwrap();
    let mut copy = store.create_volume("copy", &VolumeOptions::new(1 << 40)).unwrap();
    disk.write_at(1 << 39, &noise(MIB as usize, 1)).unwrap();
    let a = disk.snapshot("a").unwrap();
    let copied = copy.copy_from(&a, None, &mut unwatched).unwrap();
    assert_eq!((copied.compared_bytes, copied.known_bytes + copied.read_bytes), (1 << 40, MIB), "no hole is read");
    disk.write_at(1 << 39, &noise(MIB as usize, 1)[..MIB as usize / 2]).unwrap();
    disk.write_at((1 << 39) + 10 * 4096, &noise(4096, 2)).unwrap();
    let b = disk.snapshot("b").unwrap();
    let copied = copy.copy_from(&b, Some(&a), &mut unwatched).unwrap();
    assert_eq!(copied.known_bytes + copied.read_bytes, 4096, "what holds again what it held is not read");
    assert!((4096..=MIB / 2).contains(&copied.compared_bytes), "{copied:?}");
    let copied = copy.copy_from(&b, None, &mut unwatched).unwrap();
    assert_eq!((copied.known_bytes, copied.read_bytes), (0, 0));
}

pub(super) fn copies_follow_a_source_that_was_cut_between_blocks(store: &Store) {
    let mut disk = store.create_volume("disk", &VolumeOptions::new(4 * MIB)).unwrap();
    disk.write_at(0, &noise(4 * MIB as usize, 1)).unwrap();
    let a = disk.snapshot("a").unwrap();
    let mut copy = store.create_volume("copy", &VolumeOptions::new(4 * MIB)).unwrap();
    copy.copy_from(&a, None, &mut unwatched).unwrap();
    disk.resize(3 * MIB, Shrink::Allowed).unwrap();
    disk.write_at(0, &noise(4096, 2)).unwrap();
    disk.write_at(MIB, &noise(4096, 3)).unwrap();
    disk.trim(2 * MIB, 8192).unwrap();
    let b = disk.snapshot("b").unwrap();
    copy.copy_from(&b, Some(&a), &mut unwatched).unwrap();
    assert_same(&copy, &b);
    // All of it is there: it is told, and can be ended, all the same.
    assert_kind(copy.copy_from(&b, Some(&a), &mut ended_after(1)), ErrorKind::Cancelled);
}

/// Ends what is watched when it has come so far.
fn ended_after(bytes: u64) -> impl FnMut(siltstone::Progress) -> ControlFlow<()> {
    move |progress| if progress.done_bytes >= bytes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

pub(super) fn copies_can_be_cancelled_and_go_on(store: &Store) {
    let disk = store.create_volume("disk", &VolumeOptions::new(4 * MIB)).unwrap();
    disk.write_at(0, &noise(4 * MIB as usize, 1)).unwrap();
    let snapshot = disk.snapshot("a").unwrap();
    let mut copy = store.create_volume("copy", &VolumeOptions::new(4 * MIB)).unwrap();
    let mut end_after_one = |progress: siltstone::Progress| {
        assert_eq!(progress.total_bytes, Some(4 * MIB));
        if progress.done_bytes >= MIB { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    assert_kind(copy.copy_from(&snapshot, None, &mut end_after_one), ErrorKind::Cancelled);
    let copied = copy.copy_from(&snapshot, None, &mut unwatched).unwrap();
    assert!(copied.known_bytes + copied.read_bytes <= 3 * MIB, "what was copied before is not copied again");
    assert_same(&copy, &snapshot);
}

pub(super) fn copies_are_not_made_blindly(store: &Store) {
    let disk = store.create_volume("disk", &VolumeOptions::new(MIB)).unwrap();
    let other = store.create_volume("other", &VolumeOptions::new(MIB)).unwrap();
    disk.write_at(0, b"content").unwrap();
    let (snapshot, unrelated) = (disk.snapshot("a").unwrap(), other.snapshot("a").unwrap());
    let mut copy = store.create_volume("copy", &VolumeOptions::new(2 * MIB)).unwrap();
    assert_kind(copy.copy_from(&snapshot, Some(&unrelated), &mut unwatched), ErrorKind::Invalid);
    assert_eq!(copy.size_bytes(), 2 * MIB, "nothing was done");
    let user = store.volume("copy").unwrap();
    assert_kind(copy.copy_from(&snapshot, None, &mut unwatched), ErrorKind::Busy);
    drop(user);
    copy.copy_from(&snapshot, None, &mut unwatched).unwrap();
    assert_same(&copy, &snapshot);
}

/// A file's path of its own, removed at the end.
struct Image(PathBuf);

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) fn images_are_what_is_read(store: &Store) {
    let disk = store.create_volume("disk", &VolumeOptions::new(4 * MIB + 5)).unwrap();
    disk.write_at(4096, &noise(2 * MIB as usize, 1)).unwrap();
    disk.zero(8192, 4096).unwrap();
    disk.write_at(4 * MIB + 2, b"end").unwrap();
    let snapshot = disk.snapshot("a").unwrap();
    let image = Image(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("image-{}", std::process::id())));
    fs::write(&image.0, noise(5 * MIB as usize, 2)).unwrap();
    let file = File::options().write(true).open(&image.0).unwrap();
    let cancelled = snapshot.copy_to_file(&file, &mut |_| ControlFlow::Break(()));
    assert_kind(cancelled, ErrorKind::Cancelled);
    let mut told = Vec::new();
    let data_bytes = snapshot.copy_to_file(&file, &mut |progress| {
        told.push(progress.done_bytes);
        ControlFlow::Continue(())
    });
    assert_eq!(data_bytes.unwrap(), 2 * MIB - 4096 + 5);
    assert!(told.is_sorted() && told.last() == Some(&(4 * MIB + 5)), "{told:?}");
    assert!(fs::read(&image.0).unwrap() == read(&snapshot, 0..4 * MIB + 5));
    let unwritable = File::open(&image.0).unwrap();
    assert_kind(snapshot.copy_to_file(&unwritable, &mut unwatched), ErrorKind::Io);
}
