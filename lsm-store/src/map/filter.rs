//! A Bloom filter of a run's keys: tells for most blocks that the run does not know them, without reading a page.
//!
//! Blocked: all bits of a key lie in one cache line (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom
//! Filters, WEA 2007). Built in memory from the run, never stored, so that it can change without a format change.
//! A stretch of n blocks enters with at most 9 keys: it is cut into aligned pieces of the largest power of 8
//! up to n blocks, and a lookup asks for its block at each power that the run used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Key, Stretch};

/// Bits a key; about 2 % of absent keys are let through.
const BITS_PER_KEY: usize = 9;
const BITS_SET: u32 = 6;
const LINE_BITS: usize = 512;

/// Memory that all filters share; a filter gives its share back when dropped.
#[derive(Debug)]
pub(super) struct FilterBudget {
    limit: u64,
    used: AtomicU64,
}

impl FilterBudget {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    /// Takes `bytes`, unless that exceeds what runs of this level may use: a quarter is kept for the two upper levels,
    /// whose filters save most for their size.
    fn take(&self, bytes: u64, level: u8) -> bool {
        let limit = if level < 2 { self.limit } else { self.limit / 4 * 3 };
        let update = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).is_ok()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// The keys of a run on their way into a filter: 8 bytes a key.
#[derive(Default)]
pub(super) struct FilterKeys {
    hashes: Vec<u64>,
    scales: u32,
    /// Where the stretch before began.
    last: Option<Key>,
}

impl FilterKeys {
    /// Adds all blocks of a stretch; other versions of the stretch before add nothing.
    pub(super) fn add(&mut self, stretch: &Stretch) {
        if self.last.replace(stretch.key()) == Some(stretch.key()) {
            return;
        }
        let scale = stretch.count.ilog2() / 3;
        self.scales |= 1 << scale;
        let (first, last) = (stretch.first.0 >> (3 * scale), (stretch.end().0 - 1) >> (3 * scale));
        self.hashes.extend((first..=last).map(|piece| hash(stretch.family.0, piece, scale)));
    }

    /// The filter, if the budget has room for it.
    pub(super) fn build(self, budget: &Arc<FilterBudget>, level: u8) -> Option<Filter> {
        let lines = (self.hashes.len() * BITS_PER_KEY).div_ceil(LINE_BITS).max(1);
        let bytes = (lines * LINE_BITS / 8) as u64;
        budget.take(bytes, level).then(|| {
            let mut filter = Filter { lines: vec![[0; 8]; lines], scales: self.scales, budget: budget.clone(), bytes };
            self.hashes.iter().for_each(|hash| filter.insert(*hash));
            filter
        })
    }
}

/// The filter of a run.
pub(super) struct Filter {
    lines: Vec<[u64; 8]>,
    scales: u32,
    budget: Arc<FilterBudget>,
    bytes: u64,
}

impl Filter {
    /// False only if the run has no entry for `key` (ranges aside).
    pub(super) fn may_contain(&self, key: Key) -> bool {
        let mut scales = self.scales;
        while scales != 0 {
            let scale = scales.trailing_zeros();
            if self.contains(hash(key.family.0, key.block.0 >> (3 * scale), scale)) {
                return true;
            }
            scales &= scales - 1;
        }
        false
    }

    fn line_of(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.lines.len() as u128) >> 64) as usize
    }

    fn insert(&mut self, hash: u64) {
        let line = self.line_of(hash);
        bits_of(hash).for_each(|bit| self.lines[line][bit >> 6] |= 1 << (bit & 63));
    }

    fn contains(&self, hash: u64) -> bool {
        let line = &self.lines[self.line_of(hash)];
        bits_of(hash).all(|bit| line[bit >> 6] >> (bit & 63) & 1 == 1)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The bits of a key in its line: 9 bits of a second mix for each.
fn bits_of(hash: u64) -> impl Iterator<Item = usize> {
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash >> 29;
    (0..BITS_SET).map(move |at| (mixed >> (at * 9 + 1)) as usize & (LINE_BITS - 1))
}

/// Mixes an address; the two rounds are those of SplitMix64.
fn hash(family: u64, piece: u64, scale: u32) -> u64 {
    let mut bits = piece ^ family.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ u64::from(scale) << 60;
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests;
