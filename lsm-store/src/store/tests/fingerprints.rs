//! The fingerprint map says what a read would yield, wherever the blocks are and however they are stored.

use proptest::prelude::*;

use super::*;
use crate::device::sim::{Fault, OperationKind, Trigger};
use crate::fingerprint::{Fingerprint, is_zero};
use crate::request::BlockIdentity;

const BLOCKS: usize = 300;

/// The whole map, `entries_max` entries a call.
fn map_of(volume: &Volume, entries_max: usize) -> Vec<BlockIdentity> {
    let (mut map, mut at) = (Vec::new(), 0);
    while at < volume.block_count() {
        let page = volume.fingerprints(BlockIndex(at), volume.block_count() - at, entries_max).unwrap();
        assert!((1..=entries_max).contains(&page.len()));
        at += page.iter().map(BlockIdentity::block_count).sum::<u64>();
        for entry in page {
            match (map.last_mut(), entry) {
                (Some(BlockIdentity::Zeros(count)), BlockIdentity::Zeros(more)) => *count += more,
                (_, entry) => map.push(entry),
            }
        }
    }
    assert_eq!(at, volume.block_count());
    map
}

fn expected(content: &[u8]) -> Vec<BlockIdentity> {
    let mut map = Vec::new();
    for part in content.chunks(BLOCK) {
        let mut block = [0; BLOCK];
        block[..part.len()].copy_from_slice(part);
        match (is_zero(&block), map.last_mut()) {
            (true, Some(BlockIdentity::Zeros(count))) => *count += 1,
            (true, _) => map.push(BlockIdentity::Zeros(1)),
            (false, _) => map.push(BlockIdentity::Data(Fingerprint::of(&block))),
        }
    }
    map
}

fn assert_maps(volume: &Volume, why: &str) {
    let content = read(volume, 0, volume.size_bytes() as usize);
    for entries_max in [1, 2, 7, 4096] {
        assert!(map_of(volume, entries_max) == expected(&content), "{why}, {entries_max} entries a page");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write { first: usize, count: usize, seed: u64 },
    Zeros { first: usize, count: usize },
    Zero { first: usize, count: usize, hole: bool },
    Settle,
    Snapshot,
    Pack,
}

fn any_step() -> impl Strategy<Value = Step> {
    let range = || (0..BLOCKS, 1..60_usize).prop_map(|(first, count)| (first, count.min(BLOCKS - first)));
    prop_oneof![
        4 => (range(), 0..5_u64).prop_map(|((first, count), seed)| Step::Write { first, count, seed }),
        1 => range().prop_map(|(first, count)| Step::Zeros { first, count }),
        2 => (range(), any::<bool>()).prop_map(|((first, count), hole)| Step::Zero { first, count, hole }),
        2 => Just(Step::Settle),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Pack),
    ]
}

