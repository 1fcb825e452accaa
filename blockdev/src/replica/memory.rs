//! Memory of all replicas of a node: a part of its one budget, which the cache of blocks does without.
//!
//! Most of it is for records that are in no store yet. They share it, so that one volume that is written to has all of it; and
//! each has a part that the others cannot take, so that all of them go on.

use std::sync::atomic::{AtomicU64, Ordering};

use net::replication::Windows;

/// Of the budget, in percent.
const SHARE_PERCENT: u64 = 10;

/// What one replica may hold of records whatever the others hold: one of the longest, and one that comes behind it.
pub const FLOOR_BYTES: u64 = 2 << 20;

/// What one replica holds at most, if clients do not flush.
const OWN_BYTES_USUAL: u64 = 16 << 20;

/// The least that a primary keeps for peers that lag a little. They get older records from the log.
const RECENT_BYTES_MIN: u64 = 128 << 10;

/// What replicas hold.
#[derive(Debug)]
pub struct Memory {
    limit_bytes: u64,
    held_bytes: AtomicU64,
}

impl Default for Memory {
    /// That of a budget of 1 GiB.
    fn default() -> Self {
        Self::of_budget(1 << 30)
    }
}

impl Memory {
    /// The share of replicas in a node's budget.
    #[must_use]
    pub fn of_budget(total_bytes: u64) -> Self {
        Self { limit_bytes: total_bytes / 100 * SHARE_PERCENT, held_bytes: AtomicU64::new(0) }
    }

    /// What is taken from the rest of the budget.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// What is held now, by records that are in no store.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// For records; the rest is for what primaries keep for their peers.
    fn records_bytes(&self) -> u64 {
        self.limit_bytes / 4 * 3
    }

    /// Somebody holds `after` bytes instead of `before`.
    pub(super) fn note(&self, before: u64, after: u64) {
        if after >= before {
            self.held_bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.held_bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// True if a replica that holds `own` takes nothing more.
    pub(super) fn is_over(&self, own: u64) -> bool {
        own > FLOOR_BYTES && self.held_bytes() > self.records_bytes()
    }

    /// True if clients of a replica that holds `own` wait.
    pub(super) fn is_half_full(&self, own: u64) -> bool {
        own > FLOOR_BYTES / 2 && self.held_bytes() > self.records_bytes() / 2
    }

    /// True if a replica that holds `own` has all members sync, so that it gets rid of some of it.
    pub(super) fn is_filling(&self, own: u64) -> bool {
        own > FLOOR_BYTES / 2 && (own > OWN_BYTES_USUAL || self.held_bytes() > self.records_bytes() / 4)
    }

    /// What each of `count` replicas may hold otherwise.
    #[must_use]
    pub fn windows(&self, count: usize) -> Windows {
        let usual = Windows::DEFAULT;
        let recent_bytes = (self.limit_bytes / 4 / count.max(1) as u64).clamp(RECENT_BYTES_MIN, usual.recent_bytes);
        let in_flight_bytes = (2 * recent_bytes).min(usual.in_flight_bytes);
        Windows { recent_bytes, in_flight_bytes, ..usual }
    }
}

#[cfg(test)]
mod tests;
