//! Schedules of replicated volumes, which their primaries follow, and going back by time.

use std::cmp::Reverse;
use std::sync::Arc;

use net::config::state::{Command, Volume, VolumeState};
use net::id::VolumeId;

use super::asking::Session;
use super::core::Core;
use super::volumes::order;
use super::{Cluster, ClusterError, ClusterSnapshot, Result, VolumeReport};
use crate::name::{ExportName, SnapshotName, VolumeName};
use crate::node::NodeError;
use crate::replica::operation::Operation;
use crate::schedule::{REWIND_PREFIX, Schedule, Scheduled, Thinning, Turns, free_name, is_automatic, stamped};

/// What going back to a time did.
#[derive(Clone, Debug)]
pub struct ClusterRewound {
    /// The volume that was put back, or the clone.
    pub volume: VolumeReport,
    /// The snapshot it holds.
    pub to: SnapshotName,
    /// What the volume held before, unless it was cloned.
    pub before: Option<ClusterSnapshot>,
}

impl Cluster {
    /// Gives a volume a schedule, or takes it away. Snapshots that it made stay, and without a schedule nobody thins them.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`].
    pub fn set_schedule(&self, name: &VolumeName, schedule: Option<&Schedule>) -> Result<VolumeReport> {
        let volume = self.core.ready_volume(name)?.id;
        let schedule = schedule.map(|schedule| schedule.to_string().parse()).transpose()?;
        self.changed(Command::SetSchedule { volume, schedule })?;
        self.volume(name)
    }

    /// Puts a volume back to its newest snapshot from `time_ms` or before, after a snapshot of what it holds now.
    ///
    /// # Errors
    /// [`NodeError::NoneSoOld`]; as [`Cluster::roll_back`], and then the snapshot of what it holds stays.
    pub fn rewind(&self, name: &VolumeName, time_ms: u64) -> Result<ClusterRewound> {
        let volume = self.core.ready_volume(name)?;
        self.check_unused(name, &volume)?;
        let known = self.snapshots(name)?;
        let to = newest_until(&known, name, time_ms)?;
        let is_taken = |snapshot: &VolumeName| known.iter().any(|known| known.name.snapshot == *snapshot);
        let snapshot = free_name(&stamped(REWIND_PREFIX, self.core.wall_ms()), is_taken);
        let before = self.snapshot(&SnapshotName { volume: name.clone(), snapshot })?;
        Ok(ClusterRewound { volume: self.roll_back(&to)?, to, before: Some(before) })
    }

    /// Makes a volume called `new` that holds what the newest snapshot from `time_ms` or before does.
    ///
    /// # Errors
    /// [`NodeError::NoneSoOld`]; as [`Cluster::clone_volume`].
    pub fn clone_from_time(&self, name: &VolumeName, time_ms: u64, new: &VolumeName) -> Result<ClusterRewound> {
        let to = newest_until(&self.snapshots(name)?, name, time_ms)?;
        let volume = self.clone_volume(&ExportName::Snapshot(to.clone()), new)?;
        Ok(ClusterRewound { volume, to, before: None })
    }
}

fn newest_until(known: &[ClusterSnapshot], name: &VolumeName, time_ms: u64) -> Result<SnapshotName> {
    // They come from the oldest; of those of one time the last is the newest.
    let until = known.iter().enumerate().filter(|(_, snapshot)| snapshot.created_ms <= time_ms);
    let newest = until.min_by_key(|(place, snapshot)| Reverse((snapshot.created_ms, *place)));
    let newest = newest.map(|(_, snapshot)| snapshot.name.clone());
    newest.ok_or_else(|| NodeError::NoneSoOld(name.clone()).into())
}

impl Core {
    /// Follows the schedules of the volumes that this node serves.
    pub(super) fn follow_schedules(self: &Arc<Self>, turns: &mut Turns<VolumeId>, thinning: Thinning) {
        let (configuration, now_ms) = (self.configuration(), self.wall_ms());
        let now = self.node.store().clock().monotonic();
        let served = self.served();
        turns.retain(|id| served.contains(&id));
        for volume in served.iter().filter_map(|id| configuration.volume(*id)) {
            let Some(schedule) = schedule_of(volume).filter(|_| is_followed(volume)) else { continue };
            if !turns.is_due(volume.id, &schedule, now_ms, now) {
                continue;
            }
            match self.follow_schedule(volume.id, &schedule, now_ms, thinning) {
                Ok(()) => turns.followed(volume.id, now_ms),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(volume = %volume.name, error, "a schedule cannot be followed now");
                    turns.failed(volume.id, now);
                }
            }
        }
    }

    fn follow_schedule(
        self: &Arc<Self>,
        id: VolumeId,
        schedule: &Schedule,
        now_ms: u64,
        thinning: Thinning,
    ) -> Result<()> {
        let known = self.node.replica_snapshots(id)?;
        let made = known.into_iter().filter(|snapshot| is_automatic(&snapshot.name.snapshot));
        let made = made.map(|snapshot| (snapshot.name.snapshot, snapshot.info.created_ms)).collect();
        schedule.follow(&OfCluster { core: self, id, now_ms }, made, now_ms, thinning)
    }
}

/// The schedule of a volume. What no program writes is none.
pub(super) fn schedule_of(volume: &Volume) -> Option<Schedule> {
    volume.schedule.as_ref()?.as_str().parse().ok()
}

fn is_followed(volume: &Volume) -> bool {
    volume.trashed.is_none() && volume.state == VolumeState::Ready
}

/// A volume that this node serves, for its schedule.
struct OfCluster<'a> {
    core: &'a Arc<Core>,
    id: VolumeId,
    now_ms: u64,
}

impl OfCluster<'_> {
    fn session(&self) -> Session {
        Session::of_duty(Arc::clone(self.core), self.id)
    }
}

impl Scheduled for OfCluster<'_> {
    type Error = ClusterError;

    fn has_changed(&self, since: Option<&VolumeName>) -> Result<bool> {
        let Some(since) = since else { return Ok(true) };
        let found = self.session().changes(since.as_str(), None, (0, u64::MAX))?;
        let covered: u64 = found.extents.iter().map(|(len, _)| len).sum();
        let is_whole = covered >= found.sizes_bytes.0.max(found.sizes_bytes.1);
        Ok(!is_whole || found.extents.iter().any(|(_, changed)| *changed))
    }

    fn snapshot(&self, name: &VolumeName) -> Result<Option<u64>> {
        let known = self.core.node.replica_snapshots(self.id)?;
        if known.iter().any(|known| known.name.snapshot == *name) {
            return Ok(None);
        }
        order(&self.session(), Operation::Snapshot { name: name.clone() })?;
        Ok(Some(self.now_ms))
    }

    fn remove(&self, name: &VolumeName) -> Result<()> {
        let known = self.core.node.replica_snapshots(self.id)?;
        // Its turn comes when it is free.
        let is_used = known.iter().any(|known| known.name.snapshot == *name && known.connections > 0);
        if is_used { Ok(()) } else { order(&self.session(), Operation::RemoveSnapshot { name: name.clone() }) }
    }
}
