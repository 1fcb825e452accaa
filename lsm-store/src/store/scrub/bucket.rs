//! So many bytes a second, by the clock it is told.

use std::time::Duration;

/// What was not used before may be made up for by this much time.
const BURST: Duration = Duration::from_millis(20);

/// A token bucket.
pub(super) struct Bucket {
    rate_bytes: u64,
    /// When all that was taken will have been paid for.
    paid_at: Duration,
}

impl Bucket {
    /// Lets `rate_bytes` pass a second; at least 1.
    pub(super) fn new(rate_bytes: u64) -> Self {
        Self { rate_bytes: rate_bytes.max(1), paid_at: Duration::ZERO }
    }

    /// Changes the rate for what is taken from now on.
    pub(super) fn set_rate(&mut self, rate_bytes: u64) {
        self.rate_bytes = rate_bytes.max(1);
    }

    /// Takes `bytes` at `now`, and tells how long to wait afterwards.
    pub(super) fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate_bytes);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid_at = self.paid_at.max(now.saturating_sub(BURST)).saturating_add(cost);
        self.paid_at.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_taken_takes_its_time_and_pauses_are_not_saved_up() {
        let mut bucket = Bucket::new(1000);
        let start = 100 * SECOND;
        assert_eq!(bucket.take(2000, start), 2 * SECOND - BURST);
        assert_eq!(bucket.take(500, start + SECOND), SECOND + SECOND / 2 - BURST);
        assert_eq!(bucket.take(1000, start + 100 * SECOND), SECOND - BURST);
        bucket.set_rate(4000);
        assert_eq!(bucket.take(1000, start + 200 * SECOND), SECOND / 4 - BURST);
    }
}
