//! The catalog: which name means which volume or snapshot. It lives in the store's records, beside what they name, and
//! changes in the same commit, so a name without a volume or a volume without a name is damage, not a crash.
//!
//! A volume's record has the key `volume/NAME`, a snapshot's `snapshot/ID/NAME`, where ID is the volume's: a name that
//! comes to mean another volume takes no snapshots with it. One in the trash has `trash/ID` in place of a name, and a
//! schedule has `schedule/ID`, a reservation or quota `limits/ID`, a list of who may open it `allow/ID`. An object has
//! `object/NAME`, one that still comes `upload/NAME`, a snapshot that still comes into a volume `reception/NAME`. `docs/disk-format.md`, "Catalog", has the values. Keys of other kinds
//! are left alone.

mod allow;
mod limits;
mod object;
mod reception;
mod schedule;
mod trash;

use std::collections::BTreeMap;
use std::ops::Bound;

use lsm_store::id::VolumeId;
use lsm_store::store::{Limits, Record};

use crate::access::{AllowList, Principal};
use crate::name::{ExportName, ObjectName, SnapshotName, VolumeName};
use crate::schedule::Schedule;
pub use allow::allow_record;
pub use limits::limits_record;
pub use object::{ObjectEntry, UploadEntry, object_record, object_removal, upload_record, upload_removal};
pub use reception::{ReceptionEntry, SentSnapshot, reception_record, reception_removal};
pub use schedule::{schedule_record, schedule_removal};
pub use trash::{Trashed, trash_record, trash_removal};

const VOLUME_PREFIX: &[u8] = b"volume/";
const SNAPSHOT_PREFIX: &[u8] = b"snapshot/";
/// A volume that was made empty or imported, and every snapshot.
const VERSION: u8 = 1;
const VALUE_BYTES: usize = 16;
/// A clone, whose record goes on with where it comes from.
const CLONE_VERSION: u8 = 2;
const CLONE_VALUE_BYTES: usize = 32;

/// Whether a volume's content is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// It can be used.
    Ready = 0,
    /// Its content is still coming; if the node stops before the end, the volume goes.
    Importing = 1,
    /// It is this node's copy of a volume of the cluster, and changes only as that does.
    Replica = 2,
}

/// What a volume's name means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The volume.
    pub id: VolumeId,
    /// Whether its content is complete.
    pub state: State,
    /// What it was cloned from, if it was.
    pub origin: Option<Origin>,
}

/// What a clone was made from. Either may be gone since; ids are never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The volume.
    pub volume: VolumeId,
    /// Its snapshot; `None` if the clone took what the volume held at that moment.
    pub snapshot: Option<VolumeId>,
}

/// A catalog record that this version cannot make sense of.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// The key holds no valid name.
    #[error("a key is not a volume's or snapshot's name")]
    Name,
    /// The value has a version this program does not know.
    #[error("a record has version {0}, which is newer than this program")]
    Version(u8),
    /// The value is not one.
    #[error("the record of {0} is not one")]
    Value(VolumeName),
    /// The same, of a record that is kept by the volume's id.
    #[error("a record of volume {0} is not one")]
    OfVolume(VolumeId),
    /// The key holds no valid name of an object.
    #[error("a key is not an object's name")]
    ObjectName,
    /// The same as `Value`, of an object or upload.
    #[error("the record of object {0} is not one")]
    Object(ObjectName),
    /// An object was cut in a way that this program does not know.
    #[error("an object was cut by chunker {0}, which this program does not know")]
    Chunker(u8),
}

/// All names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Catalog {
    volumes: BTreeMap<VolumeName, Entry>,
    /// By the volume they are of, then by their own name.
    snapshots: BTreeMap<VolumeId, BTreeMap<VolumeName, VolumeId>>,
    trash: BTreeMap<VolumeId, Trashed>,
    schedules: BTreeMap<VolumeId, Schedule>,
    limits: BTreeMap<VolumeId, Limits>,
    objects: BTreeMap<ObjectName, ObjectEntry>,
    uploads: BTreeMap<ObjectName, UploadEntry>,
    receptions: BTreeMap<VolumeName, ReceptionEntry>,
    allow: BTreeMap<VolumeId, AllowList>,
}

