//! A full disk breaks nothing and leaves nothing behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;

use super::hooked::{Hook, HookedDevice};
use super::*;
use crate::device::sim::{CrashChoice, Fault, OperationKind, SimOptions, Trigger};
use crate::error::ErrorKind;

fn record(number: u8, len: usize) -> Vec<Record> {
    vec![Record { key: vec![number], value: Some(vec![number; len]) }]
}

#[test]
fn a_commit_is_made_although_there_is_no_room_for_the_checkpoint_that_is_due() {
    let device = SimDevice::new(21, Faults::none());
    let store = new_store(&device);
    device.inject(Trigger::on(OperationKind::Rename).under("manifest/").forever(), Fault::NoSpace);
    for number in 0..7 {
        store.put_records(record(number, 1 << 20)).unwrap();
    }
    device.clear_faults();
    store.put_records(record(7, 1)).unwrap();
    let records = store.records();
    assert_eq!(records.len(), 8);
    drop(store);
    let store = Store::open(environment(&device.process_death()), options()).unwrap();
    assert!(store.records() == records);
}

#[test]
fn a_superblock_that_may_be_written_in_part_stops_the_store() {
    let device = SimDevice::new(22, Faults::none());
    let store = new_store(&device);
    device.inject(Trigger::on(OperationKind::Write).under("superblock"), Fault::NoSpace);
    let failed = (0..7).find_map(|number| store.put_records(record(number, 1 << 20)).err());
    assert_eq!(failed.unwrap().kind(), ErrorKind::Poisoned);
}

#[test]
fn a_flush_job_that_finds_no_room_leaves_no_file() {
    let faults =
        [(OperationKind::SetLen, "segments/"), (OperationKind::Write, "runs/"), (OperationKind::Write, "manifest/")];
    for (kind, path) in faults {
        let device = SimDevice::new(23, Faults::none());
        let store = new_store(&device);
        let volume = new_volume(&store, 1 << 20);
        let data = pattern(1, 8 * BLOCK);
        write(&volume, 0, &data);
        store.freeze().unwrap();
        device.inject(Trigger::on(kind).under(path), Fault::NoSpace);
        assert_eq!(store.step().unwrap_err().kind(), ErrorKind::OutOfSpace, "{path}");
        assert!(device.list("segments").unwrap().is_empty(), "{path}");
        assert!(device.list("runs").unwrap().is_empty(), "{path}");
        while store.step().unwrap() {}
        assert_eq!(store.status().segment_count, 1, "{path}");
        assert!(read(&volume, 0, data.len()) == data, "{path}");
    }
}

/// It stopped the store for good.
#[test]
fn a_store_that_runs_out_of_descriptors_goes_on_when_there_are_some() {
    for path in ["segments/", "runs/"] {
        let device = SimDevice::new(38, Faults::none());
        let store = new_store(&device);
        let volume = new_volume(&store, 1 << 20);
        let data = pattern(1, 8 * BLOCK);
        for piece in 0..4 {
            write(&volume, (2 * piece * BLOCK) as u64, &data[2 * piece * BLOCK..][..2 * BLOCK]);
            store.freeze().unwrap();
            device.inject(Trigger::on(OperationKind::Create).under(path), Fault::NoDescriptor);
            assert_eq!(store.inner.flush_oldest().unwrap_err().kind(), ErrorKind::Io, "{path}");
            assert_eq!(device.list("segments").unwrap().len(), piece, "{path}");
            assert_eq!(device.list("runs").unwrap().len(), piece, "{path}");
            assert!(store.inner.flush_oldest().unwrap(), "{path}");
        }
        let device = device.process_death();
        let store = Store::open(environment(&device), options()).unwrap();
        for kind in [OperationKind::Open, OperationKind::Create] {
            device.inject(Trigger::on(kind).under("runs/"), Fault::NoDescriptor);
            assert_eq!(store.inner.compact_once().unwrap_err().kind(), ErrorKind::Io, "{kind:?}");
        }
        assert!(store.inner.compact_once().unwrap() && store.status().merges == 1);
        assert!(read(&store.volume(volume.id()).unwrap(), 0, data.len()) == data, "{path}");
        store.close().unwrap();
    }
}

