//! Back-pressure: writers are slowed down early and smoothly, by how much is waiting to be flushed and by how little room
//! collection has left them, and stopped only at the very end, so that no write meets a wall.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Delay per byte written when the debt reaches its limit: 4 KiB at 40 MB/s.
const DELAY_NS_PER_KIB_MAX: f64 = 25_000.0;

/// Writers who have to wait for room get on at this part of twice the pace of collection at least.
const ROOM_SHARE_MIN: f64 = 1.0 / 16.0;

/// Owed delays are paid in sleeps of at least this much: shorter ones cost more than they say.
const SLEEP_MIN: Duration = Duration::from_micros(300);

/// And at most this much at a time.
const SLEEP_MAX: Duration = Duration::from_millis(10);

/// How long a writer that has accumulated `debt` bytes out of `limit` is delayed for `bytes` more: nothing below half
/// the limit, then growing with the square.
pub(super) fn delay(debt: u64, limit: u64, bytes: u64) -> Duration {
    let start = limit / 2;
    if debt <= start {
        return Duration::ZERO;
    }
    let share = ((debt - start) as f64 / (limit - start) as f64).min(1.0);
    Duration::from_nanos((share * share * DELAY_NS_PER_KIB_MAX * (bytes as f64 / 1024.0)) as u64)
}

/// How long a writer is delayed for `bytes` when `left` bytes of room are left and collection gives back `gain` bytes a
/// second: nothing from `low` bytes up, below so that room and writers come to a balance halfway.
pub(super) fn room_delay(left: u64, low: u64, gain: u64, bytes: u64) -> Duration {
    if gain == 0 || left >= low {
        return Duration::ZERO;
    }
    let share = (left as f64 / low as f64).max(ROOM_SHARE_MIN);
    Duration::from_secs_f64(bytes as f64 / (2.0 * share * gain as f64))
}

/// What is waiting to be flushed, in bytes of memory.
#[derive(Debug)]
pub(super) struct Pace {
    limit: u64,
    /// Accepted and still in memory.
    held: AtomicU64,
    /// Of these, already worked off by the running flush job.
    progress: AtomicU64,
    owed_ns: AtomicU64,
    stopped: AtomicBool,
    turn: Mutex<()>,
    released: Condvar,
}

impl Pace {
    /// Writers stop when `limit` bytes are held.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            held: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            owed_ns: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            turn: Mutex::new(()),
            released: Condvar::new(),
        }
    }

    /// What may be held.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes held.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// True if `bytes` more would go over the limit.
    pub(super) fn is_full(&self, bytes: u64) -> bool {
        self.held() + bytes > self.limit
    }

    /// True if writers are being slowed down: what can wait should.
    pub(super) fn is_pressed(&self) -> bool {
        self.held().saturating_sub(self.progress.load(Ordering::Relaxed)) > self.limit / 2
    }

    /// Holds `bytes` if there is room for them.
    #[must_use]
    pub(super) fn try_hold(&self, bytes: u64) -> bool {
        let more = |held: u64| Some(held + bytes).filter(|held| *held <= self.limit);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Holds `bytes` whether or not there is room.
    pub(super) fn hold(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How long a writer who now holds `bytes` more, and owes `more` for other reasons, has to pause, if at all.
    pub(super) fn pause(&self, bytes: u64, more: Duration) -> Option<Duration> {
        let debt = self.held().saturating_sub(self.progress.load(Ordering::Relaxed));
        let delay = delay(debt, self.limit, bytes) + more;
        if delay.is_zero() {
            return None;
        }
        let owed = self.owed_ns.fetch_add(delay.as_nanos() as u64, Ordering::Relaxed) + delay.as_nanos() as u64;
        if owed < SLEEP_MIN.as_nanos() as u64 {
            return None;
        }
        let owed = self.owed_ns.swap(0, Ordering::Relaxed);
        Some(Duration::from_nanos(owed).min(SLEEP_MAX))
    }

    /// Reports that the running flush job has worked off `bytes` that are still held.
    pub(super) fn progressed(&self, bytes: u64) {
        self.progress.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The running flush job has failed and will be done again from the start.
    pub(super) fn restart_progress(&self) {
        self.progress.store(0, Ordering::Relaxed);
    }

    /// Releases what a finished flush job held; its progress ends.
    pub(super) fn release(&self, bytes: u64) {
        self.progress.store(0, Ordering::Relaxed);
        self.give_back(bytes);
    }

    /// Gives back what was held for a write that was not placed.
    pub(super) fn give_back(&self, bytes: u64) {
        let before = self.held.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "no more is released than was held");
        let _turn = self.turn.lock();
        self.released.notify_all();
    }

    /// Blocks until there is room for `bytes`, the store has stopped, or `timeout` has passed.
    pub(super) fn wait_for_room(&self, bytes: u64, timeout: Duration) {
        let mut turn = self.turn.lock();
        if self.is_full(bytes) && !self.stopped.load(Ordering::Acquire) {
            self.released.wait_for(&mut turn, timeout);
        }
    }

    /// Wakes every waiter for good.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let _turn = self.turn.lock();
        self.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_keep_pace_with_collection_at_half_of_the_low_mark() {
        let gain = 100 << 20;
        assert_eq!(room_delay(1000, 1000, gain, 4096), Duration::ZERO);
        assert_eq!(room_delay(0, 1000, 0, 4096), Duration::ZERO, "collection would not help");
        assert_eq!(room_delay(500, 1000, gain, gain), Duration::from_secs(1));
        let (less, least) = (room_delay(250, 1000, gain, gain), room_delay(0, 1000, gain, gain));
        assert_eq!((less, least), (Duration::from_secs(2), Duration::from_secs(8)));
    }
}
