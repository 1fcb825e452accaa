use proptest::prelude::*;

use super::*;
use crate::id::{SegmentId, Slot};
use crate::rng::{Rng, SeededRng};

fn fingerprint(rng: &SeededRng) -> Fingerprint {
    let mut bytes = [0; 32];
    rng.fill(&mut bytes);
    Fingerprint(bytes)
}

fn hook(rng: &SeededRng) -> Fingerprint {
    let mut fingerprint = fingerprint(rng);
    fingerprint.0[22] &= !(HOOK_MASK as u8);
    fingerprint
}

fn at(segment: u32, slot: u16) -> Location {
    Location { segment: SegmentId(segment), slot: Slot(slot) }
}

fn finds(index: &FingerprintIndex, fingerprint: &Fingerprint, location: Location) -> bool {
    index.candidates(fingerprint).any(|found| found == location)
}

#[test]
fn finds_what_was_inserted_until_it_is_removed() {
    let (index, rng) = (FingerprintIndex::new(1 << 16), SeededRng::new(1));
    let block = fingerprint(&rng);
    assert_eq!(index.candidates(&block).count(), 0);
    index.insert(&block, at(0, 0));
    index.insert(&block, at(0, 0));
    index.insert(&block, at(u32::MAX, u16::MAX));
    assert_eq!(index.len(), 2);
    assert!(finds(&index, &block, at(0, 0)) && finds(&index, &block, at(u32::MAX, u16::MAX)));
    index.remove(&block, at(0, 0));
    assert_eq!(index.candidates(&block).collect::<Vec<_>>(), [at(u32::MAX, u16::MAX)]);
    assert_eq!(index.len(), 1);
}

#[test]
fn a_zero_tag_is_an_entry_like_any_other() {
    let index = FingerprintIndex::new(1 << 12);
    let zero = Fingerprint([0; 32]);
    index.insert(&zero, at(0, 0));
    assert!(finds(&index, &zero, at(0, 0)));
}

#[test]
fn one_bucket_is_enough_to_work() {
    let (index, rng) = (FingerprintIndex::new(0), SeededRng::new(2));
    assert_eq!(index.capacity(), BUCKET_ENTRIES);
    let block = fingerprint(&rng);
    index.insert(&block, at(3, 3));
    assert_eq!(index.candidates(&block).count(), 1, "both choices are one bucket");
}

#[test]
fn buckets_are_cache_lines() {
    let index = FingerprintIndex::new(1 << 16);
    assert!(index.bucket(0).as_ptr().addr().is_multiple_of(BUCKET_BYTES));
    assert_eq!(index.bucket(index.buckets - 1).len(), BUCKET_ENTRIES);
}

#[test]
fn only_insertions_use_pages() {
    let (index, rng) = (FingerprintIndex::new(1 << 20), SeededRng::new(5));
    let used = || index.pages.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum::<u32>();
    let blocks: Vec<_> = (0..20).map(|_| fingerprint(&rng)).collect();
    index.prefetch(&blocks);
    for block in &blocks {
        assert_eq!(index.candidates(block).count(), 0);
        index.remove(block, at(1, 1));
    }
    assert_eq!(used(), 0);
    assert!(index.bucket(PAGE_BUCKETS).as_ptr().addr().is_multiple_of(PAGE_BYTES), "a bit stands for one page");
    for block in &blocks {
        index.insert(block, at(1, 1));
    }
    assert!((1..=20).contains(&used()));
    assert!(blocks.iter().all(|block| finds(&index, block, at(1, 1))));
    blocks.iter().for_each(|block| index.remove(block, at(1, 1)));
    assert!(index.is_empty() && !blocks.iter().any(|block| finds(&index, block, at(1, 1))));
}

#[test]
fn fills_to_four_fifths_before_it_forgets() {
    let (index, rng) = (FingerprintIndex::new(1 << 18), SeededRng::new(3));
    let count = index.capacity() * 4 / 5;
    let blocks: Vec<_> = (0..count).map(|_| fingerprint(&rng)).collect();
    for (number, block) in blocks.iter().enumerate() {
        index.insert(block, at(number as u32, 0));
    }
    let found = blocks.iter().enumerate().filter(|(number, block)| finds(&index, block, at(*number as u32, 0))).count();
    assert!(found * 1000 >= count * 995, "{found} of {count}");
}

#[test]
fn over_budget_hooks_and_new_segments_stay() {
    let (index, rng) = (FingerprintIndex::new(1 << 16), SeededRng::new(4));
    let capacity = index.capacity() as u32;
    let hooks: Vec<_> = (0..capacity / 32).map(|_| hook(&rng)).collect();
    for block in &hooks {
        index.insert(block, at(1, 0));
    }
    let old: Vec<_> = (0..capacity / 2).map(|_| fingerprint(&rng)).collect();
    for block in old.iter() {
        index.insert(block, at(2, 0));
    }
    let new: Vec<_> = (0..4 * capacity).map(|_| fingerprint(&rng)).collect();
    for (number, block) in new.iter().enumerate() {
        index.insert(block, at(3 + number as u32, 0));
    }
    assert!(hooks.iter().all(|block| finds(&index, block, at(1, 0))), "hooks of the oldest segment are there");
    let plain = |blocks: &[Fingerprint]| -> Vec<_> {
        blocks.iter().copied().filter(|block| !is_hook(block.word(2) >> LOCATION_BITS)).collect()
    };
    assert!(!plain(&old).iter().any(|block| finds(&index, block, at(2, 0))), "the old rest is gone");
    let last = new.len() - capacity as usize / 4;
    let kept = (last..new.len()).filter(|number| finds(&index, &new[*number], at(3 + *number as u32, 0))).count();
    assert!(kept * 100 >= (new.len() - last) * 95, "{kept} of {} newest are there", new.len() - last);
}

proptest! {
    #[test]
    fn a_candidate_was_inserted_under_that_tag(seed in any::<u64>(), count in 1_usize..400) {
        let (index, rng) = (FingerprintIndex::new(4096), SeededRng::new(seed));
        let blocks: Vec<_> = (0..count).map(|_| fingerprint(&rng)).collect();
        for (number, block) in blocks.iter().enumerate() {
            index.insert(block, at(number as u32, 0));
        }
        prop_assert!(index.len() <= index.capacity());
        for block in &blocks {
            for found in index.candidates(block) {
                let other = &blocks[found.segment.0 as usize];
                prop_assert_eq!(index.probe(other).tag, index.probe(block).tag);
            }
        }
    }
}
