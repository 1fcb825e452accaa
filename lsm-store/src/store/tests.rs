use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::device::sim::{Fault, Faults, OperationKind, SimDevice, Trigger};
use crate::request::{BlockState, Write};
use crate::rng::SeededRng;

const BLOCK: usize = BLOCK_BYTES;

fn environment(device: &SimDevice) -> Environment {
    Environment {
        device: Arc::new(device.clone()),
        clock: Arc::new(SystemClock::new()),
        rng: Arc::new(SeededRng::new(7)),
    }
}

fn options() -> Options {
    Options { budget: Budget::divide(8 << 20), background: BackgroundMode::Manual, read_only: false }
}

fn new_store(device: &SimDevice) -> Arc<Store> {
    Store::create(&environment(device), Settings::default()).unwrap();
    Store::open(environment(device), options()).unwrap()
}

fn new_volume(store: &Store, size_bytes: u64) -> Volume {
    let spec = VolumeSpec { size_bytes, codec: Codec::default() };
    let id = store.create_volume(spec, |_| Vec::new()).unwrap();
    store.volume(id).unwrap()
}

fn read(volume: &Volume, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    volume.read(offset, len).unwrap().copy_to(&mut bytes);
    bytes
}

fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRng::new(seed).fill(&mut bytes);
    bytes
}

fn write(volume: &Volume, offset: u64, data: &[u8]) {
    volume.write(&[Write { offset, data }]).unwrap();
}

fn settle(store: &Store) {
    store.freeze().unwrap();
    while store.step().unwrap() {}
}

#[test]
fn what_is_written_is_read_from_memory_and_from_segments() {
    let device = SimDevice::new(1, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 64 << 20);
    let data = pattern(1, 3 * BLOCK + 100);
    write(&volume, 5 * BLOCK as u64 + 7, &data);
    assert_eq!(read(&volume, 5 * BLOCK as u64 + 7, data.len()), data);
    settle(&store);
    assert_eq!(read(&volume, 5 * BLOCK as u64 + 7, data.len()), data);
    assert_eq!(read(&volume, 5 * BLOCK as u64, 7), [0; 7]);
    assert_eq!(store.status().segment_count, 1);
}

#[test]
fn a_store_opened_again_holds_what_was_written_with_and_without_a_clean_end() {
    for clean in [true, false] {
        let device = SimDevice::new(2, Faults::none());
        let store = new_store(&device);
        let volume = new_volume(&store, 64 << 20);
        let data = pattern(2, 40 * BLOCK);
        write(&volume, 0, &data);
        settle(&store);
        write(&volume, 10 * BLOCK as u64, &data[..BLOCK]);
        volume.flush().unwrap();
        let id = volume.id();
        if clean {
            store.close().unwrap();
        }
        drop(store);
        let store = Store::open(environment(&device.process_death()), options()).unwrap();
        let volume = store.volume(id).unwrap();
        let mut expected = data.clone();
        expected.copy_within(..BLOCK, 10 * BLOCK);
        assert!(read(&volume, 0, expected.len()) == expected, "clean: {clean}");
    }
}

#[test]
fn equal_blocks_of_two_volumes_are_stored_once() {
    let device = SimDevice::new(3, Faults::none());
    let store = new_store(&device);
    let (one, two) = (new_volume(&store, 1 << 20), new_volume(&store, 1 << 20));
    let data = pattern(3, 64 * BLOCK);
    write(&one, 0, &data);
    settle(&store);
    write(&two, 0, &data);
    settle(&store);
    let status = store.status();
    assert_eq!((status.blocks_stored, status.blocks_shared), (64, 64));
    assert!(read(&two, 0, data.len()) == data);
}

#[test]
fn what_an_earlier_opening_stored_is_found_by_the_first_flush_job() {
    let device = SimDevice::new(3, Faults::none());
    let store = new_store(&device);
    let (one, two) = (new_volume(&store, 1 << 20), new_volume(&store, 1 << 20));
    let data = pattern(3, 64 * BLOCK);
    write(&one, 0, &data);
    store.close().unwrap();
    let store = Store::open(environment(&device), options()).unwrap();
    write(&store.volume(two.id()).unwrap(), 0, &data);
    store.close().unwrap();
    assert_eq!((store.status().blocks_stored, store.status().blocks_shared), (0, 64));
}

