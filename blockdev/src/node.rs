//! A node: a store whose volumes have names, and can be served.
//!
//! Invariants: the catalog in memory is what the store committed; a volume with clients is neither removed nor cut nor
//! rolled back; a volume whose import did not end is gone after the next start; what came of an exchange that broke off has a
//! volume as long as it has a record; every snapshot that has a name is one of a
//! volume that has one, or that is in the trash.

mod access;
mod changes;
mod claim;
mod duties;
mod error;
#[cfg(feature = "cluster")]
mod held;
mod import;
#[cfg(feature = "cluster")]
mod intake;
mod limits;
mod objects;
mod receive;
mod receptions;
#[cfg(feature = "cluster")]
mod replica;
mod schedule;
mod scrub;
#[cfg(feature = "cluster")]
mod seed;
mod snapshot;
#[cfg(test)]
mod tests;
mod trash;
mod uploads;
mod volume_export;
mod watch;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use lsm_store::id::VolumeId;
use lsm_store::store::{Limits, Record, Store, VolumeInfo, VolumeSpec};
use parking_lot::{Mutex, RwLock};

use crate::access::{AllowList, Principal};
use crate::catalog::{self, Catalog, Entry, Origin, State};
use crate::events::Events;
use crate::export::{Changes, Export, Exports};
use crate::name::{ExportName, ObjectName, SnapshotName, VolumeName};
use crate::schedule::{Schedule, Turns};
pub use changes::VolumeChanges;
use claim::Claims;
pub use duties::Duties;
pub use error::{NodeError, Result};
#[cfg(feature = "cluster")]
pub use held::HeldSnapshots;
pub use import::Import;
#[cfg(feature = "cluster")]
pub(crate) use intake::{IntakeStage, after_name, before_name, is_hidden, taker_of};
pub use objects::{NamedObject, ObjectPieces, ObjectTotals, OpenObject};
pub(crate) use receive::{Hidden, Replacing};
pub(crate) use receptions::Coming;
pub use schedule::Rewound;
#[cfg(feature = "cluster")]
pub(crate) use seed::seed_name;
pub use snapshot::NamedSnapshot;
pub use trash::{Purge, TrashName, TrashedVolume};
pub use uploads::{ObjectSpec, ObjectWriter, UploadPosition};
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
    /// Its snapshots.
    pub snapshots: u64,
    /// What it was cloned from, if it was.
    pub origin: Option<NamedOrigin>,
    /// How it is snapshot by itself, if it is.
    pub schedule: Option<Schedule>,
    /// How much it may take, and what is kept for it.
    pub limits: Limits,
    /// Who may open it over the network.
    pub allow: AllowList,
}

/// What a clone was made from, by the names these have now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedOrigin {
    /// Their ids.
    pub ids: Origin,
    /// The volume; `None` if it is gone.
    pub volume: Option<VolumeName>,
    /// The snapshot; `None` if it is gone, or the clone was made from none.
    pub snapshot: Option<SnapshotName>,
}

/// Whether a resize may lose data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shrink {
    /// It may: what lies beyond the new size is lost.
    Allowed,
    /// A smaller size is an error.
    Refused,
}

/// Whether the removal of a volume may take its snapshots along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotLoss {
    /// It may.
    Allowed,
    /// A volume with snapshots is not removed.
    Refused,
}

/// A store with names. All methods may be called from many threads at once.
pub struct Node {
    store: Arc<Store>,
    /// Held for writing over every commit that changes it, and over the check that nobody has the volume open.
    catalog: RwLock<Catalog>,
    open: Mutex<HashMap<VolumeId, Arc<OpenCount>>>,
    /// How often the content of a snapshot is kept for somebody who reads it.
    held: Mutex<HashMap<VolumeId, usize>>,
    /// When the schedules of volumes were last followed.
    turns: Mutex<Turns<VolumeId>>,
    /// The objects that are being put.
    uploading: Claims<ObjectName>,
    /// The volumes into which snapshots come that could be gone on with.
    receiving: Claims<VolumeName>,
    events: Events,
    /// What was so when it was last looked for changes.
    seen: Mutex<Option<watch::Seen>>,
}

