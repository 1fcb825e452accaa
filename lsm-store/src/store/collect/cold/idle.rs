//! When the store packs by itself: while nobody asks for anything and nothing else is to be done.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::choice::ColdLimits;
use super::{COLD_PERIODS, Cold};
use crate::error::{Error, Result};
use crate::segment::SLOTS_MAX;
use crate::store::collect::examination::TABLE_PARTS;
use crate::store::collect::{CollectReport, schedule};
use crate::store::inner::{Inner, chain};

/// What was read this long ago counts half: the unit in which segments age.
const PERIOD: Duration = Duration::from_secs(600);

/// For how long nobody must have asked for anything.
const IDLE: Duration = Duration::from_secs(5);

/// How long a batch pauses when somebody asks for something, and how often before it goes on all the same: it must end some
/// time, and holds room until then.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSES_MAX: usize = 5;

/// How long to leave it alone after there was no room, or nothing to do.
const RETRY: Duration = Duration::from_secs(30);

/// Segments that one batch packs: a 32nd of all, as each batch reads the map and rewrites some of it, but no fewer than the
/// first and no more than the second of these numbers, as real collection has to wait for it.
const BATCH_PARTS: usize = 32;
const BATCH_SEGMENTS: (usize, usize) = (8, 256);

/// What is seen of the store's clients.
#[derive(Default)]
pub(super) struct Watch {
    requests: u64,
    active_at: Duration,
    period_at: Duration,
    not_before: Duration,
}

impl Watch {
    /// True if clients have asked for something since the last look.
    fn looks_again(&mut self, requests: u64, now: Duration) -> bool {
        let more = requests != self.requests;
        if more {
            (self.requests, self.active_at) = (requests, now);
        }
        more
    }

    /// True if a period has passed since this was last true.
    fn begins_period(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.period_at) >= PERIOD;
        if passed {
            self.period_at = now;
        }
        passed
    }

    fn is_quiet(&self, now: Duration) -> bool {
        now.saturating_sub(self.active_at) >= IDLE
    }

    /// True if it is time for a batch.
    fn is_due(&self, now: Duration) -> bool {
        self.is_quiet(now) && now >= self.not_before
    }
}

impl Cold {
    fn has_new_requests(&self, now: Duration) -> bool {
        self.watch.lock().looks_again(self.requests.load(Ordering::Relaxed), now)
    }

    /// True if clients have asked for nothing for a while.
    pub(in crate::store::collect) fn is_quiet(&self, now: Duration) -> bool {
        !self.has_new_requests(now) && self.watch.lock().is_quiet(now)
    }
}

impl Inner {
    /// One batch of packing, if nothing else is to be done; `false` if there is none.
    pub(in crate::store) fn step_cold(&self) -> Result<bool> {
        let (cold, now) = (&self.collector.cold, self.clock.monotonic());
        if cold.watch.lock().begins_period(now) {
            self.segments.pass_period();
        }
        cold.has_new_requests(now);
        if cold.level().is_none() || !cold.watch.lock().is_due(now) || !self.has_nothing_else_to_do()? {
            return Ok(false);
        }
        let mut turn = self.collector.turn.lock();
        let candidates = self.cold_candidates(&turn, |summary| self.is_unread(summary, COLD_PERIODS));
        self.collector.schedule.set_urgent(false);
        // What the batch takes must not make room short: that would end it.
        let spare = self.spare_room()?;
        cold.in_batch.store(true, Ordering::Relaxed);
        let packed = self.pack_batch(&mut turn, &candidates, spare, &mut CollectReport::default());
        cold.in_batch.store(false, Ordering::Relaxed);
        match packed {
            Ok(true) => return Ok(true),
            Ok(false) | Err(Error::OutOfSpace) => {}
            Err(error) if error.is_shortage() => tracing::warn!(error = %chain(&error), "cold data is packed later"),
            Err(error) if schedule::is_unreadable(&error) => {
                tracing::error!(error = %chain(&error), "nothing is collected any more: run silt check");
                self.collector.schedule.stop();
            }
            Err(error) => return Err(error),
        }
        cold.watch.lock().not_before = self.clock.monotonic() + RETRY;
        Ok(false)
    }

    fn has_nothing_else_to_do(&self) -> Result<bool> {
        let is_flushed = self.view().oldest_frozen().is_none() && !self.pace.is_pressed();
        let is_indexed = self.to_index.lock().is_empty();
        Ok(is_flushed && is_indexed && !self.collector.schedule.is_stopped() && !self.is_room_short()?)
    }

    /// Pauses a batch that nobody asked for while clients ask for something, and gives it up if room runs short: then a real
    /// collection is more urgent.
    pub(in crate::store::collect) fn give_way_to_requests(&self) -> Result<()> {
        let cold = &self.collector.cold;
        if !cold.in_batch.load(Ordering::Relaxed) {
            return Ok(());
        }
        for _ in 0..PAUSES_MAX {
            if self.is_room_short()? {
                return Err(Error::OutOfSpace);
            }
            if self.background.is_stopping() || !cold.has_new_requests(self.clock.monotonic()) {
                break;
            }
            self.clock.sleep(PAUSE);
        }
        Ok(())
    }

    pub(super) fn cold_limits(&self, total: usize, bytes: u64) -> ColdLimits {
        ColdLimits {
            bytes,
            segments: (total / BATCH_PARTS).clamp(BATCH_SEGMENTS.0, BATCH_SEGMENTS.1),
            slots: (self.budget.total_bytes / TABLE_PARTS / 8).max(SLOTS_MAX.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_when_nobody_has_asked_for_anything_for_a_while() {
        let second = Duration::from_secs;
        let mut watch = Watch::default();
        assert!(watch.looks_again(1, second(100)) && !watch.looks_again(1, second(101)));
        assert!(!watch.is_due(second(104)) && watch.is_due(second(105)));
        watch.not_before = second(120);
        assert!(!watch.is_due(second(119)) && watch.is_due(second(120)));
        assert!(watch.begins_period(second(700)) && !watch.begins_period(second(1299)));
        assert!(watch.begins_period(second(1300)));
    }
}
