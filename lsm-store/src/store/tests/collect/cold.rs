//! Cold data is packed in groups, changes no byte, and is left alone afterwards.

use std::time::Duration;

use super::*;
use crate::codec::{Compressor, GROUP_BLOCKS_MAX};
use crate::device::sim::VirtualClock;
use crate::segment::{Class, FramePlace};

/// Text: zstd makes it smaller than LZ4 does, and groups of blocks smaller than single ones.
fn text(seed: u64, blocks: usize) -> Vec<u8> {
    let rng = SeededRng::new(seed);
    let words: Vec<String> = (0..300).map(|word| format!("{word:x}-{:x} ", rng.below(1 << 20))).collect();
    let mut text = Vec::with_capacity(blocks * BLOCK + 32);
    while text.len() < blocks * BLOCK {
        text.extend_from_slice(words[rng.below(300) as usize].as_bytes());
    }
    text.truncate(blocks * BLOCK);
    text
}

impl World {
    fn write_text(&mut self, id: VolumeId, seed: u64, first: usize, blocks: usize) {
        let data = text(seed, blocks);
        write(&self.store.volume(id).unwrap(), (first * BLOCK) as u64, &data);
        self.expected.get_mut(&id).unwrap()[first * BLOCK..][..data.len()].copy_from_slice(&data);
    }

    fn pack(&self, scope: ColdScope) -> u64 {
        let last = self.store.segment_ids().last().copied().unwrap_or_default();
        let mut packed = 0;
        while !self.store.cold_plan(scope, last).victims.is_empty() {
            let report = self.store.pack_cold(scope, last).unwrap();
            assert!(report.segments_reclaimed > 0);
            packed += report.segments_reclaimed;
        }
        packed
    }

    /// Where the blocks of a volume are.
    fn places(&self, id: VolumeId) -> Vec<(FramePlace, Class)> {
        let (map, segments) = (self.store.map(), self.store.segments());
        let mut places = Vec::new();
        for stretch in map.scan_all(&self.store.lineage(id).unwrap()) {
            let stretch = stretch.unwrap();
            let Target::Data(first) = stretch.target else { continue };
            let class = segments.summary(first.segment).unwrap().identity.class;
            let segment = segments.segment(first.segment).unwrap();
            let slots = (0..stretch.count).map(|step| Slot(first.slot.0 + step as u16));
            places.extend(slots.map(|slot| (segment.locate(slot).unwrap(), class)));
        }
        places
    }

    fn reopen(&mut self) {
        self.store.close().unwrap();
        assert_clean(&self.device, "closed");
        self.store = Store::open(environment(&self.device), options()).unwrap();
    }
}

/// A volume of text, in segments, and one that wants its data as it is and shares a segment with it.
fn with_text(seed: u64) -> (World, VolumeId, VolumeId) {
    let mut world = World::new(seed);
    let (packed, raw) = (world.create(Codec::Lz4), world.create(Codec::None));
    world.write_text(raw, seed + 1000, 0, 40);
    world.write_text(packed, seed, 0, VOLUME_BLOCKS);
    settle(&world.store);
    (world, packed, raw)
}

#[test]
fn cold_data_is_packed_once_and_every_byte_stays() {
    let (mut world, packed, raw) = with_text(50);
    let before = world.store.status();
    assert_eq!(before.cold_bytes, 0);
    assert_eq!(world.pack(ColdScope::All), before.segment_count);
    let after = world.store.status();
    assert!(after.segment_bytes < before.segment_bytes * 4 / 5, "{} of {}", after.segment_bytes, before.segment_bytes);
    assert_eq!(after.cold_bytes, after.segment_bytes);
    let in_groups =
        world.places(packed).iter().filter(|(place, _)| usize::from(place.blocks) == GROUP_BLOCKS_MAX).count();
    assert!(in_groups >= VOLUME_BLOCKS - GROUP_BLOCKS_MAX, "{in_groups} blocks");
    assert!(world.places(raw).iter().all(|(place, class)| (place.blocks, *class) == (1, Class::Cold)));
    world.assert_holds(&world.store, "packed");
    for why in ["again", "opened again"] {
        assert_eq!(world.pack(ColdScope::All), 0, "{why}");
        world.assert_holds(&world.store, why);
        world.reopen();
    }
    assert_eq!(world.store.status().cold_bytes, after.cold_bytes);
}