impl Catalog {
    /// The catalog in a store's records.
    pub fn decode(records: &[Record]) -> Result<Self, InvalidRecord> {
        let mut catalog = Self::default();
        for Record { key, value } in records {
            let Some(value) = value else { continue };
            if let Some(name) = key.strip_prefix(VOLUME_PREFIX) {
                let name = decode_name(name)?;
                let entry = decode_entry(&name, value)?;
                catalog.volumes.insert(name, entry);
            } else if let Some(key) = key.strip_prefix(SNAPSHOT_PREFIX) {
                let (volume, name) = decode_snapshot_key(key)?;
                let id = decode_snapshot(&name, value)?;
                catalog.insert_snapshot(volume, name, id);
            } else if let Some(key) = key.strip_prefix(trash::PREFIX) {
                let (id, trashed) = trash::decode(key, value)?;
                catalog.insert_trashed(id, trashed);
            } else if let Some(key) = key.strip_prefix(schedule::PREFIX) {
                let (id, schedule) = schedule::decode(key, value)?;
                catalog.set_schedule(id, Some(schedule));
            } else if let Some(key) = key.strip_prefix(limits::PREFIX) {
                let (id, limits) = limits::decode(key, value)?;
                catalog.set_limits(id, limits);
            } else if let Some(name) = key.strip_prefix(object::PREFIX) {
                let (name, entry) = object::decode(name, value)?;
                catalog.insert_object(name, entry);
            } else if let Some(name) = key.strip_prefix(object::UPLOAD_PREFIX) {
                let (name, entry) = object::decode_upload(name, value)?;
                catalog.insert_upload(name, entry);
            } else if let Some(name) = key.strip_prefix(reception::PREFIX) {
                let name = decode_name(name)?;
                let entry = reception::decode(&name, value)?;
                catalog.insert_reception(name, entry);
            } else if let Some(key) = key.strip_prefix(allow::PREFIX) {
                let (id, allow) = allow::decode(key, value)?;
                catalog.set_allow(id, allow);
            }
        }
        Ok(catalog)
    }

    /// What `name` means.
    #[must_use]
    pub fn entry(&self, name: &VolumeName) -> Option<Entry> {
        self.volumes.get(name).copied()
    }

