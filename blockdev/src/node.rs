//! A node: a store whose volumes have names, and can be served.
//!
//! Invariants: the catalog in memory is what the store committed; a volume with clients is neither removed nor cut; a
//! volume whose import did not end is gone after the next start.

mod error;
mod import;
#[cfg(test)]
mod tests;
mod volume_export;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use lsm_store::id::VolumeId;
use lsm_store::store::{Store, VolumeInfo, VolumeSpec};
use parking_lot::{Mutex, RwLock};

use crate::catalog::{self, Catalog, Entry, State};
use crate::export::{Export, Exports};
use crate::name::VolumeName;
pub use error::{NodeError, Result};
pub use import::Import;
use volume_export::OpenCount;
pub use volume_export::VolumeExport;

/// A volume with its name.
#[derive(Clone, Debug)]
pub struct NamedVolume {
    /// Its name.
    pub name: VolumeName,
    /// What the store knows of it.
    pub info: VolumeInfo,
    /// Whether its content is complete.
    pub state: State,
    /// Clients that have it open now.
    pub connections: u64,
}

/// Whether a resize may lose data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shrink {
    /// It may: what lies beyond the new size is lost.
    Allowed,
    /// A smaller size is an error.
    Refused,
}

/// A store with names. All methods may be called from many threads at once.
pub struct Node {
    store: Arc<Store>,
    /// Held for writing over every commit that changes it, and over the check that nobody has the volume open.
    catalog: RwLock<Catalog>,
    open: Mutex<HashMap<VolumeId, Arc<OpenCount>>>,
}

impl Node {
    /// The node over an open store. Volumes whose import was cut short by a crash go now, unless `read_only`.
    ///
    /// # Errors
    /// [`NodeError::Catalog`] if the catalog's records are not what this version wrote.
    pub fn open(store: Arc<Store>, read_only: bool) -> Result<Arc<Self>> {
        let catalog = Catalog::decode(&store.records())?;
        let node = Self { store, catalog: RwLock::new(catalog), open: Mutex::default() };
        if !read_only {
            node.drop_broken_imports()?;
        }
        Ok(Arc::new(node))
    }

