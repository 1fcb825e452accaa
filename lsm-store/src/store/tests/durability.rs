//! What was flushed survives a power cut at the worst moment, and what was not vanishes from the end only.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;

use super::hooked::{Hook, HookedDevice};
use super::*;
use crate::device::sim::{CrashChoice, Fault, OperationKind, Trigger};
use crate::error::ErrorKind;

fn hooked(device: &SimDevice, hook: Hook) -> Environment {
    Environment { device: Arc::new(HookedDevice { below: device.clone(), hook }), ..environment(device) }
}

fn reopened(device: &SimDevice) -> Arc<Store> {
    Store::open(environment(device), options()).unwrap()
}

#[test]
fn a_batch_that_reaches_its_file_after_the_next_generation_was_synced_is_synced_by_the_next_flush() {
    const BATCH_BYTES: usize = 64 + 64 + 3 * BLOCK;
    let device = SimDevice::new(11, Faults::none());
    Store::create(&environment(&device), Settings::default()).unwrap();
    let (arrived, arrivals) = mpsc::channel();
    let (pass, passes) = mpsc::channel();
    let passes = Mutex::new(passes);
    let hook: Hook = Arc::new(move |path, len| {
        if path.starts_with("journal/") && len == BATCH_BYTES {
            arrived.send(()).unwrap();
            passes.lock().recv().unwrap();
        }
    });
    let store = Store::open(hooked(&device, hook), options()).unwrap();
    let volume = new_volume(&store, 1 << 20);
    let (before, late) = (pattern(1, BLOCK), pattern(2, 3 * BLOCK));
    write(&volume, 0, &before);
    std::thread::scope(|scope| {
        scope.spawn(|| write(&volume, BLOCK as u64, &late));
        arrivals.recv().unwrap();
        store.freeze().unwrap();
        volume.flush().unwrap();
        pass.send(()).unwrap();
    });
    volume.flush().unwrap();
    let store = reopened(&device.crash_image(&CrashChoice::Nothing));
    let volume = store.volume(volume.id()).unwrap();
    assert!(read(&volume, 0, BLOCK) == before);
    assert!(read(&volume, BLOCK as u64, late.len()) == late);
}

#[test]
fn the_device_begins_early_with_what_is_written_while_somebody_syncs() {
    let device = SimDevice::new(13, Faults::none());
    Store::create(&environment(&device), Settings::default()).unwrap();
    let begun = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&begun);
    let hook: Hook = Arc::new(move |path, len| {
        if path.starts_with("begin:journal/") {
            counted.fetch_add(len as u64, Ordering::Relaxed);
        }
    });
    let store = Store::open(hooked(&device, hook), Options { budget: Budget::divide(128 << 20), ..options() }).unwrap();
    let volume = new_volume(&store, 8 << 20);
    let write_some = |seed| (0..48).for_each(|at| write(&volume, at << 16, &pattern(seed + at, 1 << 16)));
    write_some(0);
    assert_eq!(begun.load(Ordering::Relaxed), 0, "nobody has synced");
    volume.flush().unwrap();
    write_some(100);
    let bytes = begun.load(Ordering::Relaxed);
    assert!(((2 << 20)..(4 << 20)).contains(&bytes), "{bytes} of 3 MiB");
}