#[test]
fn zeroing_hides_what_lies_below_and_is_told_apart() {
    let device = SimDevice::new(4, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, VOLUME_BYTES_MAX);
    write(&volume, 0, &pattern(4, 8 * BLOCK));
    settle(&store);
    volume.zero(2 * BLOCK as u64, 2 * BLOCK as u64, Zeroing::Hole).unwrap();
    volume.zero(4 * BLOCK as u64, 2 * BLOCK as u64, Zeroing::Allocated).unwrap();
    for _ in 0..2 {
        assert!(read(&volume, 2 * BLOCK as u64, 4 * BLOCK).iter().all(|byte| *byte == 0));
        let states: Vec<_> =
            volume.block_status(0, 1 << 30, 16).unwrap().into_iter().map(|extent| (extent.len, extent.state)).collect();
        let block = BLOCK as u64;
        let expected = [
            (2 * block, BlockState::Data),
            (2 * block, BlockState::Hole),
            (2 * block, BlockState::Zero),
            (2 * block, BlockState::Data),
            ((1 << 30) - 8 * block, BlockState::Hole),
        ];
        assert_eq!(states, expected);
        settle(&store);
    }
    volume.zero(0, VOLUME_BYTES_MAX, Zeroing::Hole).unwrap();
    settle(&store);
    assert!(read(&volume, 0, 8 * BLOCK).iter().all(|byte| *byte == 0));
}

#[test]
fn a_check_of_a_good_store_finds_nothing_and_of_a_damaged_one_names_the_volume() {
    let device = SimDevice::new(5, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 64 << 20);
    write(&volume, 0, &pattern(5, 100 * BLOCK));
    store.close().unwrap();
    let report = Store::check(&environment(&device), &mut |_, _| {}).unwrap();
    assert_eq!((report.damages.len(), report.blocks_good), (0, 100));
    let segment = device.list("segments").unwrap().remove(0);
    device.flip_bit(&format!("segments/{segment}"), 20_000, 3).unwrap();
    let report = Store::check(&environment(&device), &mut |_, _| {}).unwrap();
    assert_eq!(report.damages.len(), 1);
    assert_eq!(report.damages[0].volumes, [volume.id()]);
}

#[test]
fn what_was_prefetched_is_read_from_memory() {
    let device = SimDevice::new(9, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 64 << 20);
    write(&volume, 0, &pattern(9, 100 * BLOCK));
    settle(&store);
    let id = volume.id();
    drop((volume, store));

    let store = Store::open(environment(&device), options()).unwrap();
    let volume = store.volume(id).unwrap();
    let cached = || store.status().memory.block_cache_bytes / BLOCK as u64;
    read(&volume, 0, 100 * BLOCK);
    assert_eq!(cached(), 0, "a stream is not cached");
    volume.prefetch(3 * BLOCK as u64 + 5, 50 * BLOCK as u64).unwrap();
    assert!((51..60).contains(&cached()), "{} blocks", cached());
    // A whole volume is no more than its beginning.
    volume.prefetch(0, 64 << 20).unwrap();
    assert!((100..110).contains(&cached()), "{} blocks", cached());
    assert_eq!(volume.prefetch(64 << 20, 1).unwrap_err().kind(), crate::ErrorKind::Invalid);
}

#[test]
fn memory_that_is_lent_is_not_in_the_cache() {
    let device = SimDevice::new(10, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 64 << 20);
    write(&volume, 0, &pattern(10, 400 * BLOCK));
    settle(&store);
    let cached = || store.status().memory.block_cache_bytes;
    volume.prefetch(0, 400 * BLOCK as u64).unwrap();
    let (all, share) = (store.budget().block_cache_bytes, 1 << 20);
    assert!(cached() > share);
    store.lend_memory(all - share);
    assert!(cached() <= share, "{} bytes", cached());
    volume.prefetch(0, 400 * BLOCK as u64).unwrap();
    assert!(cached() <= share, "{} bytes", cached());
    store.lend_memory(0);
    volume.prefetch(0, 400 * BLOCK as u64).unwrap();
    assert!(cached() > share);
}

