//! Snapshots, clones, rolling back and replacing: layers change hands, and nothing is copied.
//!
//! A *cut* moves a volume to a new layer on top of the one it was in, which nobody writes to from then on. It happens
//! under the front's lock, so it lies between two records of the journal. What came before is synced, then the manifest
//! gets the new layers together with who reads the old ones. Until that commit the cut is in memory only: after a crash
//! replay takes what was written to the new layer for the volume's own (see [`super::recovery::layer_of`]). A flush job
//! or a merge that comes in between commits the layers that its runs may name.

use std::sync::Arc;

use super::Record;
use super::inner::Inner;
use super::volume::VolumeState;
use crate::error::{Error, Result};
use crate::id::{LayerId, Sequence, VolumeId};
use crate::layers::Lineage;
use crate::manifest::{Edit, VolumeRecord};

/// Volumes in one snapshot at most.
pub const SNAPSHOT_GROUP_MAX: usize = 64;

/// A volume at the moment it was cut.
pub(super) struct Cut {
    volume: Arc<VolumeState>,
    /// What its readers saw. The newest layer has a root, for whoever is to read it.
    below: Lineage,
    /// The volume then.
    record: VolumeRecord,
}

impl Inner {
    /// See [`super::Store::snapshot_volumes`].
    pub(super) fn snapshot(
        &self,
        of: &[VolumeId],
        records: impl FnOnce(&[VolumeId]) -> Vec<Record>,
    ) -> Result<Vec<VolumeId>> {
        self.refuse_if_unwritable()?;
        let is_repeated = of.iter().enumerate().any(|(at, id)| of[..at].contains(id));
        if of.is_empty() || of.len() > SNAPSHOT_GROUP_MAX || is_repeated {
            return Err(Error::Invalid { what: "the group", must: "1 to 64 volumes, each named once" });
        }
        let _changing = self.volume_changes.lock();
        let volumes = of.iter().map(|id| self.writable_volume(*id)).collect::<Result<Vec<_>>>()?;
        let cuts = self.cut_volumes(&volumes)?;
        let mut meta = self.meta.lock();
        let ids: Vec<_> = cuts.iter().map(|_| meta.new_volume_id()).collect();
        let mut edits = Vec::new();
        for (cut, id) in cuts.iter().zip(&ids) {
            edits.extend(meta.move_edits(cut.volume.id(), &cut.volume.lineage()?));
            edits.push(Edit::SetVolume(*id, cut.snapshot()));
        }
        edits.extend(records(&ids).into_iter().map(Record::into_edit));
        if let Err(error) = self.commit(&mut meta, edits) {
            cuts.iter().for_each(|cut| self.layers.lock().remove_root(cut.below.newest()));
            return Err(error);
        }
        cuts.iter().zip(&ids).for_each(|(cut, id)| self.adopt(*id, &cut.snapshot(), None));
        Ok(ids)
    }

    /// See [`super::Store::clone_volume`].
    pub(super) fn clone_of(&self, of: VolumeId, records: impl FnOnce(VolumeId) -> Vec<Record>) -> Result<VolumeId> {
        self.refuse_if_unwritable()?;
        let _changing = self.volume_changes.lock();
        let origin = self.volume_state(of)?;
        let (below, record) = if origin.snapshot_of().is_some() {
            let mut layers = self.layers.lock();
            layers.add_root(origin.layer());
            (layers.lineage_of(origin.layer()).ok_or(Error::NoSuchVolume(of))?, origin.record())
        } else {
            let cut = self.cut_volumes(std::slice::from_ref(&origin))?.remove(0);
            (cut.below, cut.record)
        };
        let mut meta = self.meta.lock();
        let (id, lineage) = (meta.new_volume_id(), below.pushed(meta.new_layer_id()));
        self.add_layer(&lineage, below.newest());
        let record = VolumeRecord { layer: lineage.newest(), created_ms: self.wall_ms(), snapshot_of: None, ..record };
        let mut edits = Vec::new();
        if origin.snapshot_of().is_none() {
            edits.extend(meta.move_edits(of, &origin.lineage()?));
        }
        edits.push(Edit::AddLayer(lineage.newest(), Some(below.newest())));
        edits.push(Edit::SetVolume(id, record));
        edits.extend(records(id).into_iter().map(Record::into_edit));
        if let Err(error) = self.commit(&mut meta, edits) {
            self.layers.lock().remove_root(lineage.newest());
            return Err(error);
        }
        self.adopt(id, &record, Some(lineage));
        Ok(id)
    }

    /// See [`super::Store::roll_back_volume`].
    pub(super) fn roll_back(&self, id: VolumeId, to: VolumeId) -> Result<()> {
        self.refuse_if_unwritable()?;
        let _changing = self.volume_changes.lock();
        let (volume, snapshot) = (self.writable_volume(id)?, self.volume_state(to)?);
        if snapshot.snapshot_of() != Some(id) {
            return Err(Error::Invalid { what: "what a volume is rolled back to", must: "a snapshot of that volume" });
        }
        self.top_up_ids()?;
        // Nothing may be placed between the commit and the move: it would be neither before nor after.
        let _front = self.front.lock();
        self.refuse_if_poisoned()?;
        let mut meta = self.meta.lock();
        let below = self.layers.lock().lineage_of(snapshot.layer()).ok_or(Error::NoSuchVolume(to))?;
        let lineage = below.pushed(meta.new_layer_id());
        let record =
            VolumeRecord { layer: lineage.newest(), size_bytes: snapshot.size_bytes(), ..meta.known_volume(id) };
        let mut edits = meta.missing_layers(&lineage);
        edits.push(Edit::SetVolume(id, record));
        self.commit(&mut meta, edits)?;
        let left = volume.layer();
        let mut layers = self.layers.lock();
        layers.add(lineage.newest(), Some(below.newest()));
        layers.add_root(lineage.newest());
        layers.remove_root(left);
        self.collector.schedule.note_freed(volume.size_bytes());
        volume.resize(record.size_bytes);
        volume.move_to(lineage);
        volume.allowance().forget();
        Ok(())
    }