#[test]
fn what_was_read_lately_is_not_cold() {
    let (world, packed, _) = with_text(51);
    let volume = world.store.volume(packed).unwrap();
    for at in (0..VOLUME_BLOCKS as u64).step_by(7) {
        world.store.inner.read_blocks(&world.store.inner.volume_state(packed).unwrap(), BlockIndex(at), 1).unwrap();
    }
    assert_eq!(world.pack(ColdScope::Unread), 0);
    (0..6).for_each(|_| world.store.segments().pass_period());
    // A stream wants whole groups anyway.
    read(&volume, 0, VOLUME_BLOCKS * BLOCK);
    let all = world.store.status().segment_count;
    assert_eq!(world.pack(ColdScope::Unread), all);
}

#[test]
fn groups_that_lose_blocks_are_filled_up_again() {
    let (mut world, packed, _) = with_text(52);
    world.pack(ColdScope::All);
    for first in (0..VOLUME_BLOCKS).step_by(3) {
        world.write_text(packed, 9000 + first as u64, first, 1);
    }
    settle(&world.store);
    world.store.collect(true).unwrap();
    world.assert_holds(&world.store, "collected");
    let places = world.places(packed);
    let cold = places.iter().filter(|(_, class)| *class == Class::Cold).count();
    let full = places.iter().filter(|(place, _)| usize::from(place.blocks) == GROUP_BLOCKS_MAX).count();
    assert_eq!(cold, VOLUME_BLOCKS * 2 / 3);
    assert!(full >= cold - GROUP_BLOCKS_MAX, "{full} of {cold} blocks are in full groups");
    world.reopen();
    world.assert_holds(&world.store, "opened again");
}

#[test]
fn a_group_that_loses_a_block_is_compressed_as_its_volume_says() {
    let mut world = World::new(53);
    let level = ZstdLevel::new(19).unwrap();
    let id = world.create(Codec::Zstd { level });
    world.write_text(id, 53, 0, 200);
    settle(&world.store);
    for first in (0..200).step_by(4) {
        world.write_text(id, 7000 + first as u64, first, 1);
    }
    settle(&world.store);
    world.store.collect(true).unwrap();
    world.assert_holds(&world.store, "collected");
    let left = &world.expected[&id][BLOCK..4 * BLOCK];
    let len = |level| Compressor::new().compress(Codec::Zstd { level }, left).bytes.len();
    assert_ne!(len(level), len(ZstdLevel::default()));
    let (place, class) = world.places(id)[1];
    assert_eq!((place.blocks, place.len as usize, class), (3, 8 + len(level), Class::Survivor));
}

#[test]
fn frames_of_zstd_volumes_are_as_large_as_was_said() {
    let mut world = World::new(54);
    let id = world.create(Codec::Zstd { level: ZstdLevel::default() });
    let mut blocks_of = |large: Option<bool>, first: usize| {
        large.into_iter().for_each(|large| world.store.set_large_frames(large));
        world.write_text(id, first as u64, first, 40);
        settle(&world.store);
        world.assert_holds(&world.store, "written");
        world.places(id)[first..first + 40].iter().map(|(place, _)| place.blocks).collect::<Vec<_>>()
    };
    assert_eq!(blocks_of(None, 0), [4; 40]);
    assert_eq!(blocks_of(Some(true), 40), [[16; 32].as_slice(), &[8; 8]].concat());
    assert_eq!(blocks_of(Some(false), 80), [4; 40]);
}

/// Time passes only as the test says.
pub(super) fn with_clock(world: &mut World) -> Arc<VirtualClock> {
    let clock = Arc::new(VirtualClock::new());
    world.store.close().unwrap();
    let environment = Environment { clock: clock.clone(), ..environment(&world.device) };
    world.store = Store::open(environment, options()).unwrap();
    while world.store.step().unwrap() {}
    clock
}

#[test]
fn the_store_packs_what_is_cold_when_it_is_idle_and_told_to() {
    let (mut world, packed, _) = with_text(54);
    let clock = with_clock(&mut world);
    let hours = |count: u32| {
        for _ in 0..count * 6 {
            clock.advance(Duration::from_secs(600));
            while world.store.step().unwrap() {}
        }
        world.store.status().cold_bytes
    };
    assert_eq!(hours(3), 0, "nobody has told it to");
    world.store.set_cold(Some(ZstdLevel::default()));
    let volume = world.store.volume(packed).unwrap();
    for _ in 0..100 {
        clock.advance(Duration::from_secs(4));
        read(&volume, 0, VOLUME_BLOCKS * BLOCK);
        while world.store.step().unwrap() {}
    }
    assert_eq!(world.store.status().cold_bytes, 0, "somebody is there");
    clock.advance(Duration::from_secs(60));
    while world.store.step().unwrap() {}
    assert!(world.store.status().cold_bytes > 0);
    world.assert_holds(&world.store, "packed");
    let written = world.store.status().segment_bytes_written;
    hours(3);
    assert_eq!(world.store.status().segment_bytes_written, written, "it is done");
}