#[test]
fn a_check_names_the_volumes_of_a_segment_that_is_gone() {
    let device = SimDevice::new(6, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 64 << 20);
    write(&volume, 0, &pattern(6, 10 * BLOCK));
    store.close().unwrap();
    let segment = device.list("segments").unwrap().remove(0);
    device.remove(&format!("segments/{segment}")).unwrap();
    let report = Store::check(&environment(&device), &mut |_, _| {}).unwrap();
    assert_eq!(report.damages.len(), 1);
    assert_eq!(report.damages[0].volumes, [volume.id()]);
}

/// One bad sector stopped the store, and again after each start, because merges are what reads runs first.
#[test]
fn a_run_that_cannot_be_read_ends_merges_and_nothing_else() {
    for kind in [OperationKind::Read, OperationKind::Open] {
        let device = SimDevice::new(33, Faults::none());
        let store = new_store(&device);
        let volume = new_volume(&store, 1 << 20);
        let data = pattern(33, 4 * BLOCK);
        for piece in 0..4 {
            write(&volume, (piece * BLOCK) as u64, &data[piece * BLOCK..][..BLOCK]);
            store.freeze().unwrap();
            assert!(store.inner.flush_oldest().unwrap());
        }
        let device = device.process_death();
        let store = Store::open(environment(&device), options()).unwrap();
        device.inject(Trigger::on(kind).under("runs/").forever(), Fault::Io);
        while store.step().unwrap() {}
        assert_eq!(store.status().merges, 0, "{kind:?}");
        let volume = store.volume(volume.id()).unwrap();
        assert!(volume.read(0, BLOCK).is_err(), "{kind:?}");
        write(&volume, 0, &data[BLOCK..2 * BLOCK]);
        settle(&store);
        device.clear_faults();
        let store = Store::open(environment(&device.process_death()), options()).unwrap();
        while store.step().unwrap() {}
        assert!(store.status().merges > 0, "{kind:?}");
        let expected = [&data[BLOCK..2 * BLOCK], &data[BLOCK..]].concat();
        assert!(read(&store.volume(volume.id()).unwrap(), 0, data.len()) == expected, "{kind:?}");
    }
}

mod collect;
mod decode;
mod durability;
mod fingerprints;
mod frames;
mod hooked;
mod limits;
mod restore;
mod scrub;
mod shortage;
mod snapshots;

/// Flips a bit of the manifest's last commit.
fn damage_last_commit(device: &SimDevice) {
    let name = device.list("manifest").unwrap().pop().unwrap();
    let path = format!("manifest/{name}");
    let file = device.open(&path, crate::device::Access::Buffered).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let last = (0..bytes.len()).rev().find(|at| bytes[*at..].starts_with(b"SMAN")).unwrap();
    device.flip_bit(&path, last as u64 + 40, 0).unwrap();
}

#[test]
fn a_lost_commit_is_noticed_after_a_crash_and_nothing_is_changed() {
    let device = SimDevice::new(7, Faults::none());
    let store = new_store(&device);
    new_volume(&store, 1 << 20);
    let volume = new_volume(&store, 1 << 20);
    write(&volume, 0, &pattern(7, BLOCK));
    volume.flush().unwrap();
    let dead = device.process_death();
    damage_last_commit(&dead);
    let before = dead.operation_count_of(OperationKind::Write);
    let refused = Store::open(environment(&dead), options()).err().expect("a volume is missing");
    assert_eq!(refused.kind(), crate::ErrorKind::Corrupt);
    assert_eq!(dead.operation_count_of(OperationKind::Write), before);
    assert!(!Store::check(&environment(&dead), &mut |_, _| {}).unwrap().damages.is_empty());
}

