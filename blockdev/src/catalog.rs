//! The catalog: which name means which volume. It lives in the store's records, beside what they name, and changes in
//! the same commit, so a name without a volume or a volume without a name is damage, not a crash.
//!
//! A record's key is `volume/NAME`, its value 16 bytes: version, state, six zeros, volume id (`docs/disk-format.md`,
//! "Catalog"). Keys of other kinds are left alone.

use std::collections::BTreeMap;

use lsm_store::id::VolumeId;
use lsm_store::store::Record;

use crate::name::VolumeName;

const PREFIX: &[u8] = b"volume/";
const VALUE_BYTES: usize = 16;
const VERSION: u8 = 1;

/// Whether a volume's content is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// It can be used.
    Ready = 0,
    /// Its content is still coming; if the node stops before the end, the volume goes.
    Importing = 1,
}

/// What a name means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The volume.
    pub id: VolumeId,
    /// Whether its content is complete.
    pub state: State,
}

/// A catalog record that this version cannot make sense of.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// The key holds no valid name.
    #[error("a key is not a volume name")]
    Name,
    /// The value has a version this program does not know.
    #[error("a record has version {0}, which is newer than this program")]
    Version(u8),
    /// The value is not one.
    #[error("the record of {0} is not one")]
    Value(VolumeName),
}

/// All names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<VolumeName, Entry>,
}

impl Catalog {
    /// The catalog in a store's records.
    pub fn decode(records: &[Record]) -> Result<Self, InvalidRecord> {
        let mut entries = BTreeMap::new();
        for Record { key, value } in records {
            if let (Some(name), Some(value)) = (key.strip_prefix(PREFIX), value) {
                let name = std::str::from_utf8(name).ok().and_then(|name| name.parse::<VolumeName>().ok());
                let name = name.ok_or(InvalidRecord::Name)?;
                let entry = decode_entry(&name, value)?;
                entries.insert(name, entry);
            }
        }
        Ok(Self { entries })
    }

    /// What `name` means.
    #[must_use]
    pub fn entry(&self, name: &VolumeName) -> Option<Entry> {
        self.entries.get(name).copied()
    }

    /// All names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&VolumeName, Entry)> {
        self.entries.iter().map(|(name, entry)| (name, *entry))
    }

    /// Gives `name` a meaning, once the record is committed.
    pub fn insert(&mut self, name: VolumeName, entry: Entry) {
        self.entries.insert(name, entry);
    }

    /// Forgets `name`, once the removal is committed.
    pub fn remove(&mut self, name: &VolumeName) {
        self.entries.remove(name);
    }
}

fn decode_entry(name: &VolumeName, value: &[u8]) -> Result<Entry, InvalidRecord> {
    let invalid = || InvalidRecord::Value(name.clone());
    let &[version, state, ref rest @ ..] = value else { return Err(invalid()) };
    if version != VERSION {
        return Err(InvalidRecord::Version(version));
    }
    let (zeros, id) = rest.split_at_checked(6).ok_or_else(invalid)?;
    let id = id.try_into().map(u64::from_le_bytes).map_err(|_| invalid())?;
    let state = match state {
        0 => State::Ready,
        1 => State::Importing,
        _ => return Err(invalid()),
    };
    if zeros != [0; 6] {
        return Err(invalid());
    }
    Ok(Entry { id: VolumeId(id), state })
}

/// The record that gives `name` its meaning.
#[must_use]
pub fn record(name: &VolumeName, entry: Entry) -> Record {
    let mut value = Vec::with_capacity(VALUE_BYTES);
    value.extend_from_slice(&[VERSION, entry.state as u8, 0, 0, 0, 0, 0, 0]);
    value.extend_from_slice(&entry.id.0.to_le_bytes());
    Record { key: key(name), value: Some(value) }
}

/// The record that takes `name` away.
#[must_use]
pub fn removal(name: &VolumeName) -> Record {
    Record { key: key(name), value: None }
}

fn key(name: &VolumeName) -> Vec<u8> {
    [PREFIX, name.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests;