    /// See [`super::Store::replace_volume`].
    pub(super) fn replace(
        &self,
        id: VolumeId,
        by: VolumeId,
        records: impl FnOnce(VolumeId) -> Vec<Record>,
    ) -> Result<VolumeId> {
        self.refuse_if_unwritable()?;
        if id == by {
            return Err(Error::Invalid { what: "what replaces a volume", must: "another volume" });
        }
        let _changing = self.volume_changes.lock();
        let (volume, other) = (self.writable_volume(id)?, self.writable_volume(by)?);
        let cut = self.cut_volumes(std::slice::from_ref(&other))?.remove(0);
        let replaced = self.commit_replaced(&volume, &cut, records);
        if replaced.is_err() {
            other.set_removed(false);
            self.layers.lock().remove_root(cut.below.newest());
        }
        replaced
    }

    /// Has `volume` go on from where the other was cut, which becomes a snapshot of it; the other is gone.
    fn commit_replaced(
        &self,
        volume: &VolumeState,
        cut: &Cut,
        records: impl FnOnce(VolumeId) -> Vec<Record>,
    ) -> Result<VolumeId> {
        // Nothing may be placed between the commit and the move: it would be neither before nor after.
        let _front = self.front.lock();
        self.refuse_if_poisoned()?;
        let mut meta = self.meta.lock();
        let snapshot = meta.new_volume_id();
        let lineage = cut.below.pushed(meta.new_layer_id());
        let frozen = VolumeRecord { snapshot_of: Some(volume.id()), ..cut.record };
        let head = VolumeRecord {
            layer: lineage.newest(),
            size_bytes: cut.record.size_bytes,
            ..meta.known_volume(volume.id())
        };
        let mut edits = meta.missing_layers(&lineage);
        edits.push(Edit::SetVolume(snapshot, frozen));
        edits.push(Edit::SetVolume(volume.id(), head));
        edits.push(Edit::RemoveVolume(cut.volume.id()));
        edits.extend(records(snapshot).into_iter().map(Record::into_edit));
        cut.volume.set_removed(true);
        self.commit(&mut meta, edits)?;
        let left = volume.layer();
        let mut layers = self.layers.lock();
        layers.add(lineage.newest(), Some(cut.below.newest()));
        layers.add_root(lineage.newest());
        layers.remove_root(left);
        layers.remove_root(cut.volume.layer());
        drop(layers);
        self.collector.schedule.note_freed(volume.size_bytes());
        volume.resize(head.size_bytes);
        volume.move_to(lineage);
        volume.allowance().forget();
        self.volumes.write().remove(&cut.volume.id());
        self.limited.write().retain(|limited| limited.id() != cut.volume.id());
        self.adopt(snapshot, &frozen, None);
        Ok(snapshot)
    }

    /// Cuts the volumes at one moment and syncs what was written to them before.
    pub(super) fn cut_volumes(&self, volumes: &[Arc<VolumeState>]) -> Result<Vec<Cut>> {
        self.top_up_ids()?;
        let new_layers: Vec<LayerId> = {
            let mut meta = self.meta.lock();
            volumes.iter().map(|_| meta.new_layer_id()).collect()
        };
        let front = self.front.lock();
        self.refuse_if_poisoned()?;
        let mut layers = self.layers.lock();
        let mut cuts = Vec::with_capacity(volumes.len());
        for (volume, layer) in volumes.iter().zip(new_layers) {
            let (below, record) = (volume.lineage()?, volume.record());
            // The root that the volume had in the old layer is now that of whoever is to read it.
            layers.add(layer, Some(below.newest()));
            layers.add_root(layer);
            volume.move_to(below.pushed(layer));
            let created_ms = self.wall_ms();
            cuts.push(Cut { volume: Arc::clone(volume), below, record: VolumeRecord { created_ms, ..record } });
        }
        let last = Sequence(front.next.0 - 1);
        drop(layers);
        drop(front);
        self.sync_to(last)?;
        Ok(cuts)
    }

    /// Adds the newest layer of `lineage` in place of a root of the one below it.
    fn add_layer(&self, lineage: &Lineage, below: LayerId) {
        let mut layers = self.layers.lock();
        layers.add(lineage.newest(), Some(below));
        layers.add_root(lineage.newest());
        layers.remove_root(below);
    }

    fn writable_volume(&self, id: VolumeId) -> Result<Arc<VolumeState>> {
        let volume = self.volume_state(id)?;
        if volume.snapshot_of().is_some() {
            return Err(Error::Invalid { what: "what is written to or cut", must: "a volume, not a snapshot" });
        }
        Ok(volume)
    }

    /// A volume or snapshot that the manifest knows now can be opened.
    pub(super) fn adopt(&self, id: VolumeId, record: &VolumeRecord, lineage: Option<Lineage>) {
        let state = VolumeState::new(id, record);
        if let Some(lineage) = lineage {
            state.move_to(lineage);
        }
        self.volumes.write().insert(id, Arc::new(state));
    }
}

impl Cut {
    /// What the manifest keeps of a snapshot.
    fn snapshot(&self) -> VolumeRecord {
        VolumeRecord { snapshot_of: Some(self.volume.id()), ..self.record }
    }
}
