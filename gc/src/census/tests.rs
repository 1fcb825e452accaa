use std::collections::HashSet;
use std::sync::Arc;

use lsm_store::clock::SystemClock;
use lsm_store::codec::Codec;
use lsm_store::device::sim::{Faults, SimDevice};
use lsm_store::id::SegmentId;
use lsm_store::request::{Write, Zeroing};
use lsm_store::rng::{Rng, SeededRng};
use lsm_store::store::{BackgroundMode, Budget, Environment, Options, Settings, VolumeSpec};

use super::*;

fn random(seed: u64, blocks: usize) -> Vec<u8> {
    let mut bytes = vec![0; blocks * BLOCK_BYTES];
    SeededRng::new(seed).fill(&mut bytes);
    bytes
}

fn new_store(seed: u64) -> Arc<Store> {
    let environment = Environment {
        device: Arc::new(SimDevice::new(seed, Faults::none())),
        clock: Arc::new(SystemClock::new()),
        rng: Arc::new(SeededRng::new(seed)),
    };
    Store::create(&environment, Settings::default()).unwrap();
    let budget = Budget::divide(8 << 20);
    Store::open(environment, Options { budget, background: BackgroundMode::Manual, read_only: false }).unwrap()
}

fn new_volume(store: &Store) -> VolumeId {
    let spec = VolumeSpec { size_bytes: 64 << 20, codec: Codec::None };
    store.create_volume(spec, |_| Vec::new()).unwrap()
}

fn write(store: &Store, id: VolumeId, block: usize, data: &[u8]) {
    let offset = (block * BLOCK_BYTES) as u64;
    store.volume(id).unwrap().write(&[Write { offset, data }]).unwrap();
}

fn snapshot(store: &Store, id: VolumeId) -> VolumeId {
    store.snapshot_volumes(&[id], |_| Vec::new()).unwrap()[0]
}

fn settle(store: &Store) {
    store.freeze().unwrap();
    while store.step().unwrap() {}
}

/// Where the blocks of each reader are, as often as it holds them.
fn held_one_by_one(store: &Store) -> Vec<(VolumeId, Vec<(SegmentId, u64)>)> {
    let map = store.map();
    let mut seen = Vec::new();
    for volume in store.volumes() {
        let mut locations = Vec::new();
        for stretch in map.scan_all(&store.lineage(volume.id).unwrap()).map(Result::unwrap) {
            let Target::Data(first) = stretch.target else { continue };
            locations.extend((0..stretch.count).map(|step| (first.segment, u64::from(first.slot.0) + step)));
        }
        seen.push((volume.id, locations));
    }
    seen
}

/// Blocks of a group: mapped, distinct ones, and those nobody else has.
fn counted_together(held: &[(VolumeId, Vec<(SegmentId, u64)>)], group: &HashSet<VolumeId>) -> [u64; 3] {
    let (inside, outside): (Vec<_>, Vec<_>) = held.iter().partition(|(id, _)| group.contains(id));
    let outside: HashSet<_> = outside.iter().flat_map(|(_, locations)| locations).collect();
    let distinct: HashSet<_> = inside.iter().flat_map(|(_, locations)| locations).collect();
    let mapped: usize = inside.iter().map(|(_, locations)| locations.len()).sum();
    [mapped as u64, distinct.len() as u64, distinct.difference(&outside).count() as u64]
}

/// Blocks mapped, distinct ones, and those nobody else has, found by reading the map for each reader.
fn counted_one_by_one(seen: &[(VolumeId, Vec<(SegmentId, u64)>)]) -> HashMap<VolumeId, [u64; 3]> {
    let sets: Vec<HashSet<_>> = seen.iter().map(|(_, locations)| locations.iter().copied().collect()).collect();
    let alone = |at: usize| {
        let held_by_others =
            |location| sets.iter().enumerate().any(|(other, set)| other != at && set.contains(location));
        sets[at].iter().filter(|location| !held_by_others(*location)).count() as u64
    };
    let counts = |(at, (id, locations)): (usize, &(VolumeId, Vec<_>))| {
        (*id, [locations.len() as u64, sets[at].len() as u64, alone(at)])
    };
    seen.iter().enumerate().map(counts).collect()
}

#[test]
fn one_pass_finds_what_a_pass_for_each_reader_does() {
    for seed in 1..=12 {
        let store = new_store(seed);
        let rng = SeededRng::new(seed);
        let pick = |below: u64| rng.below(below);
        let (mut heads, mut snapshots) = (vec![new_volume(&store)], Vec::new());
        for step in 0..60 {
            let head = heads[pick(heads.len() as u64) as usize];
            match pick(10) {
                0 => snapshots.push(snapshot(&store, head)),
                1 => heads.push(store.clone_volume(head, |_| Vec::new()).unwrap()),
                2 if !snapshots.is_empty() => {
                    let gone = snapshots.swap_remove(pick(snapshots.len() as u64) as usize);
                    store.delete_volume(gone, Vec::new()).unwrap();
                }
                3 => {
                    let (offset, len) = (pick(64) * BLOCK_BYTES as u64, (1 + pick(32)) * BLOCK_BYTES as u64);
                    store.volume(head).unwrap().zero(offset, len, Zeroing::Hole).unwrap();
                }
                4 => settle(&store),
                // Contents come again, so that volumes hold blocks twice and share what they did not inherit.
                _ => write(&store, head, pick(64) as usize, &random(step % 8, 1 + pick(20) as usize)),
            }
        }
        settle(&store);
        let held = held_one_by_one(&store);
        let expected = counted_one_by_one(&held);
        let group = expected.keys().filter(|_| pick(2) == 0).copied().collect();
        let [mapped, distinct, unique] = counted_together(&held, &group);
        for slots in [1 << 20, 1] {
            let census = census_in_windows(&store, slots, &group).unwrap();
            let frame = census.stored_bytes / (census.distinct_bytes / BLOCK_BYTES as u64).max(1);
            for (id, [mapped, distinct, unique]) in &expected {
                let found = census.volumes[id];
                let blocks = [found.mapped_bytes, found.distinct_bytes].map(|bytes| bytes / BLOCK_BYTES as u64);
                assert_eq!((blocks, found.unique_bytes), ([*mapped, *distinct], unique * frame), "seed {seed}, {id}");
                assert_eq!(found.stored_bytes, distinct * frame, "seed {seed}, {id}");
                assert_eq!(found.shared_bytes, found.stored_bytes - found.unique_bytes);
            }
            let together = GroupCensus {
                mapped_bytes: mapped * BLOCK_BYTES as u64,
                distinct_bytes: distinct * BLOCK_BYTES as u64,
                stored_bytes: distinct * frame,
                unique_bytes: unique * frame,
            };
            assert_eq!(census.group, together, "seed {seed}");
            assert!(!census.is_coarse);
        }
    }
}

