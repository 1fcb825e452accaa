//! What connections did, counted: operations, bytes, failures and latencies, each by kind of request.
//!
//! Every [`Counters`] has one writing thread, so adding is a plain load and store; readers see each number whole, but
//! not all numbers of the same moment.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// A kind of request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Kind {
    /// READ.
    Read,
    /// WRITE.
    Write,
    /// WRITE_ZEROES.
    Zero,
    /// TRIM.
    Trim,
    /// FLUSH.
    Flush,
    /// CACHE.
    Cache,
    /// BLOCK_STATUS.
    Status,
}

impl Kind {
    /// All kinds, in the order of [`Counters::kinds`].
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Write, Self::Zero, Self::Trim, Self::Flush, Self::Cache, Self::Status];
}

/// Upper bounds of the latency buckets, in microseconds, inclusive; a last bucket holds what was slower.
pub const LATENCY_BOUNDS_US: [u64; 9] = [16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576];

/// Counts of one kind of request.
#[derive(Debug, Default)]
pub struct KindCounters {
    /// Requests answered, failed ones included.
    pub ops: AtomicU64,
    /// Bytes asked for by the requests that succeeded.
    pub bytes: AtomicU64,
    /// Requests answered with an error.
    pub errors: AtomicU64,
    /// Sum of the latencies, in microseconds.
    pub latency_us_sum: AtomicU64,
    /// Requests by latency, from receipt to the reply's departure; see [`LATENCY_BOUNDS_US`].
    pub latency_buckets: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
}

/// Counts of a connection or an export.
#[derive(Debug, Default)]
pub struct Counters {
    /// By kind, in the order of [`Kind::ALL`].
    pub kinds: [KindCounters; Kind::ALL.len()],
    /// Requests that made no sense: unknown commands or flags, ranges past the end.
    pub refused: AtomicU64,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finished {
    pub(super) kind: Kind,
    pub(super) bytes: u64,
    pub(super) failed: bool,
    pub(super) received_at: Duration,
}

/// Adds without a locked instruction, which one writer does not need.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

impl Counters {
    /// The counts of one kind.
    #[must_use]
    pub fn kind(&self, kind: Kind) -> &KindCounters {
        &self.kinds[kind as usize]
    }

    pub(super) fn record(&self, finished: &Finished, now: Duration) {
        let counters = self.kind(finished.kind);
        let latency_us = u64::try_from(now.saturating_sub(finished.received_at).as_micros()).unwrap_or(u64::MAX);
        add(&counters.ops, 1);
        add(&counters.latency_us_sum, latency_us);
        let bucket = LATENCY_BOUNDS_US.iter().position(|&bound| latency_us <= bound);
        add(&counters.latency_buckets[bucket.unwrap_or(LATENCY_BOUNDS_US.len())], 1);
        if finished.failed {
            add(&counters.errors, 1);
        } else {
            add(&counters.bytes, finished.bytes);
        }
    }

    pub(super) fn record_refused(&self) {
        add(&self.refused, 1);
    }

    /// Adds `other` to `self`. The caller sees to it that nobody else adds to `self` meanwhile.
    pub fn absorb(&self, other: &Self) {
        for (mine, theirs) in self.kinds.iter().zip(&other.kinds) {
            add(&mine.ops, theirs.ops.load(Relaxed));
            add(&mine.bytes, theirs.bytes.load(Relaxed));
            add(&mine.errors, theirs.errors.load(Relaxed));
            add(&mine.latency_us_sum, theirs.latency_us_sum.load(Relaxed));
            for (bucket, more) in mine.latency_buckets.iter().zip(&theirs.latency_buckets) {
                add(bucket, more.load(Relaxed));
            }
        }
        add(&self.refused, other.refused.load(Relaxed));
    }
}