/// Names like these were taken for those of a generation and of a manifest file, which were not there.
#[test]
fn files_that_are_not_the_stores_do_not_keep_it_shut() {
    let device = SimDevice::new(34, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    write(&volume, 0, &pattern(34, BLOCK));
    for path in ["journal/feed", "journal/+000000000000000", "manifest/feed"] {
        device.create(path, crate::device::Access::Buffered).unwrap();
    }
    let device = device.process_death();
    let store = Store::open(environment(&device), options()).unwrap();
    assert!(read(&store.volume(volume.id()).unwrap(), 0, BLOCK) == pattern(34, BLOCK));
    store.close().unwrap();
    assert!(device.paths().iter().any(|path| path == "journal/feed"), "it is left alone");
}

#[test]
fn a_lost_commit_is_noticed_after_a_clean_end() {
    let device = SimDevice::new(8, Faults::none());
    let store = new_store(&device);
    new_volume(&store, 1 << 20);
    store.close().unwrap();
    damage_last_commit(&device);
    let refused = Store::open(environment(&device), options()).err().expect("commits are missing");
    assert_eq!(refused.kind(), crate::ErrorKind::Corrupt);
}

#[test]
fn what_a_shrink_cut_off_is_gone_when_the_volume_grows_again() {
    let device = SimDevice::new(9, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 64 * BLOCK as u64);
    write(&volume, 0, &pattern(9, 64 * BLOCK));
    store.resize_volume(volume.id(), 10 * BLOCK as u64 + 5).unwrap();
    store.resize_volume(volume.id(), 64 * BLOCK as u64).unwrap();
    let mut expected = pattern(9, 64 * BLOCK);
    expected[10 * BLOCK + 5..].fill(0);
    for _ in 0..2 {
        assert!(read(&volume, 0, 64 * BLOCK) == expected);
        settle(&store);
    }
}

/// All of the journal went into memory, whatever the budget.
#[test]
fn a_store_opened_for_reading_keeps_within_its_budget_or_says_what_to_do() {
    let device = SimDevice::new(31, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 20);
    let data = pattern(1, 40 * BLOCK);
    for _ in 0..8 {
        write(&volume, 0, &data);
    }
    let read_only = |device: &SimDevice| {
        let options = Options { budget: Budget::divide(1 << 20), read_only: true, ..options() };
        Store::open(environment(&device.read_only()), options)
    };
    let dead = device.process_death();
    let reader = read_only(&dead).unwrap();
    assert!(read(&reader.volume(volume.id()).unwrap(), 0, data.len()) == data, "what was overwritten takes nothing");
    drop(reader);
    write(&volume, data.len() as u64, &pattern(2, 40 * BLOCK));
    let dead = device.process_death();
    let refused = read_only(&dead).err().unwrap();
    assert_eq!(refused.kind(), crate::ErrorKind::Invalid);
    assert!(refused.to_string().contains("silt serve"));
    Store::open(environment(&dead), options()).unwrap().close().unwrap();
    assert_eq!(read(&read_only(&dead).unwrap().volume(volume.id()).unwrap(), 0, BLOCK), data[..BLOCK]);
}

/// Memtables were asked block by block, and so for a quarter of a million blocks at most.
#[test]
fn block_status_of_a_huge_volume_with_a_little_in_memory_is_answered_in_one_call() {
    let device = SimDevice::new(32, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, VOLUME_BYTES_MAX / 64);
    let far = VOLUME_BYTES_MAX / 128;
    write(&volume, far, &pattern(1, BLOCK));
    store.freeze().unwrap();
    write(&volume, far + BLOCK as u64, &pattern(2, BLOCK));
    let states: Vec<_> = volume.block_status(0, VOLUME_BYTES_MAX / 64, 16).unwrap();
    let states: Vec<_> = states.into_iter().map(|extent| (extent.len, extent.state)).collect();
    let block = BLOCK as u64;
    let rest = VOLUME_BYTES_MAX / 64 - far - 2 * block;
    assert_eq!(states, [(far, BlockState::Hole), (2 * block, BlockState::Data), (rest, BlockState::Hole)]);
}
