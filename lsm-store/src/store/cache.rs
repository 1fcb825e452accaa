//! Blocks in memory as they were written, by location: volumes that share a block share its place in the cache.

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
}

impl BlockCache {
    pub(super) fn new(budget_bytes: u64) -> Self {
        let expected = (budget_bytes / (BLOCK_BYTES as u64 + OVERHEAD_BYTES)).max(16) as usize;
        let blocks = Cache::with(expected, budget_bytes, Weight, FxBuildHasher, DefaultLifecycle::default());
        Self { blocks }
    }

    pub(super) fn block(&self, location: Location) -> Option<Bytes> {
        self.blocks.get(&location.to_bits())
    }

    /// Keeps a block, which must have memory of its own: a part of a larger buffer would keep all of it.
    pub(super) fn insert(&self, location: Location, block: Bytes) {
        self.blocks.insert(location.to_bits(), block);
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.blocks.weight()
    }
}
