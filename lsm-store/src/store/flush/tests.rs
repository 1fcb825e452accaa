use std::sync::atomic::Ordering;
use std::thread;

use bytes::Bytes;

use super::batch::Batch;
use super::helper::Help;
use crate::codec::{Codec, Compressor, Decompressor, Encoding, GROUP_BLOCKS_MAX, ZstdLevel};
use crate::dedupe::Verdict;
use crate::id::{BLOCK_BYTES, BlockIndex, FamilyId, LayerId, Location, SegmentId, Slot};
use crate::memtable::{Content, FrozenEntry};
use crate::packed::{PackedBlock, Packer};
use crate::rng::{Rng, SeededRng};

fn zstd(_: &FrozenEntry) -> Codec {
    Codec::Zstd { level: ZstdLevel::default() }
}

/// Text, or every fifth block noise.
fn content(index: u64) -> Vec<u8> {
    match index % 5 {
        4 => {
            let mut noise = vec![0; BLOCK_BYTES];
            SeededRng::new(index).fill(&mut noise);
            noise
        }
        _ => format!("block {index} of many, ").into_bytes().into_iter().cycle().take(BLOCK_BYTES).collect(),
    }
}

fn entry(first: u64, content: Content) -> FrozenEntry {
    FrozenEntry { family: FamilyId(1), layer: LayerId(1), first: BlockIndex(first), count: 1, content }
}

fn raw(first: u64) -> FrozenEntry {
    entry(first, Content::Data(content(first).into()))
}

fn packed(first: u64) -> FrozenEntry {
    let packed = Packer::default().pack(&content(first), Bytes::copy_from_slice).into();
    entry(first, Content::Packed(PackedBlock::new(&packed, 0)))
}

/// Ten blocks of a volume with zstd, then one of one with LZ4, and so on.
fn mixed(count: u64) -> Vec<FrozenEntry> {
    let layer = |first| LayerId(if first % 11 == 10 { 2 } else { 1 });
    (0..count).map(|first| FrozenEntry { layer: layer(first), ..raw(first) }).collect()
}

fn divided(entries: &[FrozenEntry], count_max: usize) -> Batch<'_> {
    let mut batch = Batch::new(entries);
    let verdicts = vec![Verdict::New; batch.blocks.len()];
    batch.divide(&verdicts, count_max, |entry| if entry.layer == LayerId(2) { Codec::Lz4 } else { zstd(entry) });
    batch
}

/// What every group is compressed to, in order. The job begins when the helper has come to group `from`.
fn compressed<'s, 'e: 's>(
    help: &mut Help<'s, '_, 'e>,
    batch: Batch<'e>,
    from: Option<usize>,
) -> Vec<Option<(Encoding, Vec<u8>)>> {
    let mut shared = help.begin(batch);
    while from.is_some_and(|from| !shared.batch().groups[from].is_taken.load(Ordering::Relaxed)) {
        thread::yield_now();
    }
    let mut compressor = Compressor::new();
    let count = shared.batch().groups.len();
    let group = |index| {
        let stored = shared.compressed(index, &mut compressor)?;
        Some((stored.encoding, stored.bytes.to_vec()))
    };
    (0..count).map(group).collect()
}

#[test]
fn what_is_stored_does_not_depend_on_who_compresses() {
    let entries = mixed(203);
    let batches = || entries.chunks(40).map(|entries| divided(entries, 3));
    let alone: Vec<_> = batches().map(|batch| compressed(&mut Help::new(None), batch, None)).collect();
    let encodings: Vec<_> = alone.concat().into_iter().map(|stored| stored.map(|(encoding, _)| encoding)).collect();
    let all = [None, Some(Encoding::Lz4), Some(Encoding::Zstd)];
    assert!(all.iter().all(|encoding| encodings.contains(encoding)), "{encodings:?}");
    let zstd_group = |batch: &Batch<'_>, from: usize| {
        let groups = batch.groups[from..].iter().position(|group| group.is_slow());
        groups.map(|group| from + group)
    };
    for from in [None, Some(0), Some(6)] {
        let together: Vec<_> = thread::scope(|scope| {
            let mut help = Help::new(Some(scope));
            batches()
                .map(|batch| {
                    // The last batch is too small for two.
                    let from = from.filter(|_| batch.slow_groups(0) > 4).and_then(|from| zstd_group(&batch, from));
                    compressed(&mut help, batch, from)
                })
                .collect()
        });
        assert!(together == alone, "the helper comes to {from:?}");
    }
}

#[test]
fn a_job_that_gives_up_leaves_no_helper_behind() {
    // The scope waits for the helper, which would wait for ever if it were not told.
    let entries: Vec<_> = (0..200).map(raw).collect();
    thread::scope(|scope| {
        let mut help = Help::new(Some(scope));
        let mut shared = help.begin(divided(&entries, 2));
        shared.compressed(0, &mut Compressor::new());
    });
}

#[test]
fn only_what_is_adjacent_new_and_raw_goes_into_one_group() {
    let entries = [raw(0), raw(1), packed(2), raw(3), entry(4, Content::Zero), raw(5), raw(6), raw(7), raw(9), raw(10)];
    let mut batch = Batch::new(&entries);
    let mut verdicts = [Verdict::New; 9];
    verdicts[6] = Verdict::Stored(Location { segment: SegmentId(1), slot: Slot(1) });
    batch.divide(&verdicts, GROUP_BLOCKS_MAX, zstd);
    let groups: Vec<_> = batch.groups.iter().map(|group| group.blocks.clone()).collect();
    assert_eq!(groups, [0..2, 2..3, 3..4, 4..6, 7..9]);
    let mut compressor = Compressor::new();
    assert_eq!(batch.compress(&batch.groups[1], &mut compressor), None, "it is packed already");
    let stored = batch.compress(&batch.groups[0], &mut compressor).expect("text gets smaller");
    let mut decoded = [0; 2 * BLOCK_BYTES];
    Decompressor::new().decode(stored, &mut decoded).unwrap();
    assert!(decoded[..] == [content(0), content(1)].concat());
}