    /// All volumes, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&VolumeName, Entry)> {
        self.volumes.iter().map(|(name, entry)| (name, *entry))
    }

    /// The snapshot called `name` of a volume.
    #[must_use]
    pub fn snapshot(&self, volume: VolumeId, name: &VolumeName) -> Option<VolumeId> {
        self.snapshots.get(&volume)?.get(name).copied()
    }

    /// The snapshots of a volume, sorted by name.
    pub fn snapshots(&self, volume: VolumeId) -> impl Iterator<Item = (&VolumeName, VolumeId)> {
        self.snapshots.get(&volume).into_iter().flatten().map(|(name, id)| (name, *id))
    }

    /// Every volume and snapshot with its name, sorted by name; each volume comes before its snapshots.
    pub fn exports(&self) -> impl Iterator<Item = (ExportName, VolumeId)> {
        self.iter().flat_map(|(volume, entry)| {
            let snapshots = self.snapshots(entry.id).map(|(snapshot, id)| {
                let name = SnapshotName { volume: volume.clone(), snapshot: snapshot.clone() };
                (ExportName::Snapshot(name), id)
            });
            std::iter::once((ExportName::Volume(volume.clone()), entry.id)).chain(snapshots)
        })
    }

    /// The volumes in the trash, by id.
    pub fn trash(&self) -> impl Iterator<Item = (VolumeId, &Trashed)> {
        self.trash.iter().map(|(id, trashed)| (*id, trashed))
    }

    /// A volume in the trash.
    #[must_use]
    pub fn trashed(&self, id: VolumeId) -> Option<&Trashed> {
        self.trash.get(&id)
    }

    /// Puts a volume into the trash, once the record is committed.
    pub fn insert_trashed(&mut self, id: VolumeId, trashed: Trashed) {
        self.trash.insert(id, trashed);
    }

    /// Takes a volume out of the trash, once the removal is committed.
    pub fn remove_trashed(&mut self, id: VolumeId) {
        self.trash.remove(&id);
    }

    /// The schedule of a volume, in the trash or not.
    #[must_use]
    pub fn schedule(&self, volume: VolumeId) -> Option<&Schedule> {
        self.schedules.get(&volume)
    }

    /// Gives a volume a schedule or takes it away, once that is committed.
    pub fn set_schedule(&mut self, volume: VolumeId, schedule: Option<Schedule>) {
        match schedule {
            Some(schedule) => self.schedules.insert(volume, schedule),
            None => self.schedules.remove(&volume),
        };
    }

    /// The limits of a volume, in the trash or not.
    #[must_use]
    pub fn limits(&self, volume: VolumeId) -> Limits {
        self.limits.get(&volume).copied().unwrap_or_default()
    }

    /// Gives a volume limits or takes them away, once that is committed.
    pub fn set_limits(&mut self, volume: VolumeId, limits: Limits) {
        match limits.is_none() {
            true => self.limits.remove(&volume),
            false => self.limits.insert(volume, limits),
        };
    }

    /// An object.
    #[must_use]
    pub fn object(&self, name: &ObjectName) -> Option<&ObjectEntry> {
        self.objects.get(name)
    }

    /// The objects whose names begin with `prefix`, sorted by name: those behind `after` only, if it is given.
    pub fn objects<'c>(
        &'c self,
        prefix: &'c str,
        after: Option<&ObjectName>,
    ) -> impl Iterator<Item = (&'c ObjectName, &'c ObjectEntry)> {
        let first = prefix.parse::<ObjectName>().ok();
        let start = match (first, after) {
            (Some(first), Some(after)) if first > *after => Bound::Included(first),
            (_, Some(after)) => Bound::Excluded(after.clone()),
            (Some(first), None) => Bound::Included(first),
            (None, None) => Bound::Unbounded,
        };
        // A prefix that is no name, the empty one aside, is one of no name.
        let objects = self.objects.range((start, Bound::Unbounded));
        objects.take_while(move |(name, _)| name.as_str().starts_with(prefix))
    }

    /// Gives an object's name a meaning, once the record is committed.
    pub fn insert_object(&mut self, name: ObjectName, entry: ObjectEntry) {
        self.objects.insert(name, entry);
    }

    /// Forgets an object, once the removal is committed.
    pub fn remove_object(&mut self, name: &ObjectName) {
        self.objects.remove(name);
    }

    /// The upload of an object of this name.
    #[must_use]
    pub fn upload(&self, name: &ObjectName) -> Option<&UploadEntry> {
        self.uploads.get(name)
    }

    /// All uploads, sorted by name.
    pub fn uploads(&self) -> impl Iterator<Item = (&ObjectName, &UploadEntry)> {
        self.uploads.iter()
    }

    /// Notes an upload, once the record is committed.
    pub fn insert_upload(&mut self, name: ObjectName, entry: UploadEntry) {
        self.uploads.insert(name, entry);
    }

    /// Forgets an upload, once the removal is committed.
    pub fn remove_upload(&mut self, name: &ObjectName) {
        self.uploads.remove(name);
    }

    /// What came of a snapshot on its way into a volume of this name.
    #[must_use]
    pub fn reception(&self, name: &VolumeName) -> Option<&ReceptionEntry> {
        self.receptions.get(name)
    }

    /// All receptions, sorted by name.
    pub fn receptions(&self) -> impl Iterator<Item = (&VolumeName, &ReceptionEntry)> {
        self.receptions.iter()
    }

    /// Notes a reception, once the record is committed.
    pub fn insert_reception(&mut self, name: VolumeName, entry: ReceptionEntry) {
        self.receptions.insert(name, entry);
    }

    /// Forgets a reception, once the removal is committed.
    pub fn remove_reception(&mut self, name: &VolumeName) {
        self.receptions.remove(name);
    }

    /// Who may open a volume and its snapshots, in the trash or not.
    #[must_use]
    pub fn allow(&self, volume: VolumeId) -> AllowList {
        self.allow.get(&volume).cloned().unwrap_or_default()
    }

    /// True if `client` may open a volume and its snapshots.
    #[must_use]
    pub fn admits(&self, volume: VolumeId, client: &Principal) -> bool {
        self.allow.get(&volume).is_none_or(|allow| allow.admits(client))
    }

    /// Changes who may open a volume, once that is committed.
    pub fn set_allow(&mut self, volume: VolumeId, allow: AllowList) {
        match allow.is_empty() {
            true => self.allow.remove(&volume),
            false => self.allow.insert(volume, allow),
        };
    }

    /// Gives `name` a meaning, once the record is committed.
    pub fn insert(&mut self, name: VolumeName, entry: Entry) {
        self.volumes.insert(name, entry);
    }

    /// Forgets `name`, once the removal is committed.
    pub fn remove(&mut self, name: &VolumeName) {
        self.volumes.remove(name);
    }

    /// Names a snapshot of a volume, once the record is committed.
    pub fn insert_snapshot(&mut self, volume: VolumeId, name: VolumeName, id: VolumeId) {
        self.snapshots.entry(volume).or_default().insert(name, id);
    }

    /// Forgets a snapshot of a volume, once the removal is committed.
    pub fn remove_snapshot(&mut self, volume: VolumeId, name: &VolumeName) {
        if let Some(of_volume) = self.snapshots.get_mut(&volume) {
            of_volume.remove(name);
            if of_volume.is_empty() {
                self.snapshots.remove(&volume);
            }
        }
    }
}

fn decode_name(bytes: &[u8]) -> Result<VolumeName, InvalidRecord> {
    std::str::from_utf8(bytes).ok().and_then(|name| name.parse().ok()).ok_or(InvalidRecord::Name)
}

