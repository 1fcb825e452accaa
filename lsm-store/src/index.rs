//! The fingerprint index: a hint, in a fixed amount of memory, where a block with a given fingerprint may be.
//!
//! It is never truth: a candidate counts only after the whole fingerprint was compared, so wrong, stale and lost
//! entries cost dedupe ratio and nothing else. That is why entries are written without any lock, why no removal is
//! needed when a segment goes, and why the table may forget.
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

const PAGE_BYTES: usize = 4096;

const PAGE_BUCKETS: usize = PAGE_BYTES / BUCKET_BYTES;

/// The index.
pub struct FingerprintIndex {
    /// Zeroed by the kernel and not touched before it is used: an empty index occupies no memory.
    words: Vec<AtomicU64>,
    /// First word of the first bucket: buckets are cache lines, and 64 of them a page.
    start: usize,
    buckets: usize,
    /// One bit for each page: something was inserted there. Others are not read, either: what the kernel has to give for a read
    /// it has to take back for the first write, on all processors, which costs more than the insertion.
    pages: Vec<AtomicU64>,
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
    /// An empty index of at most `budget_bytes` (and at least one bucket), two pages aside.
    #[must_use]
    pub fn new(budget_bytes: usize) -> Self {
        let buckets = (budget_bytes / BUCKET_BYTES).max(1);
        let zeroed = |count: usize| AtomicU64::new_vec_zeroed(count).expect("the index is allocated");
        let words = zeroed(buckets * BUCKET_ENTRIES + PAGE_BYTES / size_of::<u64>());
        let start = words.as_ptr().align_offset(PAGE_BYTES);
        let pages = zeroed(buckets.div_ceil(PAGE_BUCKETS).div_ceil(u64::BITS as usize));
        Self { words, start, buckets, pages, used: AtomicUsize::new(0) }
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

    /// Adds that the block with `fingerprint` is at `location`. When there is no room, the least useful of the
    /// entries in its two buckets goes, which can be this one.
    pub fn insert(&self, fingerprint: &Fingerprint, location: Location) {
        let probe = self.probe(fingerprint);
        let entry = probe.tag << LOCATION_BITS | location.to_bits();
        let mut empties = [None; 2];
        let mut empty_counts = [0; 2];
        let mut least: Option<(u64, &AtomicU64)> = None;
        for (choice, bucket) in probe.buckets.into_iter().enumerate() {
            if !self.is_used(bucket) {
                empties[choice] = self.bucket(bucket).first();
                empty_counts[choice] = BUCKET_ENTRIES;
                continue;
            }
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
                self.set_used(probe.buckets[choice]);
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
        let words = buckets.iter().filter(|bucket| self.is_used(**bucket)).flat_map(|bucket| self.bucket(*bucket));
        for (found, word) in found.iter_mut().zip(words) {
            *found = word.load(Ordering::Relaxed);
        }
        let matching = found.into_iter().filter(move |entry| entry >> LOCATION_BITS == probe.tag);
        matching.filter_map(|entry| Location::from_bits(entry & ((1 << LOCATION_BITS) - 1)))
    }

    /// Brings the entries of `fingerprints` into the processor's cache, waiting for all of them together: lookups one
    /// after the other wait for memory twice each. A few dozen at a time fit.
    pub fn prefetch(&self, fingerprints: &[Fingerprint]) {
        let buckets = fingerprints.iter().flat_map(|fingerprint| self.probe(fingerprint).buckets);
        let used = buckets.filter(|bucket| self.is_used(*bucket));
        let words = used.map(|bucket| self.bucket(bucket)[0].load(Ordering::Relaxed));
        std::hint::black_box(words.fold(0, |seen, word| seen ^ word));
    }

    /// Removes an entry, if it is there: its block has moved, or was found not to be there.
    pub fn remove(&self, fingerprint: &Fingerprint, location: Location) {
        let probe = self.probe(fingerprint);
        let entry = probe.tag << LOCATION_BITS | location.to_bits();
        let used = probe.buckets.into_iter().filter(|bucket| self.is_used(*bucket));
        for word in used.flat_map(|bucket| self.bucket(bucket)) {
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

    /// False if nothing was ever inserted on the bucket's page.
    fn is_used(&self, bucket: usize) -> bool {
        let (word, bit) = Self::page_bit(bucket);
        self.pages[word].load(Ordering::Relaxed) & bit != 0
    }

    fn set_used(&self, bucket: usize) {
        let (word, bit) = Self::page_bit(bucket);
        if self.pages[word].load(Ordering::Relaxed) & bit == 0 {
            self.pages[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn page_bit(bucket: usize) -> (usize, u64) {
        let page = bucket / PAGE_BUCKETS;
        (page / u64::BITS as usize, 1 << (page % u64::BITS as usize))
    }
}
