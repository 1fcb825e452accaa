//! So many bytes a second, by the clock it is told.

use std::time::Duration;

/// What was not used before may be made up for by this much time.
const BURST: Duration = Duration::from_millis(20);

/// More is taken by and by, so that a change of the rate counts at once: what passes in this time, but a page at least.
const SLICES_A_SECOND: u64 = 20;
const SLICE_BYTES_MIN: u64 = 4096;

/// After so many bytes it is others' turn.
const TURN_BYTES: u64 = 1 << 20;

/// A token bucket.
pub(super) struct Bucket {
    rate_bytes: u64,
    /// Bytes since it was others' turn.
    since_turn: u64,
    /// When all that was taken will have been paid for.
    paid_at: Duration,
}

impl Bucket {
    /// Lets `rate_bytes` pass a second; at least 1.
    pub(super) fn new(rate_bytes: u64) -> Self {
        Self { rate_bytes: rate_bytes.max(1), since_turn: 0, paid_at: Duration::ZERO }
    }

    /// Changes the rate for what is taken from now on.
    pub(super) fn set_rate(&mut self, rate_bytes: u64) {
        self.rate_bytes = rate_bytes.max(1);
    }

    /// Takes up to `bytes` at `now`: how many, how long to wait afterwards, and whether it is others' turn.
    pub(super) fn take_some(&mut self, bytes: u64, now: Duration) -> (u64, Duration, bool) {
        let taken = bytes.min((self.rate_bytes / SLICES_A_SECOND).max(SLICE_BYTES_MIN));
        self.since_turn += taken;
        let is_turn = self.since_turn >= TURN_BYTES;
        if is_turn {
            self.since_turn = 0;
        }
        (taken, self.take(taken, now), is_turn)
    }

    /// Takes `bytes` at `now`, and tells how long to wait afterwards.
    fn take(&mut self, bytes: u64, now: Duration) -> Duration {
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

    #[test]
    fn much_is_taken_by_and_by_and_others_have_their_turn_after_each_mebibyte() {
        let mut bucket = Bucket::new(1 << 20);
        let (mut left, mut now, mut turns) = (3 << 20, 100 * SECOND, 0);
        while left > 0 {
            let (taken, wait, is_turn) = bucket.take_some(left, now);
            assert!(taken <= (1 << 20) / SLICES_A_SECOND && wait <= SECOND / 20);
            turns += u32::from(is_turn);
            left -= taken;
            now += wait;
        }
        assert_eq!(turns, 2, "the third is not quite due");
        assert!(((now + BURST).as_secs_f64() - 103.0).abs() < 0.001);
    }
}
