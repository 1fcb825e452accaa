//! Reservation and quota of a volume: how much it maps, known as well as these need it.
//!
//! What is known is a count from the map and, since then, bounds: writes may have mapped as much as they wrote, or
//! nothing; trims may have unmapped as much as they covered, or nothing. That costs a write two additions. Near the quota,
//! where a bound is not enough, each change looks up what it changes ([`super::mapped`]), one at a time.
//!
//! Bounds change under the front's lock only, so that each change is either in a count or added to it.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// Up to the quota less this part of it, bounds are good enough.
const NEAR_PARTS: u64 = 16;

/// A reservation that is not used up is kept as well as this part of it says, or this many bytes: then what is known of the
/// volume is counted again, which costs no more than the reservation is long.
const VAGUE_PARTS: u64 = 16;
const VAGUE_BYTES_MIN: u64 = 1 << 20;

/// How much of a store a volume may take, and how much is kept for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Room in bytes that writes of other volumes leave alone, less what the volume maps already.
    pub reserve_bytes: Option<u64>,
    /// Bytes that the volume may map: blocks with data, as its reader sees them, 4 KiB each.
    pub quota_bytes: Option<u64>,
}

impl Limits {
    /// True if there are none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// The limits of a volume, and what is known of the bytes that it maps.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    limited: AtomicBool,
    known: Mutex<Known>,
    /// Held by whoever changes the volume near its quota, or counts it: neither may meet the other halfway.
    turn: Mutex<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    limits: Limits,
    /// What was counted last; `None` if it has still to be.
    counted: Option<i64>,
    /// Since then at most and at least so much more is mapped.
    most: i64,
    least: i64,
    /// Counts begun before this changed are void.
    epoch: u64,
    /// The map could not be read: it is not tried again before the next opening.
    uncountable: bool,
}

/// What a change does to the bytes mapped, at most and at least.
pub(super) struct Charge<'a> {
    most: i64,
    least: i64,
    /// It was looked up, and nobody else near the quota comes in between.
    turn: Option<MutexGuard<'a, ()>>,
}

/// A count under way.
#[derive(Clone, Copy)]
pub(super) struct Counting {
    most: i64,
    least: i64,
    epoch: u64,
}

impl Charge<'_> {
    /// What is known without looking anything up.
    pub(super) fn bounded(written_bytes: u64, zeroed_bytes: u64) -> Self {
        Self { most: written_bytes as i64, least: -(zeroed_bytes as i64), turn: None }
    }
}

impl Known {
    fn most(&self) -> Option<i64> {
        self.counted.map(|counted| counted.saturating_add(self.most))
    }

    fn least(&self) -> u64 {
        self.counted.map_or(0, |counted| counted.saturating_add(self.least).max(0) as u64)
    }

    fn unfilled(&self, reserve_bytes: u64, size_bytes: u64) -> u64 {
        reserve_bytes.min(size_bytes).saturating_sub(self.least())
    }

    fn quota(&self) -> i64 {
        self.limits.quota_bytes.map_or(i64::MAX, |quota| i64::try_from(quota).unwrap_or(i64::MAX))
    }

    fn permits(&self, more: i64, quota: i64) -> bool {
        self.most().is_none_or(|most| most.saturating_add(more) <= quota)
    }
}

impl Allowance {
    pub(super) fn limits(&self) -> Limits {
        self.known.lock().limits
    }

    /// Sets the limits. The caller holds the front's lock.
    pub(super) fn set(&self, limits: Limits) {
        let mut known = self.known.lock();
        if !self.limited.load(Ordering::Relaxed) {
            // Nobody has kept the bounds.
            *known = Known { epoch: known.epoch + 1, ..Known::default() };
        }
        known.limits = limits;
        self.limited.store(!limits.is_none(), Ordering::Relaxed);
    }

    /// Keeps bounds from now on, for limits that are still to come. The caller holds the front's lock.
    pub(super) fn foresee(&self) {
        if !self.limited.load(Ordering::Relaxed) {
            let mut known = self.known.lock();
            *known = Known { epoch: known.epoch + 1, ..Known::default() };
            self.limited.store(true, Ordering::Relaxed);
        }
    }

