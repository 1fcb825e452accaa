//! Blocks in memory as they were written, by location: volumes that share a block share its place in the cache.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use rustc_hash::FxBuildHasher;

use crate::id::{BLOCK_BYTES, Location};

/// Memory of an entry besides its block.
const OVERHEAD_BYTES: u64 = 160;

#[derive(Clone)]
struct Weight;

impl Weighter<u64, Bytes> for Weight {
    fn weight(&self, _: &u64, _: &Bytes) -> u64 {
        BLOCK_BYTES as u64 + OVERHEAD_BYTES
    }
}

/// The cache. Locations are never reused, so an entry is never stale.
pub(super) struct BlockCache {
    blocks: Cache<u64, Bytes, Weight, FxBuildHasher, DefaultLifecycle<u64, Bytes>>,
    missed: Missed,
}

/// Blocks that were missed not long ago: to keep each block that is read once costs a tenth of a random read and
/// displaces what is read again.
struct Missed {
    /// Tags by hash; a newer one takes the place of an older one.
    tags: Box<[AtomicU32]>,
}

impl Missed {
    /// With room for `count` blocks or somewhat more.
    fn new(count: usize) -> Self {
        Self { tags: (0..count.next_power_of_two()).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Notes a miss of a block, or of a group; true if it was missed before.
    fn note(&self, what: (u64, bool)) -> bool {
        let hash = FxBuildHasher.hash_one(what);
        let tag = (hash >> 32) as u32 | 1;
        let place = &self.tags[hash as usize & (self.tags.len() - 1)];
        place.swap(tag, Ordering::Relaxed) == tag
    }
}

impl BlockCache {
    pub(super) fn new(budget_bytes: u64) -> Self {
        let expected = (budget_bytes / (BLOCK_BYTES as u64 + OVERHEAD_BYTES)).max(16) as usize;
        let blocks = Cache::with(expected, budget_bytes, Weight, FxBuildHasher, DefaultLifecycle::default());
        Self { blocks, missed: Missed::new(expected * 2) }
    }

    /// From now on the cache takes no more than this.
    pub(super) fn limit(&self, bytes: u64) {
        self.blocks.set_capacity(bytes);
    }

    pub(super) fn block(&self, location: Location) -> Option<Bytes> {
        self.blocks.get(&location.to_bits())
    }

    /// Notes that a block was not there; true if that happened before not long ago, so that it is worth keeping.
    pub(super) fn was_missed(&self, location: Location) -> bool {
        self.missed.note((location.to_bits(), false))
    }

    /// The same for the group whose first block is at `location`.
    pub(super) fn was_group_missed(&self, location: Location) -> bool {
        self.missed.note((location.to_bits(), true))
    }

    /// Keeps a block, which must have memory of its own: a part of a larger buffer would keep all of it.
    pub(super) fn insert(&self, location: Location, block: Bytes) {
        self.blocks.insert(location.to_bits(), block);
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.blocks.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{SegmentId, Slot};

    #[test]
    fn the_second_miss_of_a_block_is_noticed_and_the_first_as_a_rule_is_not() {
        let cache = BlockCache::new(1 << 20);
        let locations: Vec<_> = (0..200).map(|slot| Location { segment: SegmentId(3), slot: Slot(slot) }).collect();
        assert!(locations.iter().filter(|location| cache.was_missed(**location)).count() < 10);
        assert!(locations.iter().rev().take(50).filter(|location| cache.was_missed(**location)).count() > 40);
    }
}