fn take(step: &Step, store: &Store, volume: &Volume) -> Option<Volume> {
    let bytes = |blocks: usize| (blocks * BLOCK) as u64;
    match *step {
        Step::Write { first, count, seed } => write(volume, bytes(first), &pattern(seed, count * BLOCK)),
        Step::Zeros { first, count } => write(volume, bytes(first), &vec![0; count * BLOCK]),
        Step::Zero { first, count, hole } => {
            let zeroing = if hole { Zeroing::Hole } else { Zeroing::Allocated };
            volume.zero(bytes(first), bytes(count), zeroing).unwrap();
        }
        Step::Settle => settle(store),
        Step::Snapshot => {
            let ids = store.snapshot_volumes(&[volume.id()], |_| Vec::new()).unwrap();
            return Some(store.volume(ids[0]).unwrap());
        }
        Step::Pack => {
            settle(store);
            let last = store.segment_ids().last().copied().unwrap_or_default();
            store.pack_cold(ColdScope::All, last).unwrap();
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_map_says_what_a_read_yields(steps in prop::collection::vec(any_step(), 1..14), zstd: bool) {
        let store = new_store(&SimDevice::new(71, Faults::none()));
        let codec = if zstd { Codec::Zstd { level: ZstdLevel::default() } } else { Codec::Lz4 };
        let spec = VolumeSpec { size_bytes: (BLOCKS * BLOCK) as u64, codec };
        let volume = store.volume(store.create_volume(spec, |_| Vec::new()).unwrap()).unwrap();
        let snapshots: Vec<_> = steps.iter().filter_map(|step| take(step, &store, &volume)).collect();
        assert_maps(&volume, "the volume");
        snapshots.iter().for_each(|snapshot| assert_maps(snapshot, "a snapshot"));
    }
}

#[test]
fn a_huge_volume_costs_what_it_holds_and_no_data_is_read() {
    let device = SimDevice::new(72, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, VOLUME_BYTES_MAX);
    let (far, block) = (VOLUME_BYTES_MAX / 2, BLOCK as u64);
    write(&volume, far, &pattern(1, 3 * BLOCK));
    settle(&store);
    write(&volume, far + 7 * block, &pattern(2, BLOCK));
    // Whatever reads a frame from here on fails.
    for segment in device.list("segments").unwrap() {
        (4096..4096 + 3 * 4100)
            .step_by(64)
            .for_each(|at| device.flip_bit(&format!("segments/{segment}"), at, 1).unwrap());
    }
    assert!(volume.read(far, BLOCK).is_err());
    let before = device.operation_count_of(OperationKind::Read);
    let map = map_of(&volume, 4096);
    let after = device.operation_count_of(OperationKind::Read);
    assert!(after - before < 10, "{} reads", after - before);
    let lens: Vec<_> = map.iter().map(BlockIdentity::block_count).collect();
    let rest = volume.block_count() - far / block - 8;
    assert_eq!(lens, [far / block, 1, 1, 1, 4, 1, rest]);
    let fingerprints: Vec<_> = pattern(1, 3 * BLOCK).as_chunks().0.iter().map(Fingerprint::of).collect();
    assert_eq!(map[1..4], [0, 1, 2].map(|at| BlockIdentity::Data(fingerprints[at])));
}

#[test]
fn what_a_smaller_size_cut_off_counts_as_zeros() {
    let store = new_store(&SimDevice::new(73, Faults::none()));
    let volume = new_volume(&store, 10 * BLOCK as u64);
    write(&volume, 0, &pattern(3, 10 * BLOCK));
    for size in [9 * BLOCK as u64 + 1, 5 * BLOCK as u64 + 4095, 100] {
        // As a crash leaves it that comes before the zeroing.
        store.inner.volume_state(volume.id()).unwrap().resize(size);
        assert_eq!(volume.block_count(), size.div_ceil(BLOCK as u64));
        assert_maps(&volume, "cut");
    }
    assert_eq!(volume.fingerprints(BlockIndex(1), 1, 1).unwrap_err().kind(), crate::ErrorKind::Invalid);
    assert_eq!(volume.fingerprints(BlockIndex(0), 0, 1).unwrap_err().kind(), crate::ErrorKind::Invalid);
    assert_eq!(volume.fingerprints(BlockIndex(u64::MAX), 2, 1).unwrap_err().kind(), crate::ErrorKind::Invalid);
}

#[test]
fn a_damaged_fingerprint_is_an_error_and_suspected() {
    let device = SimDevice::new(74, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 10 * BLOCK as u64);
    write(&volume, 0, &pattern(4, BLOCK));
    let id = volume.id();
    drop(volume);
    store.close().unwrap();
    let segment = format!("segments/{}", device.list("segments").unwrap().remove(0));
    let len = device.open(&segment, crate::device::Access::Buffered).unwrap().len().unwrap();
    // The page before the footer.
    device.flip_bit(&segment, len - 2 * 4096 + 5, 0).unwrap();
    let store = Store::open(environment(&device), options()).unwrap();
    let volume = store.volume(id).unwrap();
    assert_eq!(volume.fingerprints(BlockIndex(0), 1, 1).unwrap_err().kind(), crate::ErrorKind::Corrupt);
    assert!(store.step_scrub().unwrap(), "the segment is looked at next");
}

#[test]
fn a_store_that_has_stopped_tells_what_it_holds_as_it_reads() {
    let device = SimDevice::new(68, Faults::none());
    let store = new_store(&device);
    let volume = new_volume(&store, 1 << 30);
    let far = volume.size_bytes() - BLOCK as u64;
    let block = pattern(68, BLOCK);
    write(&volume, far, &block);
    settle(&store);
    device.inject(Trigger::on(OperationKind::Sync).under("manifest/"), Fault::Io);
    let record = Record { key: b"key".to_vec(), value: None };
    assert_eq!(store.put_records(vec![record]).unwrap_err().kind(), crate::ErrorKind::Poisoned);
    assert!(read(&volume, far, BLOCK) == block);
    let fingerprint = Fingerprint::of(block[..].try_into().unwrap());
    let zeros = BlockIdentity::Zeros(volume.block_count() - 1);
    assert_eq!(map_of(&volume, 10), [zeros, BlockIdentity::Data(fingerprint)]);
}
