//! The trash: volumes that were removed and can be had back until they expire.

use lsm_store::id::VolumeId;
use lsm_store::store::{Limits, VolumeInfo};

use super::{NamedVolume, Node, NodeError, Result, SnapshotLoss, ready, refuse_if_taken};
use crate::catalog::{self, Catalog, Entry, State, Trashed};
use crate::name::VolumeName;
use crate::span::Span;

/// A volume in the trash.
#[derive(Clone, Debug)]
pub struct TrashedVolume {
    /// What the store knows of it.
    pub info: VolumeInfo,
    /// What it was, and for how long it stays.
    pub trashed: Trashed,
    /// Its snapshots.
    pub snapshots: u64,
}

/// Which volume in the trash: several may have had the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrashName {
    /// The name it had.
    pub name: VolumeName,
    /// Its id; not needed where no other has this name.
    pub id: Option<VolumeId>,
}

/// Which volumes go for good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purge {
    /// This one.
    One(TrashName),
    /// Those whose time is over.
    Expired,
    /// All of them.
    All,
}

impl Node {
    /// Moves a volume and its snapshots to the trash, for `keep` at least. Their names are free at once.
    ///
    /// # Errors
    /// As [`Node::remove`].
    pub fn discard(&self, name: &VolumeName, loss: SnapshotLoss, keep: Span) -> Result<TrashedVolume> {
        let mut catalog = self.catalog.write();
        let entry = ready(&catalog, name)?;
        self.check_unused(&name.clone().into(), entry.id)?;
        self.check_snapshots_may_go(&catalog, name, entry.id, loss)?;
        let removed_ms = self.wall_ms();
        let expires_ms = removed_ms.saturating_add(keep.ms());
        let trashed = Trashed { name: name.clone(), removed_ms, expires_ms, origin: entry.origin };
        let records = vec![catalog::removal(name), catalog::trash_record(entry.id, &trashed)];
        self.store.put_records(records)?;
        catalog.remove(name);
        catalog.insert_trashed(entry.id, trashed);
        // Nobody writes to it, so it needs nothing that is kept for it.
        self.store.restore_limits(entry.id, Limits::default())?;
        self.trashed(&catalog, entry.id)
    }

    /// The volumes in the trash, from the one removed first.
    #[must_use]
    pub fn trash(&self) -> Vec<TrashedVolume> {
        let catalog = self.catalog.read();
        let infos = self.infos();
        let mut volumes: Vec<_> = catalog
            .trash()
            .filter_map(|(id, trashed)| {
                let snapshots = catalog.snapshots(id).count() as u64;
                Some(TrashedVolume { info: *infos.get(&id)?, trashed: trashed.clone(), snapshots })
            })
            .collect();
        volumes.sort_by_key(|volume| (volume.trashed.removed_ms, volume.info.id));
        volumes
    }

    fn trashed(&self, catalog: &Catalog, id: VolumeId) -> Result<TrashedVolume> {
        let info = self.infos().remove(&id).ok_or(lsm_store::Error::NoSuchVolume(id))?;
        let trashed = catalog.trashed(id).ok_or(lsm_store::Error::NoSuchVolume(id))?.clone();
        Ok(TrashedVolume { info, trashed, snapshots: catalog.snapshots(id).count() as u64 })
    }

    /// Takes a volume and its snapshots out of the trash, under the name it had or another.
    ///
    /// # Errors
    /// [`NodeError::NotInTrash`], [`NodeError::SeveralInTrash`]; [`NodeError::NameTaken`] if the name means something by now.
    pub fn restore(&self, which: &TrashName, to: Option<&VolumeName>) -> Result<NamedVolume> {
        let mut catalog = self.catalog.write();
        let id = find(&catalog, which)?;
        let name = to.unwrap_or(&which.name);
        refuse_if_taken(&catalog, name)?;
        let origin = catalog.trashed(id).and_then(|trashed| trashed.origin);
        let entry = Entry { id, state: State::Ready, origin };
        self.store.put_records(vec![catalog::trash_removal(id), catalog::record(name, entry)])?;
        catalog.remove_trashed(id);
        catalog.insert(name.clone(), entry);
        self.restore_limits_of(&catalog, id)?;
        drop(catalog);
        self.volume(name)
    }

    /// Removes volumes in the trash and their snapshots for good, and returns what they were. If the store fails, those
    /// before are gone.
    ///
    /// # Errors
    /// [`NodeError::NotInTrash`], [`NodeError::SeveralInTrash`].
    pub fn purge(&self, which: &Purge) -> Result<Vec<TrashedVolume>> {
        let now_ms = self.wall_ms();
        let is_meant = |trashed: &Trashed| *which != Purge::Expired || trashed.expires_ms <= now_ms;
        let ids: Vec<_> = match which {
            Purge::One(which) => vec![find(&self.catalog.read(), which)?],
            Purge::Expired | Purge::All => {
                let catalog = self.catalog.read();
                catalog.trash().filter(|(_, trashed)| is_meant(trashed)).map(|(id, _)| id).collect()
            }
        };
        let mut purged = Vec::new();
        for id in ids {
            // One at a time, so that others get their turn; meanwhile it may have been taken out.
            let mut catalog = self.catalog.write();
            if catalog.trashed(id).is_some_and(is_meant) {
                purged.push(self.purge_one(&mut catalog, id)?);
            }
        }
        Ok(purged)
    }

    fn purge_one(&self, catalog: &mut Catalog, id: VolumeId) -> Result<TrashedVolume> {
        let purged = self.trashed(catalog, id)?;
        // The volume last: until then the next attempt finds what is left.
        self.drop_snapshots(catalog, id)?;
        self.delete_volume(catalog, id, catalog::trash_removal(id))?;
        catalog.remove_trashed(id);
        Ok(purged)
    }
}

fn find(catalog: &Catalog, which: &TrashName) -> Result<VolumeId> {
    let named = catalog.trash().filter(|(_, trashed)| trashed.name == which.name).map(|(id, _)| id);
    let ids: Vec<_> = named.filter(|id| which.id.is_none_or(|wanted| wanted == *id)).collect();
    match ids[..] {
        [id] => Ok(id),
        [] => Err(NodeError::NotInTrash(which.name.clone())),
        _ => Err(NodeError::SeveralInTrash { name: which.name.clone(), ids }),
    }
}