impl Node {
    /// The node over an open store. Volumes whose import was cut short by a crash go now, and so do uploads that cannot be
    /// resumed, unless `read_only`.
    ///
    /// # Errors
    /// [`NodeError::Catalog`] if the catalog's records are not what this version wrote.
    pub fn open(store: Arc<Store>, read_only: bool) -> Result<Arc<Self>> {
        let catalog = Catalog::decode(&store.records())?;
        let events = Events::new(Arc::clone(store.clock()));
        let node = Self {
            store,
            catalog: RwLock::new(catalog),
            open: Mutex::default(),
            held: Mutex::default(),
            turns: Mutex::default(),
            uploading: Claims::default(),
            receiving: Claims::default(),
            events,
            seen: Mutex::default(),
        };
        if !read_only {
            node.drop_broken_imports()?;
            node.drop_broken_uploads()?;
        }
        node.restore_limits()?;
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
        refuse_if_taken(&catalog, name)?;
        let entry = |id| Entry { id, state, origin: None };
        let id = self.store.create_volume(spec, |id| vec![catalog::record(name, entry(id))])?;
        catalog.insert(name.clone(), entry(id));
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

    /// All volumes, sorted by name, with those whose import is under way, without replicas of the cluster's.
    #[must_use]
    pub fn volumes(&self) -> Vec<NamedVolume> {
        let catalog = self.catalog.read();
        let names = Names::new(&catalog);
        let infos = self.infos();
        let named = |(name, entry)| Some(self.named(&catalog, &names, name, entry, *infos.get(&entry.id)?));
        catalog.iter().filter(|(_, entry)| entry.state != State::Replica).filter_map(named).collect()
    }

    /// One volume.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`].
    pub fn volume(&self, name: &VolumeName) -> Result<NamedVolume> {
        let catalog = self.catalog.read();
        let no_such_volume = || NodeError::NoSuchVolume(name.to_string());
        let entry = catalog.entry(name).ok_or_else(no_such_volume)?;
        let info = self.infos().remove(&entry.id).ok_or_else(no_such_volume)?;
        Ok(self.named(&catalog, &Names::new(&catalog), name, entry, info))
    }

    /// True unless there is a volume of this name that `client` may not open.
    pub fn admits(&self, name: &VolumeName, client: &Principal) -> bool {
        let catalog = self.catalog.read();
        catalog.entry(name).is_none_or(|entry| catalog.admits(entry.id, client))
    }

    /// What the store knows of its volumes and snapshots.
    fn infos(&self) -> HashMap<VolumeId, VolumeInfo> {
        self.store.volumes().into_iter().map(|info| (info.id, info)).collect()
    }

    fn named(
        &self,
        catalog: &Catalog,
        names: &Names,
        name: &VolumeName,
        entry: Entry,
        info: VolumeInfo,
    ) -> NamedVolume {
        NamedVolume {
            name: name.clone(),
            info,
            state: entry.state,
            connections: self.open_count(entry.id).count(),
            snapshots: catalog.snapshots(entry.id).count() as u64,
            origin: entry.origin.map(|origin| names.origin(origin)),
            schedule: catalog.schedule(entry.id).cloned(),
            limits: catalog.limits(entry.id),
            allow: catalog.allow(entry.id),
        }
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
            self.check_unused(&name.clone().into(), entry.id)?;
        }
        self.store.resize_volume(entry.id, size_bytes)?;
        drop(catalog);
        self.volume(name)
    }

    /// Removes a volume and its content for good; [`Node::discard`] does not. Clones of it stay as they are.
    ///
    /// # Errors
    /// [`NodeError::InUse`] if a client has it, or a snapshot that would go too, open; [`NodeError::HasSnapshots`] if it
    /// has snapshots and they may not go.
    pub fn remove(&self, name: &VolumeName, loss: SnapshotLoss) -> Result<()> {
        let mut catalog = self.catalog.write();
        let entry = ready(&catalog, name)?;
        self.check_unused(&name.clone().into(), entry.id)?;
        self.check_snapshots_may_go(&catalog, name, entry.id, loss)?;
        self.drop_snapshots(&mut catalog, entry.id)?;
        self.delete_volume(&mut catalog, entry.id, catalog::removal(name))?;
        catalog.remove(name);
        Ok(())
    }

    /// Opens a volume or snapshot for a client. It stays until the export is dropped.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`], [`NodeError::NoSuchSnapshot`]; [`NodeError::Importing`] while its content is not
    /// complete.
    pub fn export(&self, name: &ExportName) -> Result<Arc<VolumeExport>> {
        self.export_to(name, &Principal::Local)
    }

    fn export_to(&self, name: &ExportName, client: &Principal) -> Result<Arc<VolumeExport>> {
        let catalog = self.catalog.read();
        let id = visible(&catalog, name, client)?;
        let volume = self.store.volume(id)?;
        Ok(Arc::new(VolumeExport::new(volume, self.open_count(id))))
    }

    /// Removes a volume with all that is kept of it beside `record`, which it has in the catalog.
    fn delete_volume(&self, catalog: &mut Catalog, id: VolumeId, record: Record) -> Result<()> {
        let mut records = vec![record];
        records.extend(catalog.schedule(id).map(|_| catalog::schedule_removal(id)));
        let limits = Some(catalog.limits(id)).filter(|limits| !limits.is_none());
        records.extend(limits.map(|_| catalog::limits_record(id, &Limits::default())));
        let everybody = AllowList::default();
        records.extend((catalog.allow(id) != everybody).then(|| catalog::allow_record(id, &everybody)));
        self.store.delete_volume(id, records)?;
        catalog.set_schedule(id, None);
        catalog.set_limits(id, Limits::default());
        catalog.set_allow(id, everybody);
        self.turns.lock().forget(id);
        self.open.lock().remove(&id);
        Ok(())
    }

    fn wall_ms(&self) -> u64 {
        u64::try_from(self.store.clock().wall().as_millis()).unwrap_or(u64::MAX)
    }

    fn open_count(&self, id: VolumeId) -> Arc<OpenCount> {
        Arc::clone(self.open.lock().entry(id).or_default())
    }

