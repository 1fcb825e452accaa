//! Snapshots of volumes, and clones of both.

use std::collections::BTreeSet;

use lsm_store::id::VolumeId;
use lsm_store::store::{Record, VolumeInfo};

use super::{NamedVolume, Node, NodeError, Result, SnapshotLoss, ready, refuse_if_taken};
use crate::catalog::{self, Catalog, Entry, Origin, State};
use crate::name::{ExportName, SnapshotName, VolumeName};

/// A snapshot with its name.
#[derive(Clone, Debug)]
pub struct NamedSnapshot {
    /// Its name.
    pub name: SnapshotName,
    /// What the store knows of it.
    pub info: VolumeInfo,
    /// Clients that have it open now.
    pub connections: u64,
}

/// A snapshot in the catalog, with the volume it is of.
pub(super) struct Found {
    pub(super) id: VolumeId,
    pub(super) volume: VolumeId,
}

/// What a snapshot's name means.
pub(super) fn find(catalog: &Catalog, name: &SnapshotName) -> Result<Found> {
    let volume = ready(catalog, &name.volume)?.id;
    let id = catalog.snapshot(volume, &name.snapshot).ok_or_else(|| NodeError::NoSuchSnapshot(name.clone()))?;
    Ok(Found { id, volume })
}

/// The volume that a snapshot named `name` would be of.
pub(super) fn free_place(catalog: &Catalog, name: &SnapshotName) -> Result<VolumeId> {
    let volume = ready(catalog, &name.volume)?.id;
    match catalog.snapshot(volume, &name.snapshot) {
        Some(_) => Err(NodeError::SnapshotNameTaken(name.clone())),
        None => Ok(volume),
    }
}