#[test]
fn what_is_young_is_not_packed_by_the_store() {
    let mut world = World::new(55);
    let clock = with_clock(&mut world);
    world.store.set_cold(Some(ZstdLevel::default()));
    let id = world.create(Codec::Lz4);
    clock.advance(Duration::from_secs(1800));
    while world.store.step().unwrap() {}
    world.write_text(id, 55, 0, VOLUME_BLOCKS);
    settle(&world.store);
    let minutes = |minutes: u64| {
        for _ in 0..minutes {
            clock.advance(Duration::from_secs(60));
            while world.store.step().unwrap() {}
        }
        world.store.status().cold_bytes
    };
    assert_eq!(minutes(45), 0);
    assert!(minutes(20) > 0);
}

#[test]
fn a_power_cut_while_cold_data_is_packed_loses_nothing() {
    let mut world = worn(56);
    let id = world.create(Codec::Lz4);
    world.write_text(id, 56, 0, VOLUME_BLOCKS);
    settle(&world.store);
    world.device.record();
    assert!(world.pack(ColdScope::All) > 1);
    let recording = world.device.recording();
    for (count, point) in recording.walk() {
        for (choice, image) in point.images(count as u64, 3) {
            let why = format!("after {count} of {} operations, {choice:?}", recording.len());
            assert_clean(&image, &why);
            let store = Store::open(environment(&image), options()).unwrap_or_else(|error| panic!("{why}: {error}"));
            world.assert_holds(&store, &why);
            if count % 4 == 0 {
                store.collect(true).unwrap();
                world.assert_holds(&store, &why);
                store.close().unwrap();
                assert_clean(&image, &why);
            }
        }
    }
}

#[test]
fn packing_without_room_leaves_everything_as_it_was() {
    use crate::device::sim::{Fault, OperationKind, Trigger};
    let kinds =
        [(OperationKind::Allocate, "segments/"), (OperationKind::Create, "runs/"), (OperationKind::Write, "manifest/")];
    for (kind, path) in kinds {
        let why = format!("{kind:?} {path}");
        let (world, ..) = with_text(57);
        world.device.inject(Trigger::on(kind).under(path), Fault::NoSpace);
        let last = *world.store.segment_ids().last().unwrap();
        let error = world.store.pack_cold(ColdScope::All, last).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::OutOfSpace, "{why}");
        world.assert_holds(&world.store, &why);
        assert_eq!(world.segment_files() as u64, world.store.status().segment_count, "{why}");
        world.device.clear_faults();
        assert!(world.pack(ColdScope::All) > 0, "{why}");
        world.assert_holds(&world.store, &why);
    }
}

/// Blocks of a group that lie between others are fetched and decoded once, and its neighbours are kept at the second miss.
#[test]
fn short_reads_of_a_group_bring_all_of_it_into_the_cache() {
    let (world, packed, _) = with_text(58);
    world.pack(ColdScope::All);
    let state = world.store.inner.volume_state(packed).unwrap();
    let held = |world: &World| world.store.status().memory.block_cache_bytes;
    let before = held(&world);
    world.store.inner.read_blocks(&state, BlockIndex(3), 1).unwrap();
    assert_eq!(held(&world), before);
    world.store.inner.read_blocks(&state, BlockIndex(5), 1).unwrap();
    assert!(held(&world) >= before + (GROUP_BLOCKS_MAX * BLOCK) as u64);
    let plan = world.store.inner.plan(&state, 0, GROUP_BLOCKS_MAX * BLOCK).unwrap();
    assert!(plan.fetches.is_empty());
}

#[test]
fn a_group_with_other_blocks_in_between_is_fetched_once() {
    let (mut world, packed, _) = with_text(59);
    world.pack(ColdScope::All);
    for first in (1..64).step_by(2) {
        world.write_text(packed, 8000 + first as u64, first, 1);
    }
    settle(&world.store);
    let state = world.store.inner.volume_state(packed).unwrap();
    let plan = world.store.inner.plan(&state, 0, 64 * BLOCK).unwrap();
    let groups = plan.fetches.iter().filter(|fetch| fetch.wants[0].place.blocks > 1).count();
    assert!(groups <= 64 / GROUP_BLOCKS_MAX, "{groups} fetches of groups");
    world.assert_holds(&world.store, "read");
}
