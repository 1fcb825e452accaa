//! What a snapshot from elsewhere needs of a node: volumes that nobody sees yet, and their way into the catalog.

use std::sync::Arc;

use lsm_store::id::VolumeId;
use lsm_store::store::{Record, Volume};
use parking_lot::RwLockWriteGuard;

use super::import::Import;
use super::receptions::Reception;
use super::snapshot::{find, free_place, origin};
use super::{NamedSnapshot, Node, NodeError, Result, ready, refuse_if_taken};
use crate::catalog::{self, Catalog, Entry, Origin, State};
use crate::name::{ExportName, NAME_BYTES_MAX, SnapshotName, VolumeName};
use crate::transfer::TransferError;

/// A volume that is to go on from one of its snapshots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replacing<'a> {
    /// The volume.
    pub(crate) volume: &'a VolumeName,
    /// The snapshot it goes on from.
    pub(crate) base: &'a VolumeName,
    /// The snapshot of what it will hold.
    pub(crate) snapshot: &'a VolumeName,
    /// What the volume holds beside the snapshot may be lost.
    pub(crate) force: bool,
}

impl Replacing<'_> {
    fn base_name(&self) -> SnapshotName {
        SnapshotName { volume: self.volume.clone(), snapshot: self.base.clone() }
    }

    fn new_name(&self) -> SnapshotName {
        SnapshotName { volume: self.volume.clone(), snapshot: self.snapshot.clone() }
    }
}

/// Where a snapshot comes, unseen.
pub(crate) enum Hidden {
    /// It goes if it does not come to its end.
    Import(Import),
    /// It stays then.
    Reception(Reception),
}

impl Hidden {
    /// Where the content goes.
    pub(crate) fn volume(&self) -> &Volume {
        match self {
            Self::Import(import) => import.volume(),
            Self::Reception(reception) => reception.volume(),
        }
    }

    /// What ends it, in the commit in which its content gets a place elsewhere.
    fn removal(&self) -> Record {
        match self {
            Self::Import(import) => catalog::removal(import.name()),
            Self::Reception(reception) => catalog::reception_removal(reception.name()),
        }
    }

    /// That commit was made.
    fn leave(&mut self, catalog: &mut Catalog) {
        match self {
            Self::Import(import) => {
                catalog.remove(import.name());
                import.leave();
            }
            Self::Reception(reception) => catalog.remove_reception(reception.name()),
        }
    }
}

impl Node {
    /// Makes a clone that nobody can open. It goes when it is dropped, or after a crash at the next start.
    pub(crate) fn hidden_clone(self: &Arc<Self>, of: &ExportName, purpose: &str) -> Result<Import> {
        let catalog = self.catalog.write();
        let origin = origin(&catalog, of)?;
        self.hidden_clone_from(catalog, origin.snapshot.unwrap_or(origin.volume), Some(origin), purpose)
    }

    pub(super) fn hidden_clone_from(
        self: &Arc<Self>,
        mut catalog: RwLockWriteGuard<'_, Catalog>,
        source: VolumeId,
        origin: Option<Origin>,
        purpose: &str,
    ) -> Result<Import> {
        let name = self.unused_name(&catalog, purpose);
        let entry = |id| Entry { id, state: State::Importing, origin };
        let id = self.store.clone_volume(source, |id| vec![catalog::record(&name, entry(id))])?;
        catalog.insert(name.clone(), entry(id));
        drop(catalog);
        match self.store.volume(id) {
            Ok(volume) => Ok(Import::new(Arc::clone(self), name, id, volume)),
            Err(error) => {
                self.remove_entry(&name, id)?;
                Err(error.into())
            }
        }
    }

    fn unused_name(&self, catalog: &Catalog, purpose: &str) -> VolumeName {
        let name = |number: u64| {
            let text = format!("{purpose}.{number:x}");
            assert!(text.len() <= NAME_BYTES_MAX, "purposes are short");
            text.parse::<VolumeName>().expect("letters, a dot and digits are a name")
        };
        let mut names = (self.wall_ms()..=u64::MAX).map(name);
        names.find(|name| catalog.entry(name).is_none()).expect("there are more numbers than volumes")
    }

