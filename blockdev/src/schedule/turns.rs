//! When the schedules of many volumes were followed last, and which of them rest after a failure.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use super::Schedule;

/// How long the schedule of a volume rests that could not be followed: what was in its way is likely to be there for a while.
const REST: Duration = Duration::from_secs(60);

/// Of volumes that are called `K`.
pub(crate) struct Turns<K> {
    /// In milliseconds since the Unix epoch.
    followed_ms: HashMap<K, u64>,
    /// Until when, by the monotonic clock.
    resting: HashMap<K, Duration>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { followed_ms: HashMap::new(), resting: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Turns<K> {
    /// Whether the schedule of a volume is to be followed: it has not been in this step of the wall clock, `wall_ms`, and does
    /// not rest at `now` of the monotonic one.
    pub(crate) fn is_due(&self, id: K, schedule: &Schedule, wall_ms: u64, now: Duration) -> bool {
        let rests = self.resting.get(&id).is_some_and(|until| *until > now);
        !rests && schedule.is_due(self.followed_ms.get(&id).copied(), wall_ms)
    }

    /// It was followed at `wall_ms`.
    pub(crate) fn followed(&mut self, id: K, wall_ms: u64) {
        self.resting.remove(&id);
        self.followed_ms.insert(id, wall_ms);
    }

    /// It could not be followed at `now`.
    pub(crate) fn failed(&mut self, id: K, now: Duration) {
        self.resting.insert(id, now + REST);
    }

    /// It has another schedule, or is gone.
    pub(crate) fn forget(&mut self, id: K) {
        self.resting.remove(&id);
        self.followed_ms.remove(&id);
    }

    /// Forgets all but some.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(K) -> bool) {
        self.resting.retain(|id, _| is_kept(*id));
        self.followed_ms.retain(|id, _| is_kept(*id));
    }
}