    fn drop_broken_imports(&self) -> Result<()> {
        let mut catalog = self.catalog.write();
        let broken =
            |(name, entry): (&VolumeName, Entry)| (entry.state == State::Importing).then(|| (name.clone(), entry));
        for (name, entry) in catalog.iter().filter_map(broken).collect::<Vec<_>>() {
            tracing::warn!(volume = %name, "removing a volume whose import was cut short");
            self.store.delete_volume(entry.id, vec![catalog::removal(&name)])?;
            catalog.remove(&name);
        }
        Ok(())
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Makes an empty volume.
    ///
    /// # Errors
    /// [`NodeError::NameTaken`] if the name means something already.
    pub fn create(&self, name: &VolumeName, spec: VolumeSpec) -> Result<NamedVolume> {
        self.create_in_state(name, spec, State::Ready)?;
        self.volume(name)
    }

    fn create_in_state(&self, name: &VolumeName, spec: VolumeSpec, state: State) -> Result<VolumeId> {
        let mut catalog = self.catalog.write();
        if catalog.entry(name).is_some() {
            return Err(NodeError::NameTaken(name.clone()));
        }
        let records = |id| vec![catalog::record(name, Entry { id, state })];
        let id = self.store.create_volume(spec, records)?;
        catalog.insert(name.clone(), Entry { id, state });
        Ok(id)
    }

    /// Makes a volume whose content is to come; nobody can open it before [`Import::finish`].
    ///
    /// # Errors
    /// As [`Node::create`].
    pub fn import(self: &Arc<Self>, name: &VolumeName, spec: VolumeSpec) -> Result<Import> {
        let id = self.create_in_state(name, spec, State::Importing)?;
        match self.store.volume(id) {
            Ok(volume) => Ok(Import::new(Arc::clone(self), name.clone(), id, volume)),
            Err(error) => {
                self.remove_entry(name, id)?;
                Err(error.into())
            }
        }
    }

    /// All volumes, sorted by name, with those whose import is under way.
    #[must_use]
    pub fn volumes(&self) -> Vec<NamedVolume> {
        let catalog = self.catalog.read();
        let mut infos: HashMap<_, _> = self.store.volumes().into_iter().map(|info| (info.id, info)).collect();
        let named = |(name, entry): (&VolumeName, Entry)| {
            let info = infos.remove(&entry.id)?;
            Some(NamedVolume {
                name: name.clone(),
                info,
                state: entry.state,
                connections: self.open_count(entry.id).count(),
            })
        };
        catalog.iter().filter_map(named).collect()
    }

    /// One volume.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`].
    pub fn volume(&self, name: &VolumeName) -> Result<NamedVolume> {
        let entry = self.entry(name)?;
        let info = self.store.volumes().into_iter().find(|info| info.id == entry.id);
        let info = info.ok_or_else(|| NodeError::NoSuchVolume(name.to_string()))?;
        Ok(NamedVolume { name: name.clone(), info, state: entry.state, connections: self.open_count(entry.id).count() })
    }

    /// Changes a volume's size.
    ///
    /// # Errors
    /// [`NodeError::WouldShrink`] if data would be lost and may not; [`NodeError::InUse`] if data would be lost under
    /// a client.
    pub fn resize(&self, name: &VolumeName, size_bytes: u64, shrink: Shrink) -> Result<NamedVolume> {
        // Held for writing, so that nobody opens the volume between the check and the cut.
        let catalog = self.catalog.write();
        let entry = ready(&catalog, name)?;
        let old_bytes = self.store.volume(entry.id)?.size_bytes();
        if size_bytes < old_bytes {
            if shrink == Shrink::Refused {
                return Err(NodeError::WouldShrink { name: name.clone(), from_bytes: old_bytes, to_bytes: size_bytes });
            }
            self.check_unused(name, entry.id)?;
        }
        self.store.resize_volume(entry.id, size_bytes)?;
        drop(catalog);
        self.volume(name)
    }

    /// Removes a volume and its content.
    ///
    /// # Errors
    /// [`NodeError::InUse`] if a client has it open.
    pub fn remove(&self, name: &VolumeName) -> Result<()> {
        let mut catalog = self.catalog.write();
        let entry = ready(&catalog, name)?;
        self.check_unused(name, entry.id)?;
        self.store.delete_volume(entry.id, vec![catalog::removal(name)])?;
        catalog.remove(name);
        self.open.lock().remove(&entry.id);
        Ok(())
    }

    /// Opens a volume for a client. The volume stays until the export is dropped.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`]; [`NodeError::Importing`] while its content is not complete.
    pub fn export(&self, name: &VolumeName) -> Result<Arc<VolumeExport>> {
        let catalog = self.catalog.read();
        let entry = ready(&catalog, name)?;
        let volume = self.store.volume(entry.id)?;
        Ok(Arc::new(VolumeExport::new(volume, self.open_count(entry.id))))
    }

    fn entry(&self, name: &VolumeName) -> Result<Entry> {
        self.catalog.read().entry(name).ok_or_else(|| NodeError::NoSuchVolume(name.to_string()))
    }

    fn open_count(&self, id: VolumeId) -> Arc<OpenCount> {
        Arc::clone(self.open.lock().entry(id).or_default())
    }

    fn check_unused(&self, name: &VolumeName, id: VolumeId) -> Result<()> {
        match self.open_count(id).count() {
            0 => Ok(()),
            connections => Err(NodeError::InUse { name: name.clone(), connections }),
        }
    }

    /// Declares an import complete.
    fn declare_ready(&self, name: &VolumeName, id: VolumeId) -> Result<()> {
        let mut catalog = self.catalog.write();
        let entry = Entry { id, state: State::Ready };
        self.store.put_records(vec![catalog::record(name, entry)])?;
        catalog.insert(name.clone(), entry);
        Ok(())
    }

    fn remove_entry(&self, name: &VolumeName, id: VolumeId) -> Result<()> {
        let mut catalog = self.catalog.write();
        self.store.delete_volume(id, vec![catalog::removal(name)])?;
        catalog.remove(name);
        self.open.lock().remove(&id);
        Ok(())
    }
}

fn ready(catalog: &Catalog, name: &VolumeName) -> Result<Entry> {
    match catalog.entry(name) {
        None => Err(NodeError::NoSuchVolume(name.to_string())),
        Some(Entry { state: State::Importing, .. }) => Err(NodeError::Importing(name.clone())),
        Some(entry) => Ok(entry),
    }
}

impl Exports for Node {
    fn names(&self) -> Vec<String> {
        let catalog = self.catalog.read();
        let ready = |(name, entry): (&VolumeName, Entry)| (entry.state == State::Ready).then(|| name.to_string());
        catalog.iter().filter_map(ready).collect()
    }

    fn open(&self, name: &str) -> lsm_store::Result<Arc<dyn Export>> {
        // A client learns no more than that there is nothing for it under this name.
        let nothing = || lsm_store::Error::NoSuchVolume(VolumeId::default());
        let name = VolumeName::from_str(name).map_err(|_| nothing())?;
        match self.export(&name) {
            Ok(export) => Ok(export),
            Err(NodeError::Store(error)) => Err(error),
            Err(_) => Err(nothing()),
        }
    }
}
