//! How long to wait before dialling again.

use std::time::Duration;

use crate::environment::{Rng, random};

/// Doubles from the first pause to the longest. Each pause is drawn from its upper half, so that nodes which lost each
/// other at the same moment do not dial at the same moment.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, next: first }
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next pause.
    pub(super) fn pause(&mut self, rng: &dyn Rng) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        let share = f64::from(u16::from_le_bytes(random(rng))) / f64::from(u16::MAX);
        whole / 2 + (whole / 2).mul_f64(share)
    }
}
