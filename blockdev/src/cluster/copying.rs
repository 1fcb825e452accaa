//! Copies that this node is making: how far each has come, how fast, and how long it will take.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use net::id::{NodeId, VolumeId};
use net::news::Copying;
use parking_lot::Mutex;

/// The rate is that of about this time.
const WINDOW: Duration = Duration::from_secs(10);

/// Between two points that it is made from.
const STEP: Duration = Duration::from_millis(250);

/// A rate of less time than this says little.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// The copies under way, by volume and by who gets one.
#[derive(Default)]
pub(super) struct Copies(Mutex<HashMap<(VolumeId, NodeId), Course>>);

#[derive(Default)]
struct Course {
    done_bytes: u64,
    total_bytes: u64,
    /// It is made from the log, so the end moves.
    is_log: bool,
    /// When how much was done, from the oldest.
    points: VecDeque<(Duration, u64)>,
}

impl Course {
    fn note(&mut self, done_bytes: u64, total_bytes: u64, now: Duration) {
        if done_bytes < self.done_bytes {
            // It has begun anew.
            self.points.clear();
        }
        (self.done_bytes, self.total_bytes) = (done_bytes, total_bytes);
        if self.points.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= STEP) {
            self.points.push_back((now, done_bytes));
        }
        while self.points.len() > 2 && now.saturating_sub(self.points[0].0) > WINDOW {
            self.points.pop_front();
        }
    }

    fn rate_bytes(&self) -> Option<u64> {
        let ((from, before), (to, after)) = (*self.points.front()?, *self.points.back()?);
        let time = to.saturating_sub(from);
        let bytes = u128::from(after - before) * 1000;
        (time >= WINDOW_MIN).then(|| u64::try_from(bytes / time.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Copies {
    /// So much of the content of a volume has been sent.
    pub(super) fn note_content(&self, key: (VolumeId, NodeId), (done_bytes, total_bytes): (u64, u64), now: Duration) {
        let mut copies = self.0.lock();
        let copy = copies.entry(key).or_default();
        if copy.is_log {
            *copy = Course::default();
        }
        copy.note(done_bytes, total_bytes, now);
    }

    /// No content is sent any more.
    pub(super) fn end_content(&self, key: (VolumeId, NodeId)) {
        self.0.lock().remove(&key);
    }

    /// These nodes lack so much of the log of a volume, and no others.
    pub(super) fn note_log(&self, volume: VolumeId, lacking: &[(NodeId, u64)], now: Duration) {
        let mut copies = self.0.lock();
        let lacks = |node: &NodeId| lacking.iter().any(|(other, bytes)| other == node && *bytes > 0);
        copies.retain(|(of, to), copy| *of != volume || !copy.is_log || lacks(to));
        for (node, bytes) in lacking.iter().filter(|(_, bytes)| *bytes > 0) {
            let copy = copies.entry((volume, *node)).or_insert_with(|| Course { is_log: true, ..Course::default() });
            if copy.is_log {
                let total_bytes = copy.total_bytes.max(copy.done_bytes + bytes);
                copy.note((total_bytes - bytes).max(copy.done_bytes), total_bytes, now);
            }
        }
    }

    /// Logs of other volumes bring nobody along from here.
    pub(super) fn keep_logs(&self, is_served: impl Fn(VolumeId) -> bool) {
        self.0.lock().retain(|(volume, _), copy| !copy.is_log || is_served(*volume));
    }

    /// All of them.
    pub(super) fn list(&self) -> Vec<Copying> {
        let copies = self.0.lock();
        let copying = |(&(volume, to), copy): (&(VolumeId, NodeId), &Course)| {
            let Course { done_bytes, total_bytes, .. } = *copy;
            Copying { volume, to, done_bytes, total_bytes, rate_bytes: copy.rate_bytes() }
        };
        copies.iter().map(copying).collect()
    }
}

#[cfg(test)]
mod tests;
