//! Collection gives room back and changes no byte, whatever happens meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::codec::ZstdLevel;
use crate::device::sim::SimOptions;
use crate::id::Slot;
use crate::map::Target;

mod cold;
mod failures;
mod lazy;
mod meanwhile;

/// Volumes, and what each should hold.
struct World {
    device: SimDevice,
    store: Arc<Store>,
    rng: SeededRng,
    expected: BTreeMap<VolumeId, Vec<u8>>,
}

const VOLUME_BLOCKS: usize = 300;

/// Blocks that compress to about a half, and of which some are equal.
fn content(rng: &SeededRng, blocks: usize) -> Vec<u8> {
    let block = |_| {
        let mut block = pattern(rng.below(5000), BLOCK / 2);
        block.resize(BLOCK, 7);
        block
    };
    (0..blocks).flat_map(block).collect()
}

impl World {
    fn new(seed: u64) -> Self {
        let device = SimDevice::new(seed, Faults::none());
        let store = new_store(&device);
        Self { device, store, rng: SeededRng::new(seed), expected: BTreeMap::new() }
    }

    fn create(&mut self, codec: Codec) -> VolumeId {
        let size_bytes = (VOLUME_BLOCKS * BLOCK) as u64;
        let id = self.store.create_volume(VolumeSpec { size_bytes, codec }, |_| Vec::new()).unwrap();
        self.expected.insert(id, vec![0; size_bytes as usize]);
        id
    }

    fn write(&mut self, id: VolumeId, first: usize, blocks: usize) {
        let data = content(&self.rng, blocks);
        write(&self.store.volume(id).unwrap(), (first * BLOCK) as u64, &data);
        self.expected.get_mut(&id).unwrap()[first * BLOCK..][..data.len()].copy_from_slice(&data);
    }

    fn fill(&mut self, id: VolumeId) {
        self.write(id, 0, VOLUME_BLOCKS);
    }

    /// Writes and trims here and there, some of it flushed on the way.
    fn overwrite(&mut self, id: VolumeId) {
        for _ in 0..40 {
            let (first, blocks) = (self.rng.below(290) as usize, 1 + self.rng.below(9) as usize);
            match self.rng.below(8) {
                0 => {
                    let volume = self.store.volume(id).unwrap();
                    volume.zero((first * BLOCK) as u64, (blocks * BLOCK) as u64, Zeroing::Hole).unwrap();
                    self.expected.get_mut(&id).unwrap()[first * BLOCK..][..blocks * BLOCK].fill(0);
                }
                1 => settle(&self.store),
                _ => self.write(id, first, blocks),
            }
        }
        settle(&self.store);
    }

    fn delete(&mut self, id: VolumeId) {
        self.store.delete_volume(id, Vec::new()).unwrap();
        self.expected.remove(&id);
    }

    fn assert_holds(&self, store: &Store, why: &str) {
        for (id, expected) in &self.expected {
            let found = read(&store.volume(*id).unwrap(), 0, expected.len());
            let wrong = (0..VOLUME_BLOCKS).find(|at| found[at * BLOCK..][..BLOCK] != expected[at * BLOCK..][..BLOCK]);
            assert_eq!(wrong, None, "{id:?}, {why}");
        }
        assert_marked(store, why);
    }

    fn segment_files(&self) -> usize {
        self.device.list("segments").unwrap().len()
    }
}

/// Everything that somebody sees is in a segment that the manifest names.
fn assert_marked(store: &Store, why: &str) {
    let map = store.map();
    let (segments, ids) = (store.segments(), store.segment_ids());
    for stretch in map.scan_visible(&store.visibility()) {
        let stretch = stretch.unwrap();
        let Target::Data(first) = stretch.target else { continue };
        assert!(ids.contains(&first.segment), "{stretch:?}, {why}");
        let segment = segments.segment(first.segment).unwrap();
        let slots = (0..stretch.count).map(|step| Slot(first.slot.0 + step as u16));
        slots.for_each(|slot| assert!(segment.locate(slot).is_ok(), "{stretch:?}, {why}"));
    }
}

fn assert_clean(device: &SimDevice, why: &str) {
    let report = Store::check(&environment(device), &mut |_, _| {}).unwrap();
    assert_eq!(report.damages, [], "{why}");
}

/// Three volumes, one of them compressed in groups, with dead blocks all over their segments.
fn worn(seed: u64) -> World {
    let mut world = World::new(seed);
    let zstd = Codec::Zstd { level: ZstdLevel::default() };
    let ids = [Codec::Lz4, zstd, Codec::None].map(|codec| world.create(codec));
    for id in ids {
        world.fill(id);
        settle(&world.store);
    }
    ids.into_iter().for_each(|id| world.overwrite(id));
    world
}

