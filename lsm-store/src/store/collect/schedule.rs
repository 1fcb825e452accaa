//! When the store collects by itself: as soon as so much may have died that it is worth a look, and sooner when room runs
//! short.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::CollectReport;
use super::plan::Zeal;
use crate::error::{Error, Result};
use crate::store::BackgroundMode;
use crate::store::inner::{Inner, chain};
use crate::store::pace::room_delay;

/// What may have died must be this part of what is stored, and this much.
const CHANGED_PARTS: u64 = 8;
const CHANGED_BYTES_MIN: u64 = 64 << 20;

/// The same when room is short.
const CHANGED_PARTS_SHORT: u64 = 256;
const CHANGED_BYTES_SHORT: u64 = 1 << 20;

/// Room is short below this part of what is stored, or below this much.
const SHORT_PARTS: u64 = 10;
const SHORT_BYTES: u64 = 256 << 20;

/// Writers are slowed down for want of room below this part of what is stored, or below this much.
const LOW_PARTS: u64 = 16;
const LOW_BYTES: u64 = 128 << 20;

/// What collection is counted on to give back a second at least, as long as there is something to collect.
const GAIN_MIN: u64 = 8 << 20;

/// How long a collection pauses at a time while writers are being slowed down.
pub(super) const GIVE_WAY: Duration = Duration::from_millis(5);

/// How long the store's thread leaves collection alone after it found no room, at first and at most: each try reads the map.
const ROOM_WAIT_MIN: Duration = Duration::from_millis(50);
const ROOM_WAIT_MAX: Duration = Duration::from_secs(10);

/// So often in turn it may find no room before writes that wait for it are refused.
const ROOM_WAITS_HOPEFUL: u32 = 5;

const UNKNOWN: u64 = u64::MAX;

/// What has changed since the last look.
pub(in crate::store) struct Schedule {
    /// Bytes that were deleted, trimmed or zeroed, at most.
    freed_bytes: AtomicU64,
    /// Bytes of segments written before the last look.
    settled_bytes: AtomicU64,
    live_permille: AtomicU64,
    /// Bytes a second that the last batch gave back; 0 if there is nothing to collect.
    gain: AtomicU64,
    /// Writers are slowed down when less room than this is left.
    low_bytes: AtomicU64,
    /// When to try again after there was no room, on the monotonic clock.
    not_before: Mutex<Duration>,
    /// How often in turn there was none.
    without_room: AtomicU32,
    /// The last look was a lazy one: the rest is left for when clients are quiet.
    left_over: AtomicBool,
    /// Room is short: collection waits for nobody.
    urgent: AtomicBool,
    /// The map could not be read: none of it is collected before the next opening.
    stopped: AtomicBool,
}

/// Changes before a look at everything.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    freed_bytes: u64,
    written_bytes: u64,
}