/// Takes `ID/NAME` apart. Only the one spelling that is written is read: two keys must not mean the same.
fn decode_snapshot_key(key: &[u8]) -> Result<(VolumeId, VolumeName), InvalidRecord> {
    let (id, name) = key.split_at_checked(16).ok_or(InvalidRecord::Name)?;
    let id = decode_id(id).ok_or(InvalidRecord::Name)?;
    let name = name.strip_prefix(b"/").ok_or(InvalidRecord::Name)?;
    Ok((id, decode_name(name)?))
}

/// An id as 16 hexadecimal digits.
fn decode_id(bytes: &[u8]) -> Option<VolumeId> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let digits =
        std::str::from_utf8(bytes).ok().filter(|text| text.len() == 16 && text.as_bytes().iter().all(is_digit));
    u64::from_str_radix(digits?, 16).ok().map(VolumeId)
}

fn decode_entry(name: &VolumeName, value: &[u8]) -> Result<Entry, InvalidRecord> {
    let invalid = || InvalidRecord::Value(name.clone());
    let &[version, state, ref rest @ ..] = value else { return Err(invalid()) };
    let is_clone = match version {
        VERSION => false,
        CLONE_VERSION => true,
        newer if newer > CLONE_VERSION => return Err(InvalidRecord::Version(newer)),
        _ => return Err(invalid()),
    };
    let state = match state {
        0 => State::Ready,
        1 => State::Importing,
        2 => State::Replica,
        _ => return Err(invalid()),
    };
    let (zeros, ids) = rest.split_at_checked(6).ok_or_else(invalid)?;
    let (id, origin) = match (is_clone, ids.as_chunks()) {
        (false, (&[id], [])) => (u64::from_le_bytes(id), None),
        (true, (&[id, volume, snapshot], [])) => {
            let snapshot = u64::from_le_bytes(snapshot);
            let volume = VolumeId(u64::from_le_bytes(volume));
            let origin = Origin { volume, snapshot: (snapshot != 0).then_some(VolumeId(snapshot)) };
            (u64::from_le_bytes(id), Some(origin))
        }
        _ => return Err(invalid()),
    };
    if zeros != [0; 6] {
        return Err(invalid());
    }
    Ok(Entry { id: VolumeId(id), state, origin })
}

fn decode_snapshot(name: &VolumeName, value: &[u8]) -> Result<VolumeId, InvalidRecord> {
    match value {
        [VERSION, 0, 0, 0, 0, 0, 0, 0, id @ ..] => {
            id.try_into().map(|id| VolumeId(u64::from_le_bytes(id))).map_err(|_| InvalidRecord::Value(name.clone()))
        }
        [version, ..] if *version > VERSION => Err(InvalidRecord::Version(*version)),
        _ => Err(InvalidRecord::Value(name.clone())),
    }
}

/// The record that gives `name` its meaning.
#[must_use]
pub fn record(name: &VolumeName, entry: Entry) -> Record {
    let (version, len) = entry.origin.map_or((VERSION, VALUE_BYTES), |_| (CLONE_VERSION, CLONE_VALUE_BYTES));
    let mut value = Vec::with_capacity(len);
    value.extend_from_slice(&[version, entry.state as u8, 0, 0, 0, 0, 0, 0]);
    value.extend_from_slice(&entry.id.0.to_le_bytes());
    if let Some(origin) = entry.origin {
        value.extend_from_slice(&origin.volume.0.to_le_bytes());
        value.extend_from_slice(&origin.snapshot.unwrap_or_default().0.to_le_bytes());
    }
    Record { key: key(name), value: Some(value) }
}

/// The record that takes `name` away.
#[must_use]
pub fn removal(name: &VolumeName) -> Record {
    Record { key: key(name), value: None }
}

/// The record that names snapshot `id` of a volume.
#[must_use]
pub fn snapshot_record(volume: VolumeId, name: &VolumeName, id: VolumeId) -> Record {
    let mut value = Vec::with_capacity(VALUE_BYTES);
    value.extend_from_slice(&[VERSION, 0, 0, 0, 0, 0, 0, 0]);
    value.extend_from_slice(&id.0.to_le_bytes());
    Record { key: snapshot_key(volume, name), value: Some(value) }
}

/// The record that takes a snapshot's name away.
#[must_use]
pub fn snapshot_removal(volume: VolumeId, name: &VolumeName) -> Record {
    Record { key: snapshot_key(volume, name), value: None }
}

fn key(name: &VolumeName) -> Vec<u8> {
    [VOLUME_PREFIX, name.as_str().as_bytes()].concat()
}

fn snapshot_key(volume: VolumeId, name: &VolumeName) -> Vec<u8> {
    [SNAPSHOT_PREFIX, format!("{:016x}/{name}", volume.0).as_bytes()].concat()
}

#[cfg(test)]
mod tests;