#[test]
fn a_deleted_volume_gives_its_room_back() {
    let mut world = World::new(1);
    let (one, two) = (world.create(Codec::Lz4), world.create(Codec::None));
    for id in [one, two] {
        world.fill(id);
        settle(&world.store);
    }
    let (before, files) = (world.store.status(), world.segment_files());
    world.delete(two);
    assert_eq!(world.segment_files(), files);
    let report = world.store.collect(false).unwrap();
    assert!(report.segments_reclaimed > 0);
    assert_eq!(world.segment_files() as u64, world.store.status().segment_count);
    let after = world.store.status();
    assert!(after.segment_bytes < before.segment_bytes * 3 / 4);
    assert_eq!((after.segments_reclaimed, after.bytes_reclaimed), (report.segments_reclaimed, report.bytes_reclaimed));
    assert!(after.live_permille.unwrap() > 950);
    world.assert_holds(&world.store, "collected");
    world.delete(one);
    world.store.collect(false).unwrap();
    assert_eq!((world.segment_files(), world.store.status().segment_bytes), (0, 0));
    world.store.close().unwrap();
    assert_clean(&world.device, "empty");
}

#[test]
fn a_plan_says_what_a_collection_then_does() {
    let world = worn(2);
    let plan = world.store.collect_plan(true).unwrap();
    assert!(!plan.victims.is_empty() && plan.freed_bytes() > 0);
    let report = world.store.collect(true).unwrap();
    assert!(report.segments_reclaimed >= (plan.victims.len() + plan.dead.len()) as u64);
    assert!(plan.victims.iter().all(|id| !world.store.segment_ids().contains(id)));
    assert!(world.store.collect_plan(true).unwrap().is_empty());
}

#[test]
fn what_outlives_its_segment_is_moved_and_every_byte_stays() {
    let mut world = worn(3);
    for round in 0..6 {
        let why = format!("round {round}");
        let report = world.store.collect(round % 2 == 0).unwrap();
        assert!(report.segments_reclaimed > 0 && report.blocks_relocated > 0, "{why}");
        world.assert_holds(&world.store, &why);
        let status = world.store.status();
        assert_eq!(world.segment_files() as u64, status.segment_count, "{why}");
        assert!(status.live_permille.unwrap() > 800, "{why}: {:?}", status.live_permille);
        if round % 2 == 1 {
            world.store.close().unwrap();
            assert_clean(&world.device, &why);
            world.store = Store::open(environment(&world.device), options()).unwrap();
            world.assert_holds(&world.store, &why);
        }
        let ids: Vec<_> = world.expected.keys().copied().collect();
        ids.into_iter().for_each(|id| world.overwrite(id));
    }
}

#[test]
fn blocks_that_moved_are_shared_and_blocks_that_are_gone_are_stored_anew() {
    let mut world = worn(4);
    world.store.collect(true).unwrap();
    settle(&world.store);
    let id = *world.expected.keys().next().unwrap();
    let data = world.expected[&id][..40 * BLOCK].to_vec();
    let copy = new_volume(&world.store, 1 << 20);
    let before = world.store.status();
    write(&copy, 0, &data);
    settle(&world.store);
    assert_eq!(world.store.status().blocks_stored, before.blocks_stored, "all of it is stored already");
    // Its own blocks again, after they are gone.
    world.store.delete_volume(copy.id(), Vec::new()).unwrap();
    let ids: Vec<_> = world.expected.keys().copied().collect();
    let contents = world.expected.clone();
    ids.into_iter().for_each(|id| world.delete(id));
    world.store.collect(true).unwrap();
    assert_eq!(world.segment_files(), 0);
    let again = world.create(Codec::Lz4);
    write(&world.store.volume(again).unwrap(), 0, &contents[&id]);
    world.expected.insert(again, contents[&id].clone());
    settle(&world.store);
    world.assert_holds(&world.store, "again");
}

#[test]
fn nothing_is_shared_with_a_condemned_segment() {
    let device = SimDevice::new(5, Faults::none());
    let store = new_store(&device);
    let (one, two) = (new_volume(&store, 1 << 20), new_volume(&store, 1 << 20));
    let data = pattern(5, 20 * BLOCK);
    write(&one, 0, &data);
    settle(&store);
    let ids = store.segment_ids();
    store.inner.collector.exits.condemn(ids.iter().copied());
    write(&two, 0, &data);
    settle(&store);
    assert_eq!((store.status().blocks_stored, store.status().blocks_shared), (40, 0));
    assert_eq!(store.segment_ids().len(), 2);
}

