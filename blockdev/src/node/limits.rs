//! Reservations and quotas: kept in the catalog, enforced by the store.

use lsm_store::id::VolumeId;
use lsm_store::store::{Limits, VolumeSpec};

use super::{NamedVolume, Node, Result, SnapshotLoss, ready};
use crate::catalog::{self, Catalog};
use crate::name::VolumeName;

impl Node {
    /// Makes an empty volume with limits.
    ///
    /// # Errors
    /// As [`Node::create`] and [`Node::set_limits`]; the volume is not there then.
    pub fn create_limited(&self, name: &VolumeName, spec: VolumeSpec, limits: Limits) -> Result<NamedVolume> {
        let created = self.create(name, spec)?;
        if limits.is_none() {
            return Ok(created);
        }
        match self.set_limits(name, limits) {
            Ok(volume) => Ok(volume),
            Err(error) => {
                self.remove(name, SnapshotLoss::Refused)?;
                Err(error)
            }
        }
    }

    /// Sets what a volume may take and what is kept for it. Reads what the volume maps.
    ///
    /// # Errors
    /// [`super::NodeError::NoSuchVolume`]; the store's `OutOfSpace` if there is no room for the reservation, `Invalid` if the
    /// limits make no sense. Nothing has changed then.
    pub fn set_limits(&self, name: &VolumeName, limits: Limits) -> Result<NamedVolume> {
        if !limits.is_none() {
            let id = ready(&self.catalog.read(), name)?.id;
            // Outside the catalog's lock, under which all clients that open a volume would wait for it.
            self.store.count_for_limits(id)?;
        }
        let mut catalog = self.catalog.write();
        let id = ready(&catalog, name)?.id;
        let before = catalog.limits(id);
        self.store.set_counted_limits(id, limits)?;
        if let Err(error) = self.store.put_records(vec![catalog::limits_record(id, &limits)]) {
            self.store.restore_limits(id, before)?;
            return Err(error.into());
        }
        catalog.set_limits(id, limits);
        drop(catalog);
        self.volume(name)
    }

    /// Has the store enforce what the catalog says, after it was opened. What is in the trash has nothing reserved.
    pub(super) fn restore_limits(&self) -> Result<()> {
        let catalog = self.catalog.read();
        for (_, entry) in catalog.iter() {
            self.restore_limits_of(&catalog, entry.id)?;
        }
        Ok(())
    }

    pub(super) fn restore_limits_of(&self, catalog: &Catalog, id: VolumeId) -> Result<()> {
        let limits = catalog.limits(id);
        if !limits.is_none() {
            self.store.restore_limits(id, limits)?;
        }
        Ok(())
    }
}
