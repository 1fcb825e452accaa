//! Replicas of the cluster's volumes, as the node's store has them: volumes that no client can open, under names made of
//! the cluster's numbers. Whatever is done here may have been done before a crash, and is then done already.

use std::sync::Arc;

use lsm_store::id::VolumeId;
use lsm_store::store::{Limits, Record, Volume, VolumeInfo, VolumeSpec};

use super::intake::{is_second_intake, shown_meanwhile};
use super::seed::seed_of;
use super::{NamedSnapshot, Node, NodeError, Result, VolumeChanges, VolumeExport};
use crate::catalog::{self, Catalog, Entry, State};
use crate::name::{SnapshotName, VolumeName};
use crate::schedule::stamp_ms;

/// What the replica of a volume of the cluster is called in the catalog.
pub(super) fn catalog_name(volume: net::id::VolumeId) -> VolumeName {
    format!("replica-{:016x}", volume.0).parse().expect("letters, a hyphen and digits are a name")
}

/// What a note's value is.
pub(super) const NOTED_VERSION: u8 = 1;

/// What the keys of notes of replicas begin with.
const NOTES: &[u8] = b"replica/";

/// What the keys of notes of imports begin with.
const IMPORTS: &[u8] = b"import/";

/// The key of a note about a volume.
pub(super) fn noted_key(notes: &[u8], volume: net::id::VolumeId) -> Vec<u8> {
    [notes, format!("{:016x}", volume.0).as_bytes()].concat()
}

/// The volume that a note of this key is about, if the key is one of these.
pub(super) fn number_under(notes: &[u8], key: &[u8]) -> Option<net::id::VolumeId> {
    let number = std::str::from_utf8(key.strip_prefix(notes)?).ok()?;
    u64::from_str_radix(number, 16).ok().map(net::id::VolumeId)
}

/// The note that a volume has, or had, a replica here.
pub(super) fn note(volume: net::id::VolumeId) -> Record {
    Record { key: noted_key(NOTES, volume), value: Some(vec![NOTED_VERSION]) }
}

pub(super) fn entry(catalog: &Catalog, volume: net::id::VolumeId) -> Result<Entry> {
    let name = catalog_name(volume);
    let entry = catalog.entry(&name).filter(|entry| entry.state == State::Replica);
    entry.ok_or_else(|| NodeError::NoSuchVolume(name.to_string()))
}

impl Node {
    /// The store's volume of a replica, which is made if there is none.
    pub(crate) fn replica(&self, volume: net::id::VolumeId, spec: VolumeSpec) -> Result<Volume> {
        let known = entry(&self.catalog.read(), volume);
        let id = match known {
            Ok(entry) => entry.id,
            Err(_) => self.create_in_state(&catalog_name(volume), spec, State::Replica)?,
        };
        let volume = self.store.volume(id)?;
        // Nothing is ordered that has no room, and all that was ordered is to be applied.
        volume.foresee_room();
        Ok(volume)
    }

    /// Keeps room for a replica: as much of it as there is, which is returned; `None` if it is not known yet what it maps.
    pub(crate) fn reserve_for_replica(&self, volume: net::id::VolumeId, wanted_bytes: u64) -> Result<Option<u64>> {
        let id = entry(&self.catalog.read(), volume)?.id;
        Ok(self.store.reserve_backed(id, wanted_bytes)?)
    }

    /// Keeps room for a replica, all of it or nothing more than before. Reads what the volume maps.
    pub(crate) fn reserve_all_for_replica(&self, volume: net::id::VolumeId, reserve_bytes: Option<u64>) -> Result<()> {
        let id = entry(&self.catalog.read(), volume)?.id;
        Ok(self.store.set_limits(id, Limits { reserve_bytes, quota_bytes: None })?)
    }

    /// Notes for good that the volume has, or had, a replica here; false if that was known.
    pub(crate) fn note_replica(&self, volume: net::id::VolumeId) -> Result<bool> {
        let is_known = self.is_noted(volume);
        if !is_known {
            self.store.put_records(vec![note(volume)])?;
        }
        Ok(!is_known)
    }

    /// Whether it is noted that the volume has, or had, a replica here.
    pub(crate) fn is_noted(&self, volume: net::id::VolumeId) -> bool {
        let key = noted_key(NOTES, volume);
        self.store.records().iter().any(|record| record.key == key && record.value.is_some())
    }

    /// The volumes of which it is noted that they have, or had, a replica here.
    pub(crate) fn noted(&self) -> Vec<net::id::VolumeId> {
        self.numbers_under(NOTES)
    }

    pub(super) fn numbers_under(&self, prefix: &[u8]) -> Vec<net::id::VolumeId> {
        let noted = self.store.records().into_iter().filter(|record| record.value.is_some());
        noted.filter_map(|record| number_under(prefix, &record.key)).collect()
    }

    /// Notes that this node gives a volume of the cluster its first content.
    pub(crate) fn note_import(&self, volume: net::id::VolumeId) -> Result<()> {
        Ok(self
            .store
            .put_records(vec![Record { key: noted_key(IMPORTS, volume), value: Some(vec![NOTED_VERSION]) }])?)
    }