/// A read that was planned before may still be under way when its segment goes: it has the file open, and no version.
#[test]
fn a_file_that_somebody_has_open_keeps_its_length() {
    let device = SimDevice::new(31, Faults::none());
    Store::create(&environment(&device), Settings::default()).unwrap();
    // With little memory segments are small.
    let store = Store::open(environment(&device), Options { budget: Budget::divide(64 << 20), ..options() }).unwrap();
    let volume = new_volume(&store, 4 << 20);
    write(&volume, 0, &pattern(31, 4 << 20));
    settle(&store);
    let open = |id| store.segments().segment(id).unwrap();
    let held: Vec<_> = store.segment_ids().into_iter().map(open).collect();
    let lens: Vec<_> = held.iter().map(|segment| segment.file().len().unwrap()).collect();
    assert!(lens.iter().any(|len| *len > 1 << 20), "one is long enough to go in pieces: {lens:?}");
    store.delete_volume(volume.id(), Vec::new()).unwrap();
    store.collect(true).unwrap();
    assert!(device.list("segments").unwrap().is_empty());
    assert!(held.iter().map(|segment| segment.file().len().unwrap()).eq(lens));
}

#[test]
fn a_segment_stays_as_long_as_an_old_version_is_held() {
    let mut world = World::new(6);
    let id = world.create(Codec::Lz4);
    world.fill(id);
    settle(&world.store);
    let held = world.store.map();
    world.delete(id);
    let files = world.segment_files();
    assert_eq!(world.store.collect(true).unwrap().segments_reclaimed, files as u64);
    assert_eq!((world.segment_files(), world.store.segment_ids().len()), (files, 0));
    let all: Vec<_> = held.runs().map(|(_, run)| run.summary().unwrap()).collect();
    assert!(!all.is_empty());
    drop(held);
    while world.store.step().unwrap() {}
    assert_eq!(world.segment_files(), 0);
}

#[test]
fn reads_and_writes_go_on_during_collections() {
    let mut world = worn(7);
    let ids: Vec<_> = world.expected.keys().copied().collect();
    let done = AtomicBool::new(false);
    /// The readers end also when a collection fails.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        for id in &ids[..2] {
            let (volume, expected) = (world.store.volume(*id).unwrap(), &world.expected[id]);
            let done = &done;
            scope.spawn(move || {
                let rng = SeededRng::new(id.0);
                while !done.load(Ordering::Relaxed) {
                    let (first, blocks) = (rng.below(280) as usize, 1 + rng.below(20) as usize);
                    let found = read(&volume, (first * BLOCK) as u64, blocks * BLOCK);
                    assert!(found == expected[first * BLOCK..][..blocks * BLOCK], "{id:?} {first}+{blocks}");
                }
            });
        }
        let _end = End(&done);
        let written = world.store.volume(ids[2]).unwrap();
        for round in 0..15 {
            let data = content(&SeededRng::new(100 + round), 60);
            write(&written, 0, &data);
            if round % 3 == 0 {
                settle(&world.store);
            }
            world.store.collect(true).unwrap();
            assert!(read(&written, 0, data.len()) == data, "round {round}");
        }
    });
    let data = content(&SeededRng::new(114), 60);
    world.expected.get_mut(&ids[2]).unwrap()[..data.len()].copy_from_slice(&data);
    world.assert_holds(&world.store, "at the end");
    world.store.close().unwrap();
    assert_clean(&world.device, "at the end");
}

#[test]
fn threads_collect_by_themselves_when_room_is_short() {
    let device = SimDevice::with_options(SimOptions { capacity_bytes: Some(256 << 20), ..SimOptions::new(12) });
    Store::create(&environment(&device), Settings::default()).unwrap();
    let threads = Options { background: BackgroundMode::Threads, ..options() };
    let store = Store::open(environment(&device), threads).unwrap();
    let (keep, gone) = (new_volume(&store, 16 << 20), new_volume(&store, 16 << 20));
    let data = pattern(12, 100 * BLOCK);
    for at in 0..8 {
        write(&gone, at * data.len() as u64, &pattern(at, data.len()));
        write(&keep, at * data.len() as u64, &data);
    }
    store.freeze().unwrap();
    store.delete_volume(gone.id(), Vec::new()).unwrap();
    let clock = SystemClock::new();
    while store.status().segments_reclaimed == 0 {
        assert!(clock.monotonic().as_secs() < 60, "nothing is collected");
        clock.sleep(std::time::Duration::from_millis(20));
    }
    assert!(read(&keep, 0, data.len()) == data);
    store.close().unwrap();
    assert_clean(&device, "closed");
}
