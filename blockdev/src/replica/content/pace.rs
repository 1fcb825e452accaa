//! How fast content is sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lsm_store::clock::Clock;
use parking_lot::Mutex;

use super::error::SendError;

/// What was not used before may be made up for by this much time.
const BURST: Duration = Duration::from_millis(20);

/// A pause is made of pieces no longer than this, so that it ends soon when the transfer is cancelled.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// How fast to send, and how much at once.
#[derive(Clone, Copy)]
pub struct Pace<'a> {
    /// Blocks in one question, 1 to 256.
    pub blocks_at_once: usize,
    /// Questions with blocks under way at once, while one more asks what is lacking further on; 0 asks one question after the
    /// other, in the caller's thread.
    pub questions_at_once: usize,
    /// Shared by all that together may be only so fast; no limit if `None`.
    pub throttle: Option<&'a Throttle>,
    /// What the rate is measured by.
    pub clock: &'a dyn Clock,
    /// Asked before each question: `true` ends the transfer.
    pub is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Pace<'a> {
    /// As fast as the receiver answers, with some 3 MiB of memory.
    #[must_use]
    pub fn new(clock: &'a dyn Clock) -> Self {
        Self { blocks_at_once: 128, questions_at_once: 2, throttle: None, clock, is_cancelled: &|| false }
    }
}

/// A rate that can be changed while it is kept.
#[derive(Debug, Default)]
pub struct Throttle {
    /// Bytes a second that questions may take on the wire; 0 for no limit.
    rate_bytes: AtomicU64,
    /// When all that was asked will have been paid for.
    paid_at: Mutex<Duration>,
}

impl Throttle {
    /// So many bytes a second from now on; no limit if 0.
    pub fn set(&self, rate_bytes: u64) {
        if self.rate_bytes.swap(rate_bytes, Ordering::Relaxed) != rate_bytes {
            // What was asked at another rate is not paid for at this one.
            *self.paid_at.lock() = Duration::ZERO;
        }
    }

    /// Pays for so many bytes now, and tells how long to wait for it.
    fn take(&self, bytes: usize, now: Duration) -> Duration {
        let rate_bytes = self.rate_bytes.load(Ordering::Relaxed);
        if rate_bytes == 0 {
            return Duration::ZERO;
        }
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate_bytes);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid_at = self.paid_at.lock();
        *paid_at = (*paid_at).max(now.saturating_sub(BURST)).saturating_add(cost);
        paid_at.saturating_sub(now)
    }
}

/// Where questions wait for their turn.
pub(super) struct Gate<'a> {
    pace: Pace<'a>,
}

impl<'a> Gate<'a> {
    pub(super) fn new(pace: Pace<'a>) -> Self {
        Self { pace }
    }

    /// Waits until a question of so many bytes may be asked, or the rate is another.
    pub(super) fn pass(&self, bytes: usize) -> Result<(), SendError> {
        let rate = || self.pace.throttle.map(|throttle| throttle.rate_bytes.load(Ordering::Relaxed));
        let (before, now) = (rate(), self.pace.clock.monotonic());
        let mut left = self.pace.throttle.map_or(Duration::ZERO, |throttle| throttle.take(bytes, now));
        loop {
            self.check()?;
            if left.is_zero() || rate() != before {
                return Ok(());
            }
            let pause = left.min(PAUSE_MAX);
            self.pace.clock.sleep(pause);
            left -= pause;
        }
    }

    /// Ends a transfer that was cancelled.
    pub(super) fn check(&self) -> Result<(), SendError> {
        if (self.pace.is_cancelled)() { Err(SendError::Cancelled) } else { Ok(()) }
    }
}
