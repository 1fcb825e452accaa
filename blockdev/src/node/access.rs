//! Who may open volumes over the network: kept in the catalog, asked for at each opening.

use super::{NamedVolume, Node, Result, ready};
use crate::access::{AllowList, Principal};
use crate::catalog;
use crate::export::Exports;
use crate::name::VolumeName;

impl Node {
    /// The names of all volumes and snapshots that can be opened, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        Exports::names(self, &Principal::Local)
    }

    /// Sets who may open a volume and its snapshots. Who has one open keeps it.
    ///
    /// # Errors
    /// [`super::NodeError::NoSuchVolume`].
    pub fn set_allow(&self, name: &VolumeName, allow: AllowList) -> Result<NamedVolume> {
        let mut catalog = self.catalog.write();
        let id = ready(&catalog, name)?.id;
        self.store.put_records(vec![catalog::allow_record(id, &allow)])?;
        catalog.set_allow(id, allow);
        drop(catalog);
        self.volume(name)
    }
}
