//! One memory budget, divided among everything that holds memory.
//!
//! The shares leave a part to the binary, stacks, connection buffers and the allocator's waste, so that the process as
//! a whole stays under the budget.

use crate::error::{Error, Result};
use crate::id::BLOCK_BYTES;

/// The smallest budget the store works with.
pub const MEMORY_BYTES_MIN: u64 = 128 << 20;

/// The budget of a store whose owner names none.
pub const MEMORY_BYTES_DEFAULT: u64 = 1 << 30;

/// Memory by use, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// The whole.
    pub total_bytes: u64,
    /// Accepted writes not yet in segments, all memtables together.
    pub memtable_bytes: u64,
    /// Length of one journal generation, and so of one memtable.
    pub generation_bytes: u64,
    /// Payload of one journal batch at most.
    pub batch_bytes: usize,
    /// The fingerprint index.
    pub index_bytes: u64,
    /// Map and directory pages as they are on disk.
    pub page_cache_bytes: u64,
    /// Run indexes and filters.
    pub run_index_bytes: u64,
    /// Blocks as they were written.
    pub block_cache_bytes: u64,
}

impl Budget {
    /// Divides `total_bytes`.
    ///
    /// # Errors
    /// [`Error::Invalid`] below [`MEMORY_BYTES_MIN`].
    pub fn new(total_bytes: u64) -> Result<Self> {
        if total_bytes < MEMORY_BYTES_MIN {
            return Err(Error::Invalid { what: "the memory budget", must: "at least 128 MiB" });
        }
        Ok(Self::divide(total_bytes))
    }

    /// The same division for any amount: tests run whole stores in a few MiB.
    #[must_use]
    pub fn divide(total_bytes: u64) -> Self {
        let share = |percent: u64| total_bytes / 100 * percent;
        let memtable_bytes = share(24);
        let generation_bytes = (memtable_bytes / 4).next_multiple_of(4096).clamp(64 << 10, 64 << 20);
        Self {
            total_bytes,
            // Two generations at least: one is written while another is flushed.
            memtable_bytes: memtable_bytes.max(generation_bytes * 3),
            generation_bytes,
            batch_bytes: (generation_bytes as usize / 4 / BLOCK_BYTES * BLOCK_BYTES).min(1 << 20),
            index_bytes: share(12),
            page_cache_bytes: share(8),
            run_index_bytes: share(6),
            block_cache_bytes: share(28),
        }
    }
}
