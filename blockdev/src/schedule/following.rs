//! A schedule followed, of whatever kind of volume.

use super::{Schedule, automatic_name};
use crate::name::VolumeName;

/// A volume that a schedule is followed for.
pub(crate) trait Scheduled {
    /// Why it cannot be.
    type Error;

    /// Whether it holds something else than a snapshot of it; true if there is none.
    fn has_changed(&self, since: Option<&VolumeName>) -> Result<bool, Self::Error>;

    /// Makes a snapshot, and returns when it was made, in milliseconds since the Unix epoch; `None` if the name is taken.
    fn snapshot(&self, name: &VolumeName) -> Result<Option<u64>, Self::Error>;

    /// Removes a snapshot, unless somebody uses it; one that is gone is gone.
    fn remove(&self, name: &VolumeName) -> Result<(), Self::Error>;
}

/// Whether snapshots go that no rule keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Thinning {
    /// They do.
    Due,
    /// They stay, since the date may be wrong.
    Held,
}

impl Schedule {
    /// Makes a snapshot if one is due at `now_ms`, and removes those that no rule keeps. `made` is what was made before, with
    /// the times in milliseconds, from the oldest. They go also if none could be made, for which there may have been no room.
    pub(crate) fn follow<S: Scheduled>(
        &self,
        volume: &S,
        mut made: Vec<(VolumeName, u64)>,
        now_ms: u64,
        thinning: Thinning,
    ) -> Result<(), S::Error> {
        let snapshot = self.snapshot_if_due(volume, &mut made, now_ms);
        if thinning == Thinning::Held {
            return snapshot;
        }
        let times: Vec<u64> = made.iter().map(|(_, time_ms)| *time_ms).collect();
        let thinned = self.thin(&times, now_ms).into_iter().try_for_each(|index| volume.remove(&made[index].0));
        snapshot.and(thinned)
    }

    fn snapshot_if_due<S: Scheduled>(
        &self,
        volume: &S,
        made: &mut Vec<(VolumeName, u64)>,
        now_ms: u64,
    ) -> Result<(), S::Error> {
        let newest = made.last();
        // After a start only the snapshots tell when the last was made.
        if self.is_due(newest.map(|(_, time_ms)| *time_ms), now_ms)
            && volume.has_changed(newest.map(|(snapshot, _)| snapshot))?
        {
            let name = automatic_name(now_ms);
            // The clock may have been set back to a time that has one.
            let time_ms = volume.snapshot(&name)?;
            made.extend(time_ms.map(|time_ms| (name, time_ms)));
        }
        Ok(())
    }
}
