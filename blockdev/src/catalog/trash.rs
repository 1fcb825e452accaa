//! Records of volumes in the trash: key `trash/ID`, where ID is the volume's (`docs/disk-format.md`, "Catalog").

use lsm_store::id::VolumeId;
use lsm_store::store::Record;

use super::{InvalidRecord, Origin, decode_id, decode_name};
use crate::name::VolumeName;

pub(super) const PREFIX: &[u8] = b"trash/";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 40;

/// A volume that was removed and can be had back for a while. Its snapshots are with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trashed {
    /// The name it had.
    pub name: VolumeName,
    /// When it was removed, in milliseconds since the Unix epoch.
    pub removed_ms: u64,
    /// When it may go for good.
    pub expires_ms: u64,
    /// What it was cloned from, if it was.
    pub origin: Option<Origin>,
}

/// The record that puts volume `id` into the trash.
#[must_use]
pub fn trash_record(id: VolumeId, trashed: &Trashed) -> Record {
    let (volume, snapshot) =
        trashed.origin.map_or_else(Default::default, |origin| (origin.volume, origin.snapshot.unwrap_or_default()));
    let mut value = Vec::with_capacity(HEAD_BYTES + trashed.name.as_str().len());
    value.extend_from_slice(&[VERSION, 0, 0, 0, 0, 0, 0, 0]);
    for number in [trashed.removed_ms, trashed.expires_ms, volume.0, snapshot.0] {
        value.extend_from_slice(&number.to_le_bytes());
    }
    value.extend_from_slice(trashed.name.as_str().as_bytes());
    Record { key: key(id), value: Some(value) }
}

/// The record that takes volume `id` out of the trash.
#[must_use]
pub fn trash_removal(id: VolumeId) -> Record {
    Record { key: key(id), value: None }
}

fn key(id: VolumeId) -> Vec<u8> {
    [PREFIX, format!("{:016x}", id.0).as_bytes()].concat()
}

/// Reads a record, whose key begins with [`PREFIX`] and goes on with `key`.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(VolumeId, Trashed), InvalidRecord> {
    let id = decode_id(key).ok_or(InvalidRecord::Name)?;
    let invalid = || InvalidRecord::OfVolume(id);
    let (head, name) = value.split_at_checked(HEAD_BYTES).ok_or_else(invalid)?;
    let (words, _) = head.as_chunks::<8>();
    match words[0] {
        [VERSION, 0, 0, 0, 0, 0, 0, 0] => {}
        [version, ..] if version > VERSION => return Err(InvalidRecord::Version(version)),
        _ => return Err(invalid()),
    }
    let [removed_ms, expires_ms, volume, snapshot] = [1, 2, 3, 4].map(|at| u64::from_le_bytes(words[at]));
    let origin = match (volume, snapshot) {
        (0, 0) => None,
        (0, _) => return Err(invalid()),
        (volume, snapshot) => {
            Some(Origin { volume: VolumeId(volume), snapshot: (snapshot != 0).then_some(VolumeId(snapshot)) })
        }
    };
    let name = decode_name(name).map_err(|_| invalid())?;
    Ok((id, Trashed { name, removed_ms, expires_ms, origin }))
}

#[cfg(test)]
mod tests;