impl Schedule {
    /// What an earlier opening left is not known: all that is used may be dead.
    pub(super) fn new(used_bytes: u64) -> Self {
        Self {
            freed_bytes: AtomicU64::new(used_bytes),
            settled_bytes: AtomicU64::new(0),
            live_permille: AtomicU64::new(UNKNOWN),
            gain: AtomicU64::new(0),
            low_bytes: AtomicU64::new(0),
            not_before: Mutex::default(),
            without_room: AtomicU32::new(0),
            left_over: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }

    /// At most so much of what is stored has lost its last reader.
    pub(in crate::store) fn note_freed(&self, bytes: u64) {
        let more = |freed: u64| Some(freed.saturating_add(bytes));
        let _ = self.freed_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// What is known of changes before a look.
    pub(super) fn before(&self, written_bytes: u64) -> Seen {
        Seen { freed_bytes: self.freed_bytes.load(Ordering::Relaxed), written_bytes }
    }

    /// All that had changed by then was looked at, and nothing is worth collecting.
    pub(super) fn settle(&self, seen: Seen, zeal: Zeal) {
        self.left_over.store(zeal == Zeal::Lazy, Ordering::Relaxed);
        self.freed_bytes.fetch_sub(seen.freed_bytes, Ordering::Relaxed);
        self.settled_bytes.store(seen.written_bytes, Ordering::Relaxed);
        self.gain.store(0, Ordering::Relaxed);
    }

    /// A batch has given back `bytes` in `time`.
    pub(super) fn note_gain(&self, bytes: u64, time: Duration) {
        let gain = bytes as f64 / time.max(Duration::from_millis(1)).as_secs_f64();
        self.gain.store((gain as u64).max(GAIN_MIN), Ordering::Relaxed);
    }

    pub(super) fn note_live(&self, live_bytes: u64, bytes: u64) {
        self.live_permille.store(live_bytes * 1000 / bytes.max(1), Ordering::Relaxed);
    }

    pub(super) fn live_permille(&self) -> Option<u64> {
        Some(self.live_permille.load(Ordering::Relaxed)).filter(|permille| *permille != UNKNOWN)
    }

    /// Bytes were written that have replaced nothing.
    pub(super) fn note_moved(&self, bytes: u64) {
        self.settled_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Ends collection until the next opening: the map cannot be read.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn set_urgent(&self, urgent: bool) {
        self.urgent.store(urgent, Ordering::Relaxed);
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Relaxed)
    }

    /// Bytes that may have died since the last look: each write may have replaced as much.
    fn changed_bytes(&self, written: u64, used: u64) -> u64 {
        let overwritten = written.saturating_sub(self.settled_bytes.load(Ordering::Relaxed));
        self.freed_bytes.load(Ordering::Relaxed).min(used).saturating_add(overwritten)
    }
}

/// True if something could not be read, and not for want of a descriptor. Nothing has changed then, and what is damaged
/// fails for those who read it.
pub(in crate::store) fn is_unreadable(error: &Error) -> bool {
    match error {
        Error::Corrupt { .. } => true,
        Error::Io { action, .. } => matches!(*action, "reading" | "opening") && !error.is_shortage(),
        _ => false,
    }
}

/// True if it is worth a look.
fn is_due(changed: u64, used: u64, short: bool) -> bool {
    let least = match short {
        true => CHANGED_BYTES_SHORT.max(used / CHANGED_PARTS_SHORT),
        false => CHANGED_BYTES_MIN.max(used / CHANGED_PARTS),
    };
    used > 0 && changed >= least
}

impl Inner {
    /// How long a writer of `bytes` is delayed because collection is behind.
    pub(in crate::store) fn room_delay(&self, bytes: u64) -> Duration {
        let schedule = &self.collector.schedule;
        let (low, gain) = (schedule.low_bytes.load(Ordering::Relaxed), schedule.gain.load(Ordering::Relaxed));
        room_delay(self.space.left(), low, gain, bytes)
    }

    /// True if the store's thread has a collection to do that may give room back soon.
    pub(in crate::store) fn awaits_collection(&self) -> bool {
        let schedule = &self.collector.schedule;
        if self.background.mode != BackgroundMode::Threads
            || schedule.stopped.load(Ordering::Relaxed)
            || schedule.without_room.load(Ordering::Relaxed) > ROOM_WAITS_HOPEFUL
        {
            return false;
        }
        let used = self.used_segment_bytes();
        is_due(schedule.changed_bytes(self.segment_bytes_written(), used), used, true)
    }

    /// True if collection is urgent.
    pub(super) fn is_room_short(&self) -> Result<bool> {
        Ok(self.spare_room()? == 0)
    }

    /// Room beyond that below which collection is urgent.
    pub(super) fn spare_room(&self) -> Result<u64> {
        let short = SHORT_BYTES.max(self.used_segment_bytes() / SHORT_PARTS);
        Ok((self.space.room(&*self.device)? + 1).saturating_sub(short))
    }

    /// One batch of collection, if one is due; `false` if none is.
    pub(in crate::store) fn step_collect(&self) -> Result<bool> {
        self.refuse_if_poisoned()?;
        self.delete_unread();
        let schedule = &self.collector.schedule;
        if schedule.stopped.load(Ordering::Relaxed) || self.clock.monotonic() < *schedule.not_before.lock() {
            return Ok(false);
        }
        let used: u64 = self.used_segment_bytes();
        schedule.low_bytes.store(LOW_BYTES.max(used / LOW_PARTS), Ordering::Relaxed);
        let written = self.segment_bytes_written();
        let changed = schedule.changed_bytes(written, used);
        let quiet = self.collector.cold.is_quiet(self.clock.monotonic());
        let is_left_over = quiet && schedule.left_over.load(Ordering::Relaxed);
        if !is_due(changed, used, true) && !is_left_over {
            return Ok(false);
        }
        let short = self.is_room_short()?;
        if !is_due(changed, used, short) && !is_left_over || !short && self.pace.is_pressed() {
            return Ok(false);
        }
        let zeal = match (short, quiet) {
            (true, _) => Zeal::Eager,
            (false, false) if self.space.room(&*self.device)? >= used => Zeal::Lazy,
            (false, _) => Zeal::Usual,
        };
        let mut turn = self.collector.turn.lock();
        let seen = schedule.before(written);
        match self.collect_batch(&mut turn, zeal, &mut CollectReport::default()) {
            Ok(true) => {
                schedule.without_room.store(0, Ordering::Relaxed);
                Ok(true)
            }
            Ok(false) => {
                schedule.settle(seen, zeal);
                Ok(false)
            }
            Err(error) if is_unreadable(&error) => {
                tracing::error!(error = %chain(&error), "nothing is collected any more: run silt check");
                schedule.stopped.store(true, Ordering::Relaxed);
                Ok(false)
            }
            Err(error)
                if (matches!(error, Error::OutOfSpace) || error.is_shortage())
                    && self.background.mode == BackgroundMode::Threads =>
            {
                let times = schedule.without_room.fetch_add(1, Ordering::Relaxed);
                let wait = (ROOM_WAIT_MIN * 2_u32.saturating_pow(times)).min(ROOM_WAIT_MAX);
                *schedule.not_before.lock() = self.clock.monotonic() + wait;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn it_is_due_when_an_eighth_may_have_died_or_little_if_room_is_short() {
        assert!(!is_due(GIB / 8 - 1, GIB, false) && is_due(GIB / 8, GIB, false));
        assert!(!is_due(CHANGED_BYTES_MIN - 1, 1 << 20, false));
        assert!(
            is_due(GIB / 256, GIB, true)
                && is_due(1 << 20, 1 << 20, true)
                && !is_due(0, GIB, true)
                && !is_due(GIB, 0, true)
        );
    }

    #[test]
    fn what_was_freed_counts_no_more_than_what_is_stored_and_only_until_the_next_look() {
        let schedule = Schedule::new(0);
        schedule.note_freed(u64::MAX);
        schedule.note_freed(1);
        assert_eq!(schedule.changed_bytes(5, 100), 105);
        let seen = schedule.before(5);
        schedule.note_freed(0);
        schedule.settle(seen, Zeal::Usual);
        assert_eq!(schedule.changed_bytes(9, 100), 4);
    }
}