#[test]
fn journal_files_are_filled_with_zeros_in_a_series_of_syncs_only() {
    // As long as nothing else that is written to the journal at once.
    const PIECE_BYTES: usize = 1 << 20;
    let device = SimDevice::new(14, Faults::none());
    Store::create(&environment(&device), Settings::default()).unwrap();
    let filled = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&filled);
    let hook: Hook = Arc::new(move |path, len| {
        if path.starts_with("journal/") && len == PIECE_BYTES {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let store = Store::open(hooked(&device, hook), Options { budget: Budget::divide(512 << 20), ..options() }).unwrap();
    let volume = new_volume(&store, 8 << 20);
    let settle = || while store.step().unwrap() {};
    let opening = filled.load(Ordering::Relaxed);
    write(&volume, 0, &pattern(1, 1 << 16));
    volume.flush().unwrap();
    settle();
    assert_eq!(filled.load(Ordering::Relaxed), opening, "one sync is no series");
    write(&volume, 0, &pattern(2, 1 << 16));
    volume.flush().unwrap();
    settle();
    // The other of the next two is short, and was filled when it was made.
    let pieces = store.inner.budget.generation_bytes / PIECE_BYTES as u64;
    assert_eq!(filled.load(Ordering::Relaxed), opening + pieces);
    let after = filled.load(Ordering::Relaxed);
    write(&volume, 0, &pattern(3, 1 << 16));
    volume.flush().unwrap();
    settle();
    assert_eq!(filled.load(Ordering::Relaxed), after, "they are filled once");
}

#[test]
fn nothing_is_placed_behind_a_mark_that_is_not_written() {
    const MARK_BYTES: usize = 64;
    let device = SimDevice::new(12, Faults::none());
    Store::create(&environment(&device), Settings::default()).unwrap();
    let opened: Arc<OnceLock<Arc<Store>>> = Arc::default();
    let marks = Arc::new(AtomicU64::new(0));
    let hook: Hook = {
        let (opened, marks) = (Arc::clone(&opened), Arc::clone(&marks));
        Arc::new(move |path, len| {
            if path.starts_with("journal/") && len == MARK_BYTES {
                let store = opened.get().expect("the store is open before it is idle");
                assert!(store.inner.front.try_lock().is_none(), "a batch could be placed behind the mark");
                marks.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let store = Store::open(hooked(&device, hook), options()).unwrap();
    assert!(opened.set(Arc::clone(&store)).is_ok());
    let volume = new_volume(&store, 1 << 20);
    write(&volume, 0, &pattern(1, BLOCK));
    volume.flush().unwrap();
    while store.step().unwrap() {}
    assert_eq!(marks.load(Ordering::Relaxed), 1);
}

#[test]
fn a_write_that_comes_while_the_store_is_closed_is_refused_or_kept() {
    let device = SimDevice::new(13, Faults::none());
    let store = new_store(&device);
    let id = new_volume(&store, 1 << 20).id();
    store.close().unwrap();
    let meanwhile: Arc<OnceLock<Volume>> = Arc::default();
    let is_done = Arc::new(AtomicBool::new(false));
    let data = pattern(3, BLOCK);
    let hook: Hook = {
        let (meanwhile, is_done, data) = (Arc::clone(&meanwhile), Arc::clone(&is_done), data.clone());
        Arc::new(move |path, _| {
            // While the flush job of the end commits, the last chance to be accepted.
            if let Some(volume) = meanwhile.get()
                && path.starts_with("manifest/")
                && !is_done.swap(true, Ordering::Relaxed)
            {
                write(volume, BLOCK as u64, &data);
            }
        })
    };
    drop(store);
    let store = Store::open(hooked(&device, hook), options()).unwrap();
    let volume = store.volume(id).unwrap();
    write(&volume, 0, &data);
    assert!(meanwhile.set(volume.clone()).is_ok());
    store.close().unwrap();
    assert!(is_done.load(Ordering::Relaxed));
    let again = reopened(&device.process_death());
    assert!(read(&again.volume(id).unwrap(), BLOCK as u64, BLOCK) == data);
    let refused = volume.write(&[Write { offset: 0, data: &data }]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
}

/// The process dies with a journal that is not synced. Its next opening has so little memory that it flushes while it
/// replays, and the power fails meanwhile, anywhere. Whatever is left is a prefix of the writes.
#[test]
fn a_power_cut_during_a_recovery_that_flushes_leaves_a_prefix() {
    const BLOCKS: u64 = 40;
    const WRITE_BLOCKS: u64 = 20;
    const WRITES: u64 = 18;
    let device = SimDevice::new(14, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    let id = volume.id();
    for number in 1..=WRITES {
        let data: Vec<u8> = (0..WRITE_BLOCKS).flat_map(|block| pattern(number * 100 + block, BLOCK)).collect();
        write(&volume, number * 7 % (BLOCKS - WRITE_BLOCKS) * BLOCK as u64, &data);
    }
    let expected = |writes: u64, block: u64| {
        let first = |number: u64| number * 7 % (BLOCKS - WRITE_BLOCKS);
        let newest = (1..=writes).rev().find(|number| (first(*number)..first(*number) + WRITE_BLOCKS).contains(&block));
        newest.map_or_else(|| vec![0; BLOCK], |number| pattern(number * 100 + block - first(number), BLOCK))
    };
    let dead = device.process_death();
    dead.record();
    let small = Options { budget: Budget::divide(1 << 20), ..options() };
    let recovered = Store::open(environment(&dead), small).unwrap();
    assert!(recovered.status().flush_jobs > 0, "the recovery flushed");
    let recording = dead.recording();
    for count in (0..=recording.len()).step_by(recording.len() / 40 + 1) {
        for (choice, image) in recording.states_at(count, count as u64, 5) {
            let store = Store::open(environment(&image), options());
            let store = store.unwrap_or_else(|error| panic!("after {count} operations, {choice:?}: {error}"));
            let volume = store.volume(id).unwrap();
            let found: Vec<_> = (0..BLOCKS).map(|block| read(&volume, block * BLOCK as u64, BLOCK)).collect();
            let is_prefix =
                (0..=WRITES).any(|writes| (0..BLOCKS).all(|block| found[block as usize] == expected(writes, block)));
            assert!(is_prefix, "after {count} operations, {choice:?}");
        }
    }
}

/// An opening wrote its manifest over a file that a copy of the superblock still named.
#[test]
fn a_power_cut_during_the_opening_after_an_opening_that_was_killed_leaves_a_store() {
    let device = SimDevice::new(17, Faults::none());
    new_store(&device).close().unwrap();
    device.record();
    drop(reopened(&device));
    let first = device.recording();
    for killed in 0..=first.len() {
        let dead = first.at(killed).process_death();
        dead.record();
        drop(reopened(&dead));
        let second = dead.recording();
        for count in (0..=second.len()).filter(|count| (count + killed) % 3 == 0) {
            for choice in [CrashChoice::Nothing, CrashChoice::RandomSectors((killed * 100 + count) as u64)] {
                let opened = Store::open(environment(&second.at(count).image(&choice)), options());
                assert!(opened.is_ok(), "{killed} {count} {choice:?}: {}", opened.err().unwrap());
            }
        }
    }
}

#[test]
fn a_view_tells_how_far_it_has_been_flushed() {
    let device = SimDevice::new(15, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    write(&volume, 0, &pattern(1, BLOCK));
    let before = store.inner.view();
    settle(&store);
    let after = store.inner.view();
    let last = store.inner.written.reached();
    assert!(before.flushed < last && after.flushed == last);
    assert_eq!(after.memtables().count(), 1);
}

#[test]
fn a_sync_that_fails_for_want_of_space_is_as_final_as_any_other() {
    let device = SimDevice::new(16, Faults::none());
    let store = new_store(&device);
    device.inject(Trigger::on(OperationKind::Sync).under("manifest/"), Fault::NoSpace);
    let record = || vec![Record { key: b"key".to_vec(), value: Some(b"value".to_vec()) }];
    assert_eq!(store.put_records(record()).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(store.put_records(record()).unwrap_err().kind(), ErrorKind::Poisoned);
}

#[test]
fn a_journal_file_whose_name_could_not_be_synced_stops_the_store() {
    let device = SimDevice::new(17, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    write(&volume, 0, &pattern(1, BLOCK));
    device.inject(Trigger::on(OperationKind::SyncDirectory).under("journal"), Fault::Io);
    assert_eq!(store.freeze().unwrap_err().kind(), ErrorKind::Poisoned);
    assert!(store.status().stopped.is_some());
}