#[test]
fn a_journal_that_finds_no_descriptor_goes_on_when_there_is_one() {
    let device = SimDevice::new(39, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    let data = pattern(1, 8 * BLOCK);
    device.inject(Trigger::on(OperationKind::Create).under("journal/").forever(), Fault::NoDescriptor);
    let failed = (0..8).find_map(|piece| {
        write(&volume, (piece * BLOCK) as u64, &data[piece * BLOCK..][..BLOCK]);
        store.freeze().err()
    });
    assert_eq!(failed.unwrap().kind(), ErrorKind::Io);
    device.clear_faults();
    write(&volume, 0, &data);
    settle(&store);
    assert!(read(&volume, 0, data.len()) == data);
    store.close().unwrap();
}

#[test]
fn a_commit_is_made_although_there_is_no_descriptor_for_the_checkpoint_that_is_due() {
    for path in ["manifest/", "superblock"] {
        let device = SimDevice::new(40, Faults::none());
        let store = new_store(&device);
        device.inject(Trigger::on(OperationKind::Open).under(path).forever(), Fault::NoDescriptor);
        for number in 0..7 {
            store.put_records(record(number, 1 << 20)).unwrap();
        }
        device.clear_faults();
        store.put_records(record(7, 1)).unwrap();
        let records = store.records();
        assert_eq!(records.len(), 8);
        drop(store);
        let store = Store::open(environment(&device.process_death()), options()).unwrap();
        assert!(store.records() == records);
    }
}

#[test]
fn upkeep_goes_on_while_there_is_no_room_for_journal_files() {
    let device = SimDevice::new(24, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    write(&volume, 0, &pattern(1, BLOCK));
    volume.flush().unwrap();
    device.inject(Trigger::on(OperationKind::Create).under("journal/").forever(), Fault::NoSpace);
    assert!(store.step().unwrap(), "the mark is written");
    assert_eq!(store.step().unwrap_err().kind(), ErrorKind::OutOfSpace);
}

#[test]
fn a_store_whose_capacity_is_all_of_the_disk_opens_after_a_crash() {
    const DISK_BYTES: u64 = 1 << 30;
    let device = SimDevice::with_options(SimOptions { capacity_bytes: Some(DISK_BYTES), ..SimOptions::new(25) });
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    store.set_capacity(Some(256 << 20)).unwrap();
    let data = pattern(1, 8 * BLOCK);
    write(&volume, 0, &data);
    volume.flush().unwrap();
    device.set_capacity(Some(DISK_BYTES - device.space().unwrap().available_bytes));
    let store = Store::open(environment(&device.process_death()), options()).unwrap();
    assert!(read(&store.volume(volume.id()).unwrap(), 0, data.len()) == data);
}

#[test]
fn a_store_open_for_reading_has_no_work_to_do() {
    let device = SimDevice::new(26, Faults::none());
    new_store(&device).close().unwrap();
    let read_only = Options { read_only: true, ..options() };
    let store = Store::open(environment(&device.read_only()), read_only).unwrap();
    assert!(!store.step().unwrap());
}

/// Others take all the room there is.
fn fill_up(device: &SimDevice) {
    let space = device.space().unwrap();
    device.set_capacity(Some(space.total_bytes - space.available_bytes));
}

fn used_bytes(device: &SimDevice) -> u64 {
    let space = device.space().unwrap();
    space.total_bytes - space.available_bytes
}

/// Opening took room for a manifest and a copy of the journal from the file system, and failed if there was none.
#[test]
fn a_store_opens_on_a_disk_that_others_have_filled_as_often_as_one_likes() {
    let device = SimDevice::new(27, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    let data = pattern(1, 40 * BLOCK);
    while store.step().unwrap() {}
    write(&volume, 0, &data);
    volume.flush().unwrap();
    let id = volume.id();
    drop((volume, store));
    let mut device = device.process_death();
    fill_up(&device);
    for round in 0..6 {
        let store = Store::open(environment(&device), options()).unwrap();
        let volume = store.volume(id).unwrap();
        assert!(read(&volume, 0, data.len()) == data, "round {round}");
        volume.flush().unwrap();
        store.put_records(record(round, 1)).unwrap();
        let written = volume.write(&[Write { offset: 0, data: &data[..BLOCK] }]);
        assert_eq!(written.unwrap_err().kind(), ErrorKind::OutOfSpace);
        match round % 3 {
            0 => store.close().unwrap(),
            1 => device = device.crash_image(&CrashChoice::Nothing),
            _ => device = device.process_death(),
        }
        drop((volume, store));
    }
    let store = Store::open(environment(&device), options()).unwrap();
    device.set_capacity(None);
    let volume = store.volume(id).unwrap();
    write(&volume, 0, &data);
    volume.flush().unwrap();
    settle(&store);
    assert!(read(&volume, 0, data.len()) == data);
}

/// Files of another length than new ones would have are used where there is no room for those.
#[test]
fn a_store_opens_on_a_full_disk_with_another_memory_budget() {
    for (before, after) in [(48 << 20, 128 << 20), (128 << 20, 48 << 20)] {
        let device = SimDevice::new(28, Faults::none());
        Store::create(&environment(&device), Settings::default()).unwrap();
        let open = |device: &SimDevice, memory| {
            Store::open(environment(device), Options { budget: Budget::divide(memory), ..options() })
        };
        let store = open(&device, before).unwrap();
        let volume = new_volume(&store, 8 << 20);
        while store.step().unwrap() {}
        let data = pattern(2, 40 * BLOCK);
        write(&volume, 0, &data);
        volume.flush().unwrap();
        let id = volume.id();
        drop((volume, store));
        let device = device.process_death();
        fill_up(&device);
        let store = open(&device, after).unwrap();
        assert!(read(&store.volume(id).unwrap(), 0, data.len()) == data);
        device.set_capacity(None);
        store.close().unwrap();
    }
}

/// The sum was what the capacity lacked of the manifest, and after a clean stop of the journal too.
#[test]
fn a_store_with_a_capacity_takes_exactly_that_while_it_runs_and_while_it_is_stopped() {
    const CAPACITY: u64 = 256 << 20;
    let device = SimDevice::new(29, Faults::none());
    Store::create(&environment(&device), Settings { capacity_bytes: Some(CAPACITY) }).unwrap();
    for _ in 0..2 {
        let store = Store::open(environment(&device), options()).unwrap();
        let volume = new_volume(&store, 1 << 20);
        write(&volume, 0, &pattern(1, 40 * BLOCK));
        settle(&store);
        assert_eq!(used_bytes(&device), CAPACITY);
        store.put_records(vec![Record { key: vec![1], value: Some(vec![1; 3 << 20]) }]).unwrap();
        store.close().unwrap();
        assert_eq!(used_bytes(&device), CAPACITY);
    }
    let store = Store::open(environment(&device), options()).unwrap();
    while store.step().unwrap() {}
    drop(store);
    assert_eq!(used_bytes(&device), CAPACITY);
}

/// What is promised of room is what is lent to others, who write much later and all at once.
#[test]
fn writes_within_the_room_there_is_said_to_be_are_never_refused() {
    for (seed, len) in [(31, BLOCK), (32, 17 * BLOCK), (33, 512), (34, 1 << 20)] {
        let device = SimDevice::new(seed, Faults::none());
        let store = new_store(&device);
        let volume = new_volume(&store, 1 << 30);
        while store.step().unwrap() {}
        device.set_capacity(Some(used_bytes(&device) + ((64 + 16 + 8 + 40) << 20)));
        let (mut room, mut written) = (store.room_to_write(None, 0).unwrap(), 0);
        assert!(room > 8 << 20, "{room} bytes of room");
        while let Some(left) = room.checked_sub(room_of_write(written, len as u64)) {
            volume.write(&[Write { offset: written, data: &pattern(written, len) }]).unwrap();
            (room, written) = (left, written + len as u64);
        }
        settle(&store);
        // The price of the promise is no more than what buffers waste: half of what could have been written.
        let stored = used_bytes(&device);
        assert!(written > 2 << 20 || len < BLOCK, "{written} bytes written, {stored} used");
        store.close().unwrap();
    }
}

/// Both were told of the room that was there for one.
#[test]
fn two_writes_at_once_are_not_given_the_same_room() {
    const LEN: usize = 16 * BLOCK;
    const STEP: u64 = 16 << 10;
    let device = SimDevice::new(36, Faults::none());
    Store::create(&environment(&device), Settings::default()).unwrap();
    let is_armed = Arc::new(AtomicBool::new(false));
    let (asked, asks) = mpsc::channel();
    let (second_done, done) = mpsc::channel();
    let (armed, done) = (Arc::clone(&is_armed), Mutex::new(done));
    let hook: Hook = Arc::new(move |path, _| {
        if path == "space" && armed.swap(false, Ordering::Relaxed) {
            asked.send(()).unwrap();
            let _ = done.lock().recv_timeout(Duration::from_millis(500));
        }
    });
    let hooked = Environment { device: Arc::new(HookedDevice { below: device.clone(), hook }), ..environment(&device) };
    let store = Store::open(hooked, options()).unwrap();
    let volume = new_volume(&store, 1 << 30);
    while store.step().unwrap() {}
    let mut at = 0;
    let mut write_next = || {
        at += LEN as u64;
        volume.write(&[Write { offset: at, data: &pattern(at, LEN) }]).is_ok()
    };
    // What one write takes, by how much more room lets another one in.
    let mut capacity = used_bytes(&device) + (88 << 20);
    let steps = [(); 3].map(|()| {
        let before = capacity;
        loop {
            device.set_capacity(Some(capacity));
            store.inner.space.forget_grant();
            if write_next() {
                break (capacity - before) / STEP;
            }
            capacity += STEP;
        }
    });
    assert!(steps[1].abs_diff(steps[2]) <= 1 && steps[2] > 4, "{steps:?}");
    device.set_capacity(Some(capacity + (steps[2] + 2) * STEP));
    is_armed.store(true, Ordering::Relaxed);
    let write_at = |offset: u64| volume.write(&[Write { offset, data: &pattern(offset, LEN) }]).is_ok();
    let accepted = std::thread::scope(|scope| {
        let first = scope.spawn(|| write_at(512 << 20));
        asks.recv().unwrap();
        let second = scope.spawn(|| {
            let is_accepted = write_at(513 << 20);
            second_done.send(()).unwrap();
            is_accepted
        });
        [first.join().unwrap(), second.join().unwrap()]
    });
    assert_eq!(accepted, [true, false]);
}

/// Trims held memory without end.
#[test]
fn trims_wait_for_memory_while_flush_jobs_give_it_back_and_for_nothing_on_a_full_disk() {
    let device = SimDevice::new(37, Faults::none());
    Store::create(&environment(&device), Settings::default()).unwrap();
    let store = Store::open(environment(&device), Options { budget: Budget::divide(1 << 20), ..options() }).unwrap();
    let volume = new_volume(&store, VOLUME_BYTES_MAX);
    let limit = store.inner.pace.limit();
    let trims = limit / crate::memtable::ENTRY_BYTES as u64;
    let mut at = 0;
    let mut trim = || {
        at += 2 * BLOCK as u64;
        volume.zero(at, BLOCK as u64, Zeroing::Hole).unwrap();
    };
    for _ in 0..3 * trims {
        trim();
        assert!(store.inner.pace.held() <= limit);
    }
    assert!(store.status().flush_jobs > 1);
    fill_up(&device);
    while store.inner.pace.held() <= limit {
        trim();
    }
}

#[test]
fn what_others_take_of_the_same_disk_leaves_less_room_unless_it_is_allocated_ahead() {
    let device = SimDevice::with_options(SimOptions { capacity_bytes: Some(1 << 30), ..SimOptions::new(35) });
    let store = new_store(&device);
    let (alone, beside) = (store.room_to_write(None, 0).unwrap(), store.room_to_write(None, 64).unwrap());
    assert!(alone / 3 < beside && beside < alone / 4 * 3, "{alone} bytes alone, {beside} beside others");
    store.set_capacity(Some(256 << 20)).unwrap();
    let held = store.room_to_write(None, 0).unwrap();
    assert_eq!(held, store.room_to_write(None, 64).unwrap());
    assert!(held > 0 && held < alone);
    fill_up(&device);
    assert_eq!(held, store.room_to_write(None, 0).unwrap(), "it is allocated ahead");
}

/// Each verb that has to go on, on a disk that is full of what the store itself wrote.
#[test]
fn a_full_store_reads_flushes_trims_deletes_collects_and_starts_again_and_then_takes_writes_by_itself() {
    let device = SimDevice::new(30, Faults::none());
    let store = new_store(&device);
    let (volume, other) = (new_volume(&store, 256 << 20), new_volume(&store, 256 << 20));
    while store.step().unwrap() {}
    device.set_capacity(Some(used_bytes(&device) + ((64 + 16 + 8 + 32) << 20)));
    const PIECE: usize = 64 * BLOCK;
    let refused = |volume: &Volume, offset: u64, data: &[u8]| match volume.write(&[Write { offset, data }]) {
        Ok(()) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::OutOfSpace);
            true
        }
    };
    // Turn by turn, so that no segment is of one volume alone.
    let mut pieces = 0;
    while !refused(&volume, pieces * PIECE as u64, &pattern(2 * pieces, PIECE))
        && !refused(&other, pieces * PIECE as u64, &pattern(2 * pieces + 1, PIECE))
    {
        pieces += 1;
    }
    assert!(pieces > 10, "{pieces} pieces fit");
    let (id, gone) = (volume.id(), other.id());
    let holds = |volume: &Volume, pieces: std::ops::Range<u64>| {
        for piece in pieces {
            assert!(read(volume, piece * PIECE as u64, PIECE) == pattern(2 * piece, PIECE), "piece {piece}");
        }
    };
    holds(&volume, 0..pieces);
    volume.flush().unwrap();
    volume.zero(0, 2 * PIECE as u64, Zeroing::Hole).unwrap();
    store.collect(true).unwrap();
    holds(&volume, 2..pieces);
    drop((volume, other, store));
    let device = device.process_death();
    let store = Store::open(environment(&device), options()).unwrap();
    let volume = store.volume(id).unwrap();
    holds(&volume, 2..pieces);
    store.delete_volume(gone, Vec::new()).unwrap();
    let report = store.collect(true).unwrap();
    assert!(report.bytes_reclaimed > report.bytes_relocated, "{report:?}");
    holds(&volume, 2..pieces);
    for piece in 0..2 {
        assert!(!refused(&volume, piece * PIECE as u64, &pattern(2 * piece, PIECE)), "there is room again");
    }
    settle(&store);
    holds(&volume, 0..pieces);
    store.close().unwrap();
}
