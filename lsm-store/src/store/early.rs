//! Early writeback: while somebody asks for syncs, what goes into the journal goes on to the disk at once, so that the
//! next sync waits for little. While nobody does, the page cache holds the journal back: most of what is written over
//! soon never reaches the disk there at all. Journal files are filled with zeros ahead for the same people.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long somebody who has asked for a sync is expected back.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that go to the disk together.
pub(super) const PIECE_BYTES: u64 = 1 << 20;

/// Whether anybody syncs. Times are of the monotonic clock, in nanoseconds.
#[derive(Default)]
pub(super) struct EarlyWriteback {
    wanted_until: AtomicU64,
    /// Until then more than one sync was asked for.
    repeated_until: AtomicU64,
}

impl EarlyWriteback {
    /// Somebody has asked for a sync `now`. True if that begins a series of them.
    pub(super) fn note_sync(&self, now: Duration) -> bool {
        let (now, until) = (now.as_nanos() as u64, (now + PATIENCE).as_nanos() as u64);
        let is_repeated = self.wanted_until.fetch_max(until, Ordering::Relaxed) > now;
        is_repeated && self.repeated_until.fetch_max(until, Ordering::Relaxed) <= now
    }

    /// True if a sync may come soon.
    pub(super) fn is_wanted(&self, now: Duration) -> bool {
        (now.as_nanos() as u64) < self.wanted_until.load(Ordering::Relaxed)
    }

    /// True if many may come soon: one alone, as at the end of an import, is no reason.
    pub(super) fn is_series(&self, now: Duration) -> bool {
        (now.as_nanos() as u64) < self.repeated_until.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_wanted_for_a_while_after_each_sync() {
        let early = EarlyWriteback::default();
        assert!(!early.is_wanted(Duration::ZERO));
        early.note_sync(Duration::from_secs(5));
        early.note_sync(Duration::from_secs(1));
        assert!(early.is_wanted(Duration::from_secs(34)) && !early.is_wanted(Duration::from_secs(35)));
    }

    #[test]
    fn the_second_sync_begins_a_series() {
        let (early, at) = (EarlyWriteback::default(), Duration::from_secs);
        assert!(!early.note_sync(at(5)) && !early.is_series(at(5)));
        assert!(early.note_sync(at(6)) && early.is_series(at(6)));
        assert!(!early.note_sync(at(7)) && early.is_series(at(36)) && !early.is_series(at(37)));
        assert!(!early.note_sync(at(40)) && early.note_sync(at(41)));
    }
}
