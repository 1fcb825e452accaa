//! Snapshots that the node makes and thins by itself, and going back to them by time.

use std::cmp::Reverse;
use std::time::Duration;

use lsm_store::id::VolumeId;

use super::{NamedSnapshot, NamedVolume, Node, NodeError, Result, ready};
use crate::catalog::{self, Catalog, State};
use crate::export::Changes;
use crate::name::{ExportName, SnapshotName, VolumeName};
use crate::schedule::{REWIND_PREFIX, Schedule, Scheduled, Thinning, free_name, is_automatic, stamped};

/// What going back to a time did.
#[derive(Clone, Debug)]
pub struct Rewound {
    /// The volume that was put back, or the clone.
    pub volume: NamedVolume,
    /// The snapshot it holds.
    pub to: SnapshotName,
    /// What the volume held before, unless it was cloned.
    pub before: Option<NamedSnapshot>,
}

/// A volume whose schedule says that a snapshot is due.
struct Due {
    name: VolumeName,
    id: VolumeId,
    schedule: Schedule,
    /// The snapshots that the node made of it, with their times in milliseconds, from the oldest.
    made: Vec<(VolumeName, u64)>,
}

/// A volume of the node, for its schedule.
struct OfNode<'a> {
    node: &'a Node,
    name: &'a VolumeName,
}

impl OfNode<'_> {
    fn named(&self, snapshot: &VolumeName) -> SnapshotName {
        SnapshotName { volume: self.name.clone(), snapshot: snapshot.clone() }
    }
}