    fn check_unused(&self, name: &ExportName, id: VolumeId) -> Result<()> {
        match self.open_count(id).count() {
            0 => Ok(()),
            connections => Err(NodeError::InUse { name: name.clone(), connections }),
        }
    }

    /// Declares an import complete.
    fn declare_ready(&self, name: &VolumeName, id: VolumeId) -> Result<()> {
        let mut catalog = self.catalog.write();
        let entry = Entry { id, state: State::Ready, origin: None };
        self.store.put_records(vec![catalog::record(name, entry)])?;
        catalog.insert(name.clone(), entry);
        drop(catalog);
        self.drop_overtaken_reception(name);
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

/// Names by id.
struct Names(HashMap<VolumeId, ExportName>);

impl Names {
    fn new(catalog: &Catalog) -> Self {
        Self(catalog.exports().map(|(name, id)| (id, name)).collect())
    }

    fn origin(&self, ids: Origin) -> NamedOrigin {
        let volume = self.0.get(&ids.volume).map(|name| name.volume().clone());
        let snapshot = match ids.snapshot.and_then(|id| self.0.get(&id)) {
            Some(ExportName::Snapshot(name)) => Some(name.clone()),
            _ => None,
        };
        NamedOrigin { ids, volume, snapshot }
    }
}

fn refuse_if_taken(catalog: &Catalog, name: &VolumeName) -> Result<()> {
    match catalog.entry(name) {
        Some(_) => Err(NodeError::NameTaken(name.clone())),
        None => Ok(()),
    }
}

fn ready(catalog: &Catalog, name: &VolumeName) -> Result<Entry> {
    match catalog.entry(name) {
        None => Err(NodeError::NoSuchVolume(name.to_string())),
        Some(Entry { state: State::Importing, .. }) => Err(NodeError::Importing(name.clone())),
        Some(Entry { state: State::Replica, .. }) => Err(NodeError::IsReplica(name.clone())),
        Some(entry) => Ok(entry),
    }
}

/// The id of what can be read under a name.
fn readable(catalog: &Catalog, name: &ExportName) -> Result<VolumeId> {
    match name {
        ExportName::Volume(name) => Ok(ready(catalog, name)?.id),
        ExportName::Snapshot(name) => Ok(snapshot::find(catalog, name)?.id),
    }
}

/// The id of what `client` can read under a name. What it may not open is not there for it.
fn visible(catalog: &Catalog, name: &ExportName, client: &Principal) -> Result<VolumeId> {
    let volume = ready(catalog, name.volume())?.id;
    match catalog.admits(volume, client) {
        true => readable(catalog, name),
        false => Err(NodeError::NoSuchVolume(name.volume().to_string())),
    }
}

impl Exports for Node {
    fn names(&self, client: &Principal) -> Vec<String> {
        let catalog = self.catalog.read();
        let is_visible = |name: &ExportName| visible(&catalog, name, client).is_ok();
        let mut names: Vec<_> =
            catalog.exports().filter(|(name, _)| is_visible(name)).map(|(name, _)| name.to_string()).collect();
        // As text: `@` comes behind `-`, `.` and digits.
        names.sort();
        names
    }

    fn open(&self, name: &str, client: &Principal) -> lsm_store::Result<Arc<dyn Export>> {
        // A client learns no more than that there is nothing for it under this name.
        let nothing = || lsm_store::Error::NoSuchVolume(VolumeId::default());
        let name = ExportName::from_str(name).map_err(|_| nothing())?;
        match self.export_to(&name, client) {
            Ok(export) => Ok(export),
            Err(NodeError::Store(error)) => Err(error),
            Err(_) => Err(nothing()),
        }
    }

    fn snapshots(&self, name: &str, client: &Principal) -> Vec<String> {
        let catalog = self.catalog.read();
        let Ok(name) = ExportName::from_str(name) else { return Vec::new() };
        let (Ok(volume), Ok(id)) = (ready(&catalog, name.volume()), visible(&catalog, &name, client)) else {
            return Vec::new();
        };
        let is_before = |(_, snapshot): &(&VolumeName, VolumeId)| id == volume.id || *snapshot < id;
        let mut snapshots: Vec<_> = catalog.snapshots(volume.id).filter(is_before).collect();
        snapshots.sort_by_key(|(_, id)| std::cmp::Reverse(*id));
        snapshots.into_iter().map(|(name, _)| name.to_string()).collect()
    }

    fn changes_since(&self, name: &str, snapshot: &str, client: &Principal) -> lsm_store::Result<Arc<dyn Changes>> {
        let nothing = || lsm_store::Error::NoSuchVolume(VolumeId::default());
        let to = ExportName::from_str(name).map_err(|_| nothing())?;
        let snapshot = VolumeName::from_str(snapshot).map_err(|_| nothing())?;
        let from = SnapshotName { volume: to.volume().clone(), snapshot };
        match self.changes_for(&from.into(), &to, client) {
            Ok(changes) => Ok(Arc::new(changes)),
            Err(NodeError::Store(error)) => Err(error),
            Err(_) => Err(nothing()),
        }
    }
}
