//! Time that passes only when somebody sleeps.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;

/// The Unix time of a new clock: 2026-01-01 00:00 UTC.
const START: Duration = Duration::from_secs(1_767_225_600);

/// A clock for simulations: sleeping returns at once, that much later.
#[derive(Debug, Default)]
pub struct VirtualClock {
    passed: Mutex<Duration>,
}

impl VirtualClock {
    /// A clock at time 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        *self.passed.lock() += duration;
    }
}

impl Clock for VirtualClock {
    fn monotonic(&self) -> Duration {
        *self.passed.lock()
    }

    fn wall(&self) -> Duration {
        START + self.monotonic()
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}