impl Scheduled for OfNode<'_> {
    type Error = NodeError;

    fn has_changed(&self, since: Option<&VolumeName>) -> Result<bool> {
        let Some(since) = since else { return Ok(true) };
        let changes = self.node.changes(&self.named(since).into(), &self.name.clone().into())?;
        let size_bytes = changes.from().1.max(changes.to().1);
        let extents = changes.extents(0, size_bytes, 1)?;
        Ok(extents.iter().any(|extent| extent.changed || extent.len < size_bytes))
    }

    fn snapshot(&self, name: &VolumeName) -> Result<Option<u64>> {
        match self.node.snapshot(&[self.named(name)]) {
            Ok(made) => Ok(made.first().map(|one| one.info.created_ms)),
            Err(NodeError::SnapshotNameTaken(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn remove(&self, name: &VolumeName) -> Result<()> {
        match self.node.remove_snapshot(&self.named(name)) {
            // Its turn comes when it is free; or somebody else has removed it.
            Ok(()) | Err(NodeError::InUse { .. } | NodeError::NoSuchSnapshot(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Node {
    /// Gives a volume a schedule, or takes it away. Snapshots that it made stay, and without a schedule nobody thins them.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`].
    pub fn set_schedule(&self, name: &VolumeName, schedule: Option<Schedule>) -> Result<NamedVolume> {
        let mut catalog = self.catalog.write();
        let id = ready(&catalog, name)?.id;
        let record = match &schedule {
            Some(schedule) => catalog::schedule_record(id, schedule),
            None => catalog::schedule_removal(id),
        };
        self.store.put_records(vec![record])?;
        catalog.set_schedule(id, schedule);
        // So that it is followed at once.
        self.turns.lock().forget(id);
        drop(catalog);
        self.volume(name)
    }

    /// Makes the snapshots that are due, of volumes that changed since the last one, and removes those that no rule keeps.
    /// A failure with one volume does not keep the others from their turn.
    pub(super) fn follow_schedules(&self, thinning: Thinning) {
        let (now_ms, now) = (self.wall_ms(), self.store.clock().monotonic());
        for Due { name, id, schedule, made } in self.due(now_ms, now) {
            match schedule.follow(&OfNode { node: self, name: &name }, made, now_ms, thinning) {
                Ok(()) => self.turns.lock().followed(id, now_ms),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(volume = %name, error, "a schedule cannot be followed now");
                    self.turns.lock().failed(id, now);
                }
            }
        }
    }

    fn due(&self, now_ms: u64, now: Duration) -> Vec<Due> {
        let catalog = self.catalog.read();
        let turns = self.turns.lock();
        let is_due = |id: VolumeId, schedule: &Schedule| turns.is_due(id, schedule, now_ms, now);
        let scheduled = catalog.iter().filter(|(_, entry)| entry.state == State::Ready);
        let scheduled = scheduled.filter_map(|(name, entry)| Some((name, entry.id, catalog.schedule(entry.id)?)));
        let due: Vec<_> = scheduled.filter(|(_, id, schedule)| is_due(*id, schedule)).collect();
        if due.is_empty() {
            return Vec::new();
        }
        let infos = self.infos();
        let made = |id| {
            let automatic = catalog.snapshots(id).filter(|(snapshot, _)| is_automatic(snapshot));
            let mut made: Vec<_> = automatic.filter_map(|(snapshot, id)| Some((snapshot, infos.get(&id)?))).collect();
            made.sort_by_key(|(_, info)| info.id);
            made.into_iter().map(|(snapshot, info)| (snapshot.clone(), info.created_ms)).collect()
        };
        let described = |(name, id, schedule): (&VolumeName, VolumeId, &Schedule)| Due {
            name: name.clone(),
            id,
            schedule: schedule.clone(),
            made: made(id),
        };
        due.into_iter().map(described).collect()
    }

    /// Puts a volume back to its newest snapshot from `time_ms` or before, after a snapshot of what it holds now.
    ///
    /// # Errors
    /// [`NodeError::NoneSoOld`]; [`NodeError::InUse`] if a client has the volume open, and then nothing was done.
    pub fn rewind(&self, name: &VolumeName, time_ms: u64) -> Result<Rewound> {
        // Held for writing, so that nobody opens the volume meanwhile.
        let mut catalog = self.catalog.write();
        let volume = ready(&catalog, name)?.id;
        self.check_unused(&name.clone().into(), volume)?;
        let (to, id) = self.newest_until(&catalog, name, time_ms)?;
        let is_taken = |name: &VolumeName| catalog.snapshot(volume, name).is_some();
        let before = free_name(&stamped(REWIND_PREFIX, self.wall_ms()), is_taken);
        let record = |ids: &[VolumeId]| vec![catalog::snapshot_record(volume, &before, ids[0])];
        let made = self.store.snapshot_volumes(&[volume], record)?;
        catalog.insert_snapshot(volume, before.clone(), made[0]);
        self.store.roll_back_volume(volume, id)?;
        drop(catalog);
        let before = self.find_snapshot(&SnapshotName { volume: name.clone(), snapshot: before })?;
        Ok(Rewound { volume: self.volume(name)?, to, before: Some(before) })
    }

    /// Makes a volume called `new` that holds what the newest snapshot from `time_ms` or before does.
    ///
    /// # Errors
    /// [`NodeError::NoneSoOld`]; as [`Node::clone_volume`].
    pub fn clone_from_time(&self, name: &VolumeName, time_ms: u64, new: &VolumeName) -> Result<Rewound> {
        let (to, _) = self.newest_until(&self.catalog.read(), name, time_ms)?;
        let volume = self.clone_volume(&ExportName::Snapshot(to.clone()), new)?;
        Ok(Rewound { volume, to, before: None })
    }

    fn newest_until(&self, catalog: &Catalog, name: &VolumeName, time_ms: u64) -> Result<(SnapshotName, VolumeId)> {
        let volume = ready(catalog, name)?.id;
        let infos = self.infos();
        let snapshots = catalog.snapshots(volume).filter_map(|(snapshot, id)| Some((snapshot, infos.get(&id)?)));
        let newest = snapshots
            .filter(|(_, info)| info.created_ms <= time_ms)
            .min_by_key(|(_, info)| Reverse((info.created_ms, info.id)));
        let (snapshot, info) = newest.ok_or_else(|| NodeError::NoneSoOld(name.clone()))?;
        let name = SnapshotName { volume: name.clone(), snapshot: snapshot.clone() };
        Ok((name, info.id))
    }
}