impl Node {
    /// Freezes what the volumes hold now, all at the same moment, whether clients have them open or not.
    ///
    /// # Errors
    /// [`NodeError::SnapshotNameTaken`], [`NodeError::NamedTwice`]. None is made then.
    pub fn snapshot(&self, names: &[SnapshotName]) -> Result<Vec<NamedSnapshot>> {
        let mut catalog = self.catalog.write();
        let mut named = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !named.insert(&name.volume)) {
            return Err(NodeError::NamedTwice(twice.volume.clone()));
        }
        let volumes = names.iter().map(|name| free_place(&catalog, name)).collect::<Result<Vec<_>>>()?;
        let placed = || names.iter().zip(&volumes);
        let record = |((name, volume), id): ((&SnapshotName, &VolumeId), &VolumeId)| {
            catalog::snapshot_record(*volume, &name.snapshot, *id)
        };
        let ids = self.store.snapshot_volumes(&volumes, |ids| placed().zip(ids).map(record).collect())?;
        for ((name, volume), id) in placed().zip(ids) {
            catalog.insert_snapshot(*volume, name.snapshot.clone(), id);
        }
        drop(catalog);
        names.iter().map(|name| self.find_snapshot(name)).collect()
    }

    /// One snapshot.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`], [`NodeError::NoSuchSnapshot`].
    pub fn find_snapshot(&self, name: &SnapshotName) -> Result<NamedSnapshot> {
        let id = find(&self.catalog.read(), name)?.id;
        let info = self.infos().remove(&id).ok_or_else(|| NodeError::NoSuchSnapshot(name.clone()))?;
        Ok(self.named_snapshot(name.clone(), info))
    }

    /// The snapshots of a volume, from the oldest.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`].
    pub fn snapshots(&self, of: &VolumeName) -> Result<Vec<NamedSnapshot>> {
        ready(&self.catalog.read(), of)?;
        Ok(self.all_snapshots().into_iter().filter(|snapshot| snapshot.name.volume == *of).collect())
    }

    /// All snapshots, sorted by volume, then from the oldest, without those of replicas of the cluster's volumes.
    #[must_use]
    pub fn all_snapshots(&self) -> Vec<NamedSnapshot> {
        let catalog = self.catalog.read();
        let infos = self.infos();
        let mut snapshots: Vec<_> = catalog
            .exports()
            .filter_map(|(name, id)| match name {
                ExportName::Snapshot(name) => Some(self.named_snapshot(name, *infos.get(&id)?)),
                ExportName::Volume(_) => None,
            })
            .filter(|snapshot| !is_replica(&catalog, &snapshot.name.volume))
            .collect();
        snapshots.sort_by(|a, b| (&a.name.volume, a.info.id).cmp(&(&b.name.volume, b.info.id)));
        snapshots
    }

    pub(super) fn named_snapshot(&self, name: SnapshotName, info: VolumeInfo) -> NamedSnapshot {
        NamedSnapshot { name, info, connections: self.open_count(info.id).count() }
    }

    /// Removes a snapshot. The volume and clones of the snapshot stay as they are.
    ///
    /// # Errors
    /// [`NodeError::InUse`] if a client has it open.
    pub fn remove_snapshot(&self, name: &SnapshotName) -> Result<()> {
        let mut catalog = self.catalog.write();
        let Found { id, volume } = find(&catalog, name)?;
        self.check_unused(&name.clone().into(), id)?;
        self.drop_snapshot(&mut catalog, volume, &name.snapshot, id, None)
    }

    /// That a volume may go as far as its snapshots are concerned: they may go too, and nobody has one open.
    pub(super) fn check_snapshots_may_go(
        &self,
        catalog: &Catalog,
        name: &VolumeName,
        volume: VolumeId,
        loss: SnapshotLoss,
    ) -> Result<()> {
        let count = catalog.snapshots(volume).count() as u64;
        if count > 0 && loss == SnapshotLoss::Refused {
            return Err(NodeError::HasSnapshots { name: name.clone(), count });
        }
        for (snapshot, id) in catalog.snapshots(volume) {
            let name = SnapshotName { volume: name.clone(), snapshot: snapshot.clone() };
            self.check_unused(&name.into(), id)?;
        }
        Ok(())
    }

    /// Removes all snapshots of a volume.
    pub(super) fn drop_snapshots(&self, catalog: &mut Catalog, volume: VolumeId) -> Result<()> {
        let snapshots: Vec<_> = catalog.snapshots(volume).map(|(snapshot, id)| (snapshot.clone(), id)).collect();
        snapshots.iter().try_for_each(|(snapshot, id)| self.drop_snapshot(catalog, volume, snapshot, *id, None))
    }

    pub(super) fn drop_snapshot(
        &self,
        catalog: &mut Catalog,
        volume: VolumeId,
        name: &VolumeName,
        id: VolumeId,
        further: Option<Record>,
    ) -> Result<()> {
        let removal = std::iter::once(catalog::snapshot_removal(volume, name)).chain(further).collect();
        // A seed of a clone may be another name for a snapshot.
        let has_other_name = catalog.snapshots(volume).any(|(other, named)| named == id && other != name);
        if has_other_name || self.held.lock().contains_key(&id) {
            self.store.put_records(removal)?;
            catalog.remove_snapshot(volume, name);
            return Ok(());
        }
        self.store.delete_volume(id, removal)?;
        catalog.remove_snapshot(volume, name);
        self.open.lock().remove(&id);
        Ok(())
    }

    /// Gives a snapshot another name among those of its volume.
    ///
    /// # Errors
    /// [`NodeError::SnapshotNameTaken`]; [`NodeError::InUse`] if a client has it open, which would look for it by the
    /// old name when it connects again.
    pub fn rename_snapshot(&self, name: &SnapshotName, to: &VolumeName) -> Result<NamedSnapshot> {
        let mut catalog = self.catalog.write();
        let Found { id, volume } = find(&catalog, name)?;
        let new = SnapshotName { volume: name.volume.clone(), snapshot: to.clone() };
        free_place(&catalog, &new)?;
        self.check_unused(&name.clone().into(), id)?;
        let records = [catalog::snapshot_removal(volume, &name.snapshot), catalog::snapshot_record(volume, to, id)];
        self.store.put_records(records.into())?;
        catalog.remove_snapshot(volume, &name.snapshot);
        catalog.insert_snapshot(volume, to.clone(), id);
        drop(catalog);
        self.find_snapshot(&new)
    }

    /// Puts a volume back to what one of its snapshots holds, its size too. What was written since is lost.
    ///
    /// # Errors
    /// [`NodeError::InUse`] if a client has the volume open.
    pub fn roll_back(&self, to: &SnapshotName) -> Result<NamedVolume> {
        // Held for writing, so that nobody opens the volume meanwhile.
        let catalog = self.catalog.write();
        let Found { id, volume } = find(&catalog, to)?;
        self.check_unused(&to.volume.clone().into(), volume)?;
        self.store.roll_back_volume(volume, id)?;
        drop(catalog);
        self.volume(&to.volume)
    }

    /// Makes a volume that holds what `of` holds now. From then on neither knows of the other: both can be changed and
    /// removed. Who may open it are those who may open `of`, so that a copy is no way around a list.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`], [`NodeError::NoSuchSnapshot`], [`NodeError::NameTaken`].
    pub fn clone_volume(&self, of: &ExportName, name: &VolumeName) -> Result<NamedVolume> {
        let mut catalog = self.catalog.write();
        let origin = origin(&catalog, of)?;
        refuse_if_taken(&catalog, name)?;
        let source = origin.snapshot.unwrap_or(origin.volume);
        let entry = |id| Entry { id, state: State::Ready, origin: Some(origin) };
        let allow = catalog.allow(origin.volume);
        let id = self.store.clone_volume(source, |id| {
            let list = (!allow.is_empty()).then(|| catalog::allow_record(id, &allow));
            [catalog::record(name, entry(id))].into_iter().chain(list).collect()
        })?;
        catalog.insert(name.clone(), entry(id));
        catalog.set_allow(id, allow);
        drop(catalog);
        self.volume(name)
    }

    /// The clones that were made of a snapshot; of a volume, those of its snapshots too.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`], [`NodeError::NoSuchSnapshot`].
    pub fn children(&self, of: &ExportName) -> Result<Vec<NamedVolume>> {
        let parent = origin(&self.catalog.read(), of)?;
        let is_child = |volume: &NamedVolume| {
            let ids = volume.origin.as_ref().map(|origin| origin.ids);
            ids.is_some_and(|ids| ids.volume == parent.volume && (parent.snapshot.is_none() || ids == parent))
        };
        Ok(self.volumes().into_iter().filter(is_child).collect())
    }
}

fn is_replica(catalog: &Catalog, volume: &VolumeName) -> bool {
    catalog.entry(volume).is_some_and(|entry| entry.state == State::Replica)
}

/// What a clone of `of` is made from.
pub(super) fn origin(catalog: &Catalog, of: &ExportName) -> Result<Origin> {
    match of {
        ExportName::Volume(name) => Ok(Origin { volume: ready(catalog, name)?.id, snapshot: None }),
        ExportName::Snapshot(name) => {
            let Found { id, volume } = find(catalog, name)?;
            Ok(Origin { volume, snapshot: Some(id) })
        }
    }
}