    /// That has come to its end.
    pub(crate) fn forget_import(&self, volume: net::id::VolumeId) -> Result<()> {
        Ok(self.store.put_records(vec![Record { key: noted_key(IMPORTS, volume), value: None }])?)
    }

    /// The volumes of which it is noted that this node gives them their first content.
    pub(crate) fn imports(&self) -> Vec<net::id::VolumeId> {
        self.numbers_under(IMPORTS)
    }

    /// The volume is none of the cluster's any more, or is nothing to this node.
    pub(crate) fn forget_replica(&self, volume: net::id::VolumeId) -> Result<()> {
        Ok(self.store.put_records(vec![Record { key: noted_key(NOTES, volume), value: None }])?)
    }

    /// Whether the store has a volume for a replica.
    pub(crate) fn has_replica(&self, volume: net::id::VolumeId) -> bool {
        entry(&self.catalog.read(), volume).is_ok()
    }

    /// The volumes of the cluster of which the catalog has replicas.
    #[must_use]
    pub fn replicas(&self) -> Vec<net::id::VolumeId> {
        let catalog = self.catalog.read();
        let number = |name: &VolumeName| u64::from_str_radix(name.as_str().strip_prefix("replica-")?, 16).ok();
        let replicas = catalog.iter().filter(|(_, entry)| entry.state == State::Replica);
        replicas.filter_map(|(name, _)| number(name)).map(net::id::VolumeId).collect()
    }

    /// Removes a replica and all its snapshots.
    pub(crate) fn remove_replica(&self, volume: net::id::VolumeId) -> Result<()> {
        let mut catalog = self.catalog.write();
        let Ok(entry) = entry(&catalog, volume) else { return Ok(()) };
        self.drop_snapshots(&mut catalog, entry.id)?;
        self.drop_unnamed(&catalog, entry.id)?;
        let name = catalog_name(volume);
        self.delete_volume(&mut catalog, entry.id, catalog::removal(&name))?;
        catalog.remove(&name);
        Ok(())
    }

    /// Removes snapshots of replicas that have no name: what was pinned or sent when the process ended.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`] if there is no such replica; those of the store.
    pub fn remove_unnamed_snapshots(&self) -> Result<()> {
        let catalog = self.catalog.write();
        let replicas: Vec<_> =
            catalog.iter().filter(|(_, entry)| entry.state == State::Replica).map(|(_, entry)| entry.id).collect();
        replicas.into_iter().try_for_each(|id| self.drop_unnamed(&catalog, id))
    }

    fn drop_unnamed(&self, catalog: &Catalog, of: VolumeId) -> Result<()> {
        let is_named = |id: VolumeId| catalog.snapshots(of).any(|(_, named)| named == id);
        let snapshots = self.store.volumes().into_iter().filter(|info| info.snapshot_of == Some(of));
        for info in snapshots.filter(|info| !is_named(info.id)) {
            self.store.delete_volume(info.id, Vec::new())?;
        }
        Ok(())
    }

    /// Gives a replica another size.
    pub(crate) fn resize_replica(&self, volume: net::id::VolumeId, size_bytes: u64) -> Result<()> {
        let entry = entry(&self.catalog.read(), volume)?;
        Ok(self.store.resize_volume(entry.id, size_bytes)?)
    }

    /// Freezes what a replica holds now; while a snapshot is on its way into the volume, what it held before, and nothing for
    /// another that is to come into it.
    pub(crate) fn snapshot_replica(&self, volume: net::id::VolumeId, name: &VolumeName) -> Result<()> {
        let mut catalog = self.catalog.write();
        let of = entry(&catalog, volume)?.id;
        if catalog.snapshot(of, name).is_some() || is_second_intake(&catalog, of, name) {
            return Ok(());
        }
        if let Some(before) = shown_meanwhile(&catalog, of, name) {
            return self.name_again(&mut catalog, of, name.clone(), before);
        }
        let record = |ids: &[VolumeId]| ids.iter().map(|id| catalog::snapshot_record(of, name, *id)).collect();
        for id in self.store.snapshot_volumes(&[of], record)? {
            catalog.insert_snapshot(of, name.clone(), id);
        }
        Ok(())
    }

    /// Removes a snapshot of a replica.
    pub(crate) fn remove_replica_snapshot(&self, volume: net::id::VolumeId, name: &VolumeName) -> Result<()> {
        let mut catalog = self.catalog.write();
        let of = entry(&catalog, volume)?.id;
        // Whoever made the seed may ask for it again, and it would be another: nobody here starts from one any more.
        let used = seed_of(name).map(note);
        match (catalog.snapshot(of, name), used) {
            (Some(id), used) => self.drop_snapshot(&mut catalog, of, name, id, used),
            (None, Some(used)) => Ok(self.store.put_records(vec![used])?),
            (None, None) => Ok(()),
        }
    }

