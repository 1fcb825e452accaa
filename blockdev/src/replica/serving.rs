//! Whether a replica may answer reads now, for many readers to look at without asking its thread.

use std::sync::atomic::{AtomicU64, Ordering};

use net::replication::{Epoch, Tick};

/// What a replica's thread has said last.
#[derive(Debug, Default)]
pub struct Serving {
    /// Until when the lease holds, for all that is known; 0 if there is none.
    until: AtomicU64,
    /// The epoch it serves in.
    epoch: AtomicU64,
    /// The last epoch that began with every member's tail lost.
    loss: AtomicU64,
}

impl Serving {
    /// Reads may be answered until then.
    pub fn set_until(&self, until: Option<Tick>) {
        self.until.store(until.map_or(0, |until| until.0), Ordering::Release);
    }

    /// The volume is served from here on.
    pub fn open(&self, epoch: Epoch, loss: Epoch) {
        self.loss.store(loss.0, Ordering::Release);
        self.epoch.store(epoch.0, Ordering::Release);
    }

    /// The volume is no longer served, whatever the lease says.
    pub fn close(&self) {
        self.until.store(0, Ordering::Release);
    }

    /// Whether a read may begin, or be answered if it has begun.
    #[must_use]
    pub fn serves(&self, now: Tick) -> bool {
        now.0 < self.until.load(Ordering::Acquire)
    }

    /// The epoch it serves in, and the last one that began with a loss.
    #[must_use]
    pub fn epochs(&self) -> (Epoch, Epoch) {
        (Epoch(self.epoch.load(Ordering::Acquire)), Epoch(self.loss.load(Ordering::Acquire)))
    }
}
