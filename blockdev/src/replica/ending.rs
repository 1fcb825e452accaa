//! That a replica is to end, for those who wait for something that may never come.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Set once, when the replica is to end.
#[derive(Default)]
pub(super) struct Ending {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Ending {
    /// The replica ends.
    pub(super) fn set(&self) {
        *self.is_set.lock() = true;
        self.changed.notify_all();
    }

    /// Waits for a while; true if the replica ends.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let mut is_set = self.is_set.lock();
        self.changed.wait_while_for(&mut is_set, |is_set| !*is_set, timeout);
        *is_set
    }
}
