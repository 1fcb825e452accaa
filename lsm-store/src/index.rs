//! The fingerprint index: a hint, in a fixed amount of memory, where a block with a given fingerprint may be.
//!
//! It is never truth: a candidate counts only after the whole fingerprint was compared, so wrong, stale and lost entries
//! cost dedupe ratio and nothing else. That is why entries are written without any lock, why no removal is needed
//! when a segment goes, and why the table may forget.
//!
//! 64-byte buckets hold eight entries of a 16-bit tag and a 48-bit location; a fingerprint has two buckets. One in 32
//! fingerprints is a *hook*. When both buckets are full, hooks stay longest and older segments go first: a segment of
//! which only hooks are left is still found by them, and the blocks around a hook by looking at its neighbours
//! ([`crate::dedupe`]). Source: sparse indexing (Lillibridge et al., FAST 2009) and the locality cache of Zhu et al.
//! (FAST 2008).

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use zerocopy::FromZeros;

use crate::fingerprint::Fingerprint;
use crate::id::Location;

/// Entries in a bucket, one cache line.
const BUCKET_ENTRIES: usize = 8;

const BUCKET_BYTES: usize = BUCKET_ENTRIES * size_of::<u64>();

const LOCATION_BITS: u32 = 48;

/// A fingerprint is a hook if these bits of its tag are zero: one in 32.
const HOOK_MASK: u64 = 31;

/// An entry that holds nothing. No tag is zero.
const EMPTY: u64 = 0;

/// The index.
pub struct FingerprintIndex {
    /// Zeroed by the kernel and not touched before it is used: an empty index occupies no memory.
    words: Vec<AtomicU64>,
    /// First word of the first bucket: buckets are cache lines.
    start: usize,
    buckets: usize,
    used: AtomicUsize,
}

/// Where a fingerprint's entries are, and what they look like.
#[derive(Clone, Copy)]
struct Probe {
    buckets: [usize; 2],
    tag: u64,
}

fn is_hook(tag: u64) -> bool {
    tag & HOOK_MASK == 0
}

/// Order in which entries of full buckets go: the lowest first.
fn rank(entry: u64) -> u64 {
    let location = entry & ((1 << LOCATION_BITS) - 1);
    u64::from(is_hook(entry >> LOCATION_BITS)) << LOCATION_BITS | location
}

impl FingerprintIndex {
    /// An empty index of at most `budget_bytes` (and at least one bucket).
    #[must_use]
    pub fn new(budget_bytes: usize) -> Self {
        let buckets = (budget_bytes.saturating_sub(BUCKET_BYTES) / BUCKET_BYTES).max(1);
        let words = AtomicU64::new_vec_zeroed((buckets + 1) * BUCKET_ENTRIES).expect("the index is allocated");
        let start = words.as_ptr().align_offset(BUCKET_BYTES);
        Self { words, start, buckets, used: AtomicUsize::new(0) }
    }

    /// How many entries fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buckets * BUCKET_ENTRIES
    }

    /// How many there are, about.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds that the block with `fingerprint` is at `location`. When there is no room, the least useful of the entries in
    /// its two buckets goes, which can be this one.
    pub fn insert(&self, fingerprint: &Fingerprint, location: Location) {
        let probe = self.probe(fingerprint);
        let entry = probe.tag << LOCATION_BITS | location.to_bits();
        let mut empties = [None; 2];
        let mut empty_counts = [0; 2];
        let mut least: Option<(u64, &AtomicU64)> = None;
        for (choice, bucket) in probe.buckets.into_iter().enumerate() {
            for word in self.bucket(bucket) {
                let found = word.load(Ordering::Relaxed);
                if found == entry {
                    return;
                }
                if found == EMPTY {
                    empties[choice] = Some(word);
                    empty_counts[choice] += 1;
                } else if least.is_none_or(|(least, _)| rank(found) < least) {
                    least = Some((rank(found), word));
                }
            }
        }
        // The emptier of two choices keeps the buckets even (Azar et al., Balanced Allocations, STOC 1994).
        let choice = usize::from(empty_counts[1] > empty_counts[0]);
        match (empties[choice], least) {
            (Some(word), _) => {
                word.store(entry, Ordering::Relaxed);
                self.used.fetch_add(1, Ordering::Relaxed);
            }
            (None, Some((least, word))) if least < rank(entry) => word.store(entry, Ordering::Relaxed),
            (None, _) => {}
        }
    }

    /// Locations at which the block with `fingerprint` may be: mostly none or one, at most 16.
    pub fn candidates(&self, fingerprint: &Fingerprint) -> impl Iterator<Item = Location> + '_ {
        let probe = self.probe(fingerprint);
        let buckets = if probe.buckets[0] == probe.buckets[1] { &probe.buckets[..1] } else { &probe.buckets[..] };
        let mut found = [EMPTY; 2 * BUCKET_ENTRIES];
        let words = buckets.iter().flat_map(|bucket| self.bucket(*bucket));
        for (found, word) in found.iter_mut().zip(words) {
            *found = word.load(Ordering::Relaxed);
        }
        let matching = found.into_iter().filter(move |entry| entry >> LOCATION_BITS == probe.tag);
        matching.filter_map(|entry| Location::from_bits(entry & ((1 << LOCATION_BITS) - 1)))
    }

    /// Removes an entry, if it is there: its block has moved, or was found not to be there.
    pub fn remove(&self, fingerprint: &Fingerprint, location: Location) {
        let probe = self.probe(fingerprint);
        let entry = probe.tag << LOCATION_BITS | location.to_bits();
        for word in probe.buckets.into_iter().flat_map(|bucket| self.bucket(bucket)) {
            if word.compare_exchange(entry, EMPTY, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.used.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn probe(&self, fingerprint: &Fingerprint) -> Probe {
        let bucket = |word: u64| ((u128::from(word) * self.buckets as u128) >> 64) as usize;
        let tag = fingerprint.word(2) >> LOCATION_BITS;
        // An empty entry has no tag; 32 is as good a hook as 0.
        let tag = if tag == 0 { HOOK_MASK + 1 } else { tag };
        Probe { buckets: [bucket(fingerprint.word(0)), bucket(fingerprint.word(1))], tag }
    }

    fn bucket(&self, bucket: usize) -> &[AtomicU64] {
        let first = self.start + bucket * BUCKET_ENTRIES;
        &self.words[first..first + BUCKET_ENTRIES]
    }
}