#[test]
fn a_removal_frees_what_the_census_said() {
    for gone in 0..4 {
        let store = new_store(40);
        let (one, two) = (new_volume(&store), new_volume(&store));
        // A segment of one volume alone, one that two share, and blocks that only snapshots have.
        write(&store, one, 0, &random(1, 500));
        settle(&store);
        write(&store, one, 500, &random(2, 400));
        write(&store, two, 0, &random(3, 300));
        settle(&store);
        let first = snapshot(&store, one);
        write(&store, one, 0, &random(4, 500));
        settle(&store);
        let second = snapshot(&store, one);
        write(&store, one, 100, &random(5, 300));
        settle(&store);
        store.collect(true).unwrap();
        let roots = [one, two, first, second];
        let frees = census(&store).unwrap().volumes[&roots[gone]].frees_bytes;
        let before = store.status().segment_bytes;
        store.delete_volume(roots[gone], Vec::new()).unwrap();
        settle(&store);
        store.collect(true).unwrap();
        let freed = before - store.status().segment_bytes;
        assert!(frees > 0 && freed.abs_diff(frees) <= 64 << 10, "{gone}: {frees} said, {freed} freed");
        // The first snapshot has a whole segment to itself.
        assert!(gone != 2 || freed == frees, "{frees} said, {freed} freed");
    }
}

#[test]
fn a_thousand_snapshots_are_one_pass() {
    const SNAPSHOTS: usize = 1000;
    let store = new_store(41);
    let volume = new_volume(&store);
    write(&store, volume, 0, &random(1, 64));
    let mut snapshots = Vec::new();
    for number in 0..SNAPSHOTS {
        snapshots.push(snapshot(&store, volume));
        write(&store, volume, number % 64, &random(100 + number as u64, 1));
    }
    settle(&store);
    let census = census(&store).unwrap();
    let frame = census.stored_bytes / (64 + SNAPSHOTS as u64);
    assert!(snapshots.iter().all(|id| census.volumes[id].mapped_bytes == 64 * BLOCK_BYTES as u64));
    // What the first of all wrote is seen by those before it was overwritten: each block by another number of snapshots.
    assert_eq!(census.volumes[&snapshots[0]].unique_bytes, frame);
    assert_eq!(census.volumes[&snapshots[1]].unique_bytes, 0);
    let sum: u64 = snapshots.iter().map(|id| census.volumes[id].unique_bytes).sum();
    assert_eq!(sum, frame);
}

#[test]
fn a_census_is_taken_again_only_if_something_changed() {
    let store = new_store(42);
    let volume = new_volume(&store);
    write(&store, volume, 0, &random(1, 10));
    settle(&store);
    let cache = CensusCache::default();
    assert!(cache.known(&store).is_none());
    let first = cache.census(&store).unwrap();
    assert!(Arc::ptr_eq(&first, &cache.census(&store).unwrap()));
    assert!(Arc::ptr_eq(&first, &cache.known(&store).unwrap()));
    let taken = snapshot(&store, volume);
    assert!(cache.known(&store).is_none());
    let second = cache.census(&store).unwrap();
    assert_eq!((second.volumes[&taken].unique_bytes, first.volumes[&volume].shared_bytes), (0, 0));
    assert!(first.volumes[&volume].unique_bytes > 0 && second.volumes[&volume].unique_bytes == 0);
    write(&store, volume, 0, &random(2, 1));
    settle(&store);
    assert!(!Arc::ptr_eq(&second, &cache.census(&store).unwrap()));
}

#[test]
fn what_two_volumes_share_is_told_from_what_is_their_own() {
    let store = new_store(1);
    let [one, two] = [(); 2].map(|()| new_volume(&store));
    write(&store, one, 0, &random(1, 10));
    write(&store, one, 10, &random(1, 2));
    write(&store, two, 0, &random(1, 4));
    write(&store, two, 4, &random(2, 3));
    settle(&store);
    let census = census(&store).unwrap();
    let frame = census.stored_bytes / 13;
    let blocks = |bytes: u64| bytes / BLOCK_BYTES as u64;
    let (one, two) = (census.volumes[&one], census.volumes[&two]);
    assert_eq!([one, two].map(|volume| blocks(volume.mapped_bytes)), [12, 7]);
    assert_eq!([one, two].map(|volume| blocks(volume.distinct_bytes)), [10, 7]);
    assert_eq!([one, two].map(|volume| volume.unique_bytes / frame), [6, 3]);
    assert_eq!([one, two].map(|volume| volume.shared_bytes / frame), [4, 4]);
    assert_eq!((blocks(census.mapped_bytes), blocks(census.distinct_bytes)), (19, 13));
}