    /// Gives a snapshot of a replica another name, if there is the one and not the other.
    pub(crate) fn rename_replica_snapshot(
        &self,
        volume: net::id::VolumeId,
        name: &VolumeName,
        to: &VolumeName,
    ) -> Result<()> {
        let mut catalog = self.catalog.write();
        let of = entry(&catalog, volume)?.id;
        let (Some(id), None) = (catalog.snapshot(of, name), catalog.snapshot(of, to)) else { return Ok(()) };
        let records = [catalog::snapshot_removal(of, name), catalog::snapshot_record(of, to, id)];
        self.store.put_records(records.into())?;
        catalog.remove_snapshot(of, name);
        catalog.insert_snapshot(of, to.clone(), id);
        Ok(())
    }

    /// What the store knows of a replica.
    pub(crate) fn replica_info(&self, volume: net::id::VolumeId) -> Result<VolumeInfo> {
        let id = entry(&self.catalog.read(), volume)?.id;
        let info = self.store.volumes().into_iter().find(|info| info.id == id);
        Ok(info.ok_or(lsm_store::Error::NoSuchVolume(id))?)
    }

    /// Puts a replica back to what a snapshot of it holds.
    pub(crate) fn roll_back_replica(&self, volume: net::id::VolumeId, to: &VolumeName) -> Result<()> {
        let catalog = self.catalog.read();
        let of = entry(&catalog, volume)?.id;
        match catalog.snapshot(of, to) {
            Some(id) => Ok(self.store.roll_back_volume(of, id)?),
            // It was removed by a later record before the crash, and this one had been done before that.
            None => Ok(()),
        }
    }

    /// The snapshots of a replica, from the oldest. Each was made when its name says, if it does, else when it came here: the store
    /// knows only that, and all those that came with the content of another node came at once.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`] if there is no such replica; those of the store.
    pub fn replica_snapshots(&self, volume: net::id::VolumeId) -> Result<Vec<NamedSnapshot>> {
        self.snapshots_of_replica(&self.catalog.read(), volume)
    }

    pub(super) fn snapshots_of_replica(
        &self,
        catalog: &Catalog,
        volume: net::id::VolumeId,
    ) -> Result<Vec<NamedSnapshot>> {
        let (of, infos) = (entry(catalog, volume)?.id, self.infos());
        let named = |(snapshot, id): (&VolumeName, VolumeId)| {
            let name = SnapshotName { volume: catalog_name(volume), snapshot: snapshot.clone() };
            let info = *infos.get(&id)?;
            let created_ms = stamp_ms(snapshot).unwrap_or(info.created_ms);
            Some(self.named_snapshot(name, VolumeInfo { created_ms, ..info }))
        };
        let mut snapshots: Vec<_> = catalog.snapshots(of).filter_map(named).collect();
        snapshots.sort_by_key(|snapshot| snapshot.info.id);
        Ok(snapshots)
    }

    /// Opens a snapshot of a replica, for a client to read.
    pub(crate) fn replica_snapshot(&self, volume: net::id::VolumeId, name: &VolumeName) -> Result<Arc<VolumeExport>> {
        let catalog = self.catalog.read();
        let of = entry(&catalog, volume)?.id;
        let none = || NodeError::NoSuchSnapshot(SnapshotName { volume: catalog_name(volume), snapshot: name.clone() });
        self.snapshot_export(catalog.snapshot(of, name).ok_or_else(none)?)
    }

    /// Opens what has this number in the store.
    pub(crate) fn snapshot_export(&self, id: VolumeId) -> Result<Arc<VolumeExport>> {
        Ok(Arc::new(VolumeExport::new(self.store.volume(id)?, self.open_count(id))))
    }

    /// Where a replica as the store has it, or a snapshot of it, differs from a snapshot of it.
    pub(crate) fn replica_changes(
        &self,
        volume: net::id::VolumeId,
        from: &VolumeName,
        to: Option<&VolumeName>,
    ) -> Result<VolumeChanges> {
        let catalog = self.catalog.read();
        let of = entry(&catalog, volume)?.id;
        let none = |name: &VolumeName| {
            NodeError::NoSuchSnapshot(SnapshotName { volume: catalog_name(volume), snapshot: name.clone() })
        };
        let find = |name: &VolumeName| catalog.snapshot(of, name).ok_or_else(|| none(name));
        let (from, to) = (find(from)?, to.map_or(Ok(of), find)?);
        self.changes_between(from, to)
    }

    /// Freezes what a replica holds now, without a name. Whoever asks removes it.
    pub(crate) fn pin_replica(&self, volume: net::id::VolumeId) -> Result<VolumeId> {
        let of = entry(&self.catalog.read(), volume)?.id;
        let ids = self.store.snapshot_volumes(&[of], |_| Vec::new())?;
        Ok(ids.first().copied().expect("one volume gives one snapshot"))
    }

    /// Removes what was frozen without a name.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`] if there is no such replica; those of the store.
    pub fn unpin_replica(&self, snapshot: VolumeId) -> Result<()> {
        Ok(self.store.delete_volume(snapshot, Vec::new())?)
    }
}