    /// The volume holds something else now. The caller holds the front's lock.
    pub(super) fn forget(&self) {
        let mut known = self.known.lock();
        *known = Known { limits: known.limits, epoch: known.epoch + 1, ..Known::default() };
    }

    /// True if a change with this bound needs no closer look.
    pub(super) fn permits(&self, charge: &Charge<'_>) -> bool {
        if !self.limited.load(Ordering::Relaxed) {
            return true;
        }
        let known = self.known.lock();
        let near = known.limits.quota_bytes.map_or(0, |quota| quota / NEAR_PARTS);
        known.permits(charge.most, known.quota().saturating_sub_unsigned(near))
    }

    /// Waits until nobody else changes the volume near its quota or counts it.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// A change that was looked up and maps `growth` bytes more; given back with `turn` if that goes beyond the quota.
    pub(super) fn exact<'a>(&self, growth: i64, turn: MutexGuard<'a, ()>) -> Result<Charge<'a>, MutexGuard<'a, ()>> {
        let known = self.known.lock();
        match growth <= 0 || known.permits(growth, known.quota()) {
            true => Ok(Charge { most: growth, least: growth, turn: Some(turn) }),
            false => Err(turn),
        }
    }

    /// True if what is known is as good as a count.
    pub(super) fn is_exact(&self) -> bool {
        let known = self.known.lock();
        known.counted.is_some() && known.most == known.least || known.uncountable
    }

    /// Accounts for a change that gets its place now; false if others have taken what it needs. The caller holds the
    /// front's lock.
    pub(super) fn pay(&self, charge: &Charge<'_>) -> bool {
        if !self.limited.load(Ordering::Relaxed) {
            return true;
        }
        let mut known = self.known.lock();
        if charge.turn.is_none() && charge.most > 0 && !known.permits(charge.most, known.quota()) {
            return false;
        }
        known.most = known.most.saturating_add(charge.most);
        known.least = known.least.saturating_add(charge.least);
        true
    }

    /// Begins a count of what is there now. The caller holds the front's lock and the turn.
    pub(super) fn begin_count(&self) -> Counting {
        let known = self.known.lock();
        Counting { most: known.most, least: known.least, epoch: known.epoch }
    }

    /// Ends a count. The caller holds the turn.
    pub(super) fn end_count(&self, counting: Counting, bytes: u64) {
        let mut known = self.known.lock();
        if known.epoch == counting.epoch {
            known.counted = Some(bytes as i64);
            known.most = known.most.saturating_sub(counting.most);
            known.least = known.least.saturating_sub(counting.least);
        }
    }

    /// The volume cannot be counted: it stays as it is known.
    pub(super) fn give_up_counting(&self) {
        self.known.lock().uncountable = true;
    }

    /// True if it was counted, and bounds are kept since.
    pub(super) fn is_counted(&self) -> bool {
        self.limited.load(Ordering::Relaxed) && self.known.lock().counted.is_some()
    }

    /// True if it is known, within bounds, how much is mapped, or never will be.
    pub(super) fn is_known(&self) -> bool {
        let known = self.known.lock();
        known.counted.is_some() || known.uncountable
    }

    /// True if the volume should be counted soon.
    pub(super) fn awaits_count(&self) -> bool {
        let known = self.known.lock();
        let vague = known.limits.reserve_bytes.is_some_and(|reserve| {
            let unknown = known.most.saturating_sub(known.least).unsigned_abs();
            known.least() < reserve && unknown > (reserve / VAGUE_PARTS).max(VAGUE_BYTES_MIN)
        });
        self.limited.load(Ordering::Relaxed) && !known.uncountable && (known.counted.is_none() || vague)
    }

    /// What the volume may still claim of its reservation, of which no more than `size_bytes` counts.
    pub(super) fn unfilled_bytes(&self, size_bytes: u64) -> u64 {
        let known = self.known.lock();
        known.limits.reserve_bytes.map_or(0, |reserve| known.unfilled(reserve, size_bytes))
    }

    /// The same of another reservation.
    pub(super) fn unfilled_of(&self, reserve_bytes: u64, size_bytes: u64) -> u64 {
        self.known.lock().unfilled(reserve_bytes, size_bytes)
    }
}

#[cfg(test)]
mod tests;