    /// The snapshot of a volume that was made last.
    pub(crate) fn newest_snapshot(&self, of: &VolumeName) -> Option<VolumeName> {
        let catalog = self.catalog.read();
        let volume = ready(&catalog, of).ok()?.id;
        // Ids grow.
        catalog.snapshots(volume).max_by_key(|(_, id)| *id).map(|(name, _)| name.clone())
    }

    /// That the volume may go on from the snapshot.
    ///
    /// # Errors
    /// [`TransferError::NoBase`], [`TransferError::Changed`]; [`NodeError::SnapshotNameTaken`], [`NodeError::InUse`].
    pub(crate) fn check_replaceable(&self, replacing: &Replacing<'_>) -> Result<(), TransferError> {
        self.replaceable(&self.catalog.read(), replacing).map(drop)
    }

    fn replaceable(&self, catalog: &Catalog, replacing: &Replacing<'_>) -> Result<Entry, TransferError> {
        let entry = ready(catalog, replacing.volume)?;
        let base = match find(catalog, &replacing.base_name()) {
            Err(NodeError::NoSuchSnapshot(name)) => return Err(TransferError::NoBase(name)),
            found => found?.id,
        };
        free_place(catalog, &replacing.new_name())?;
        self.check_unused(&replacing.volume.clone().into(), entry.id)?;
        let (volume, base) = (self.store.volume(entry.id)?, self.store.volume(base)?);
        let size = volume.size_bytes();
        let is_same =
            size == base.size_bytes() && volume.changes_since(&base, 0, size, 2)?.iter().all(|extent| !extent.changed);
        if is_same || replacing.force {
            return Ok(entry);
        }
        Err(TransferError::Changed { volume: replacing.volume.clone(), base: replacing.base_name() })
    }

    /// Has the volume hold what was received, names the snapshot of that, and ends what it came into: all of it or nothing.
    ///
    /// # Errors
    /// As [`Node::check_replaceable`]. `by` is as it was then.
    pub(crate) fn replace(&self, replacing: &Replacing<'_>, by: &mut Hidden) -> Result<NamedSnapshot, TransferError> {
        // Held for writing, so that nobody opens the volume meanwhile.
        let mut catalog = self.catalog.write();
        let entry = self.replaceable(&catalog, replacing)?;
        let clone = by.volume().id();
        let records = |id| vec![by.removal(), catalog::snapshot_record(entry.id, replacing.snapshot, id)];
        let id = self.store.replace_volume(entry.id, clone, records)?;
        by.leave(&mut catalog);
        catalog.insert_snapshot(entry.id, replacing.snapshot.clone(), id);
        self.open.lock().remove(&clone);
        drop(catalog);
        self.overtake(replacing.volume, by);
        Ok(self.find_snapshot(&replacing.new_name())?)
    }

    /// Has what was received be the volume `name`, with a first snapshot of it: both or nothing.
    ///
    /// # Errors
    /// [`NodeError::NameTaken`] if somebody else was given the name while this came. `by` is as it was then.
    pub(crate) fn declare_ready_with(
        &self,
        name: &VolumeName,
        by: &mut Hidden,
        snapshot: &VolumeName,
    ) -> Result<NamedSnapshot> {
        let mut catalog = self.catalog.write();
        if let Hidden::Reception(_) = by {
            refuse_if_taken(&catalog, name)?;
        }
        let id = by.volume().id();
        let entry = Entry { id, state: State::Ready, origin: None };
        // An import has had the name from its beginning: its record gives way to the volume's.
        let ended = Some(by.removal()).filter(|removal| removal.key != catalog::removal(name).key);
        let records = |ids: &[_]| {
            let snapshots = ids.iter().map(|of| catalog::snapshot_record(id, snapshot, *of));
            snapshots.chain(ended).chain([catalog::record(name, entry)]).collect()
        };
        let ids = self.store.snapshot_volumes(&[id], records)?;
        by.leave(&mut catalog);
        catalog.insert(name.clone(), entry);
        ids.into_iter().for_each(|of| catalog.insert_snapshot(id, snapshot.clone(), of));
        drop(catalog);
        self.overtake(name, by);
        self.find_snapshot(&SnapshotName { volume: name.clone(), snapshot: snapshot.clone() })
    }

    /// What came another way makes what was broken off useless.
    fn overtake(&self, name: &VolumeName, by: &Hidden) {
        if let Hidden::Import(_) = by {
            self.drop_overtaken_reception(name);
        }
    }
}
