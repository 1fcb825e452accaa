use std::sync::Arc;

use super::*;
use crate::fingerprint::fingerprint_blocks;
use crate::id::BLOCK_BYTES;
use crate::page_cache::PageCache;
use crate::segment::tests::{STORE, block, identity, write_segment};
use crate::test_device::TestDevice;

struct Fixture {
    device: Arc<TestDevice>,
    segments: Segments,
    index: FingerprintIndex,
}

impl Fixture {
    fn new() -> Self {
        let device = TestDevice::new();
        let segments = Segments::new(device.clone(), STORE, Arc::new(PageCache::new(1 << 20)), 8);
        Self { device, segments, index: FingerprintIndex::new(1 << 16) }
    }

    /// A segment of blocks `numbers`, of which every `indexed`th is in the index.
    fn store(&self, id: u32, numbers: std::ops::Range<u64>, indexed: usize) {
        let blocks: Vec<_> = numbers.clone().map(block).collect();
        let summary = write_segment(self.device.clone(), identity(id), &blocks);
        self.segments.learn(&summary);
        for (slot, fingerprint) in fingerprints(numbers).iter().enumerate().step_by(indexed) {
            self.index.insert(fingerprint, at(id, slot as u16));
        }
    }

    fn dedupe(&self) -> Dedupe<'_, impl Fn(SegmentId) -> bool> {
        Dedupe::new(&self.index, &self.segments, |id| self.segments.knows(id))
    }
}

fn fingerprints(numbers: impl Iterator<Item = u64>) -> Vec<Fingerprint> {
    let blocks: Vec<[u8; BLOCK_BYTES]> = numbers.map(block).collect();
    let mut out = vec![Fingerprint([0; 32]); blocks.len()];
    fingerprint_blocks(&blocks.iter().collect::<Vec<_>>(), &mut out);
    out
}

fn at(segment: u32, slot: u16) -> Location {
    Location { segment: SegmentId(segment), slot: Slot(slot) }
}

#[test]
fn new_blocks_are_new_and_repeat_within_a_batch() {
    let fixture = Fixture::new();
    let mut dedupe = fixture.dedupe();
    let batch = fingerprints([1, 2, 1, 2, 3].into_iter());
    let new = Verdict::New;
    assert_eq!(dedupe.look_up(&batch), [new, new, Verdict::SameAs(0), Verdict::SameAs(1), new]);
    dedupe.appended(batch[0], at(9, 0));
    assert_eq!(dedupe.look_up(&batch[..1]), [Verdict::Stored(at(9, 0))], "a later batch finds what was appended");
    assert_eq!(dedupe.own().collect::<Vec<_>>(), [(&batch[0], at(9, 0))]);
}

#[test]
fn a_stream_is_followed_from_its_first_hit() {
    let fixture = Fixture::new();
    fixture.store(1, 0..600, 600);
    let reads = || fixture.device.reads.load(std::sync::atomic::Ordering::Relaxed);
    let mut dedupe = fixture.dedupe();
    let before = reads();
    let verdicts = dedupe.look_up(&fingerprints(0..600));
    let expected: Vec<_> = (0..600).map(|slot| Verdict::Stored(at(1, slot))).collect();
    assert_eq!(verdicts, expected);
    assert_eq!(dedupe.counts(), DedupeCounts { indexed: 1, predicted: 599, ..DedupeCounts::default() });
    assert_eq!(reads() - before, 2, "the first page, then 64 KiB");
}

#[test]
fn a_changed_block_does_not_end_a_stream() {
    let fixture = Fixture::new();
    fixture.store(1, 0..100, 100);
    let mut dedupe = fixture.dedupe();
    let verdicts = dedupe.look_up(&fingerprints((0..50).chain([1000]).chain(51..100)));
    assert_eq!(verdicts[50], Verdict::New);
    assert_eq!(verdicts[51], Verdict::Stored(at(1, 51)));
    assert_eq!(dedupe.counts().new, 1);
}

#[test]
fn the_end_of_a_stream_stops_the_prediction() {
    let fixture = Fixture::new();
    fixture.store(1, 0..10, 10);
    let mut dedupe = fixture.dedupe();
    assert_eq!(dedupe.look_up(&fingerprints(0..60)).iter().filter(|verdict| **verdict == Verdict::New).count(), 50);
    assert!(dedupe.predicted.is_none());
}

#[test]
fn blocks_before_a_hook_are_found_backwards() {
    let fixture = Fixture::new();
    fixture.store(1, 0..64, 64);
    let hook = fingerprints(40..41)[0];
    fixture.index.remove(&fingerprints(0..1)[0], at(1, 0));
    fixture.index.insert(&hook, at(1, 40));
    let mut dedupe = fixture.dedupe();
    let batch = fingerprints([2000, 20].into_iter().chain(20..64));
    let verdicts = dedupe.look_up(&batch);
    assert_eq!(verdicts[0], Verdict::New);
    // Block 20 came twice: the search backwards from 40 ends at the second, which only repeats the first.
    assert_eq!(verdicts[1..4], [Verdict::New, Verdict::SameAs(1), Verdict::Stored(at(1, 21))]);
    assert!((3..46).all(|index| verdicts[index] == Verdict::Stored(at(1, index as u16 + 18))));
}

#[test]
fn repeats_of_a_block_found_backwards_are_found_too() {
    let fixture = Fixture::new();
    fixture.store(1, 0..64, 64);
    fixture.index.remove(&fingerprints(0..1)[0], at(1, 0));
    fixture.index.insert(&fingerprints(3..4)[0], at(1, 3));
    let batch = fingerprints([0, 1, 2, 3, 0].into_iter());
    let verdicts = fixture.dedupe().look_up(&batch);
    assert_eq!(verdicts[0], Verdict::Stored(at(1, 0)));
    assert_eq!(verdicts[4], Verdict::Stored(at(1, 0)));
}

#[test]
fn stale_missing_and_damaged_segments_are_no_candidates() {
    let fixture = Fixture::new();
    fixture.store(1, 0..10, 1);
    fixture.store(2, 100..110, 1);
    let other = fingerprints(500..501)[0];
    fixture.index.insert(&other, at(1, 3));
    fixture.index.insert(&other, at(1, 60_000));
    fixture.index.insert(&other, at(77, 0));
    fixture.segments.forget(SegmentId(1));
    let file = fixture.device.file(&crate::segment::path(SegmentId(2)));
    file.edit(|bytes| bytes[4096..].fill(0xee));
    let all: Vec<_> = fingerprints((0..10).chain(100..110).chain(500..501));
    let everything = |_: SegmentId| true;
    assert!(fixture.dedupe().look_up(&all).iter().all(|verdict| *verdict == Verdict::New));
    let mut careless = Dedupe::new(&fixture.index, &fixture.segments, everything);
    let verdicts = careless.look_up(&all[10..]);
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::New), "never an error, never a wrong location");
}
