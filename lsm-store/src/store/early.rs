//! Early writeback: while somebody asks for syncs, what goes into the journal goes on to the disk at once, so that the
//! next sync waits for little. While nobody does, the page cache holds the journal back: most of what is written over
//! soon never reaches the disk there at all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long somebody who has asked for a sync is expected back.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that go to the disk together.
pub(super) const PIECE_BYTES: u64 = 1 << 20;

/// Whether anybody syncs.
#[derive(Default)]
pub(super) struct EarlyWriteback {
    /// On the monotonic clock, in nanoseconds.
    wanted_until: AtomicU64,
}

impl EarlyWriteback {
    /// Somebody has asked for a sync `now`.
    pub(super) fn note_sync(&self, now: Duration) {
        self.wanted_until.fetch_max((now + PATIENCE).as_nanos() as u64, Ordering::Relaxed);
    }

    /// True if a sync may come soon.
    pub(super) fn is_wanted(&self, now: Duration) -> bool {
        (now.as_nanos() as u64) < self.wanted_until.load(Ordering::Relaxed)
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
}
