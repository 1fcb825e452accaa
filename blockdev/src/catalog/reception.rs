//! Records of snapshots that come from elsewhere and could be gone on with: key `reception/NAME`, where NAME is the volume's that
//! they are for (`docs/disk-format.md`, "Catalog").

use lsm_store::id::{StoreId, VolumeId};
use lsm_store::store::Record;

use super::InvalidRecord;
use crate::name::VolumeName;

pub(super) const PREFIX: &[u8] = b"reception/";
const VERSION: u8 = 1;

/// A snapshot that comes, or whose sender broke off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceptionEntry {
    /// The volume that it comes into, which has no other name.
    pub id: VolumeId,
    /// The snapshot here that this goes on from.
    pub base: Option<VolumeId>,
    /// The snapshot's size.
    pub size_bytes: u64,
    /// When it began, or was resumed last, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// When it goes unless it is resumed.
    pub expires_ms: u64,
    /// The snapshot that all of it is of; `None` if some of it is of another.
    pub sent: Option<SentSnapshot>,
}

/// A snapshot as its sender knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SentSnapshot {
    /// The sender's store.
    pub store: StoreId,
    /// The snapshot's id there, from 1.
    pub id: VolumeId,
}

/// The record of a reception.
#[must_use]
pub fn reception_record(name: &VolumeName, entry: &ReceptionEntry) -> Record {
    let ReceptionEntry { id, base, size_bytes, began_ms, expires_ms, sent } = *entry;
    let (store, snapshot) = sent.map_or((StoreId([0; 16]), VolumeId(0)), |sent| (sent.store, sent.id));
    let mut value = vec![VERSION, 0, 0, 0, 0, 0, 0, 0];
    for number in [id.0, base.map_or(0, |base| base.0), size_bytes, began_ms, expires_ms, snapshot.0] {
        value.extend_from_slice(&number.to_le_bytes());
    }
    value.extend_from_slice(&store.0);
    Record { key: key(name), value: Some(value) }
}

/// The record that says that a reception is over.
#[must_use]
pub fn reception_removal(name: &VolumeName) -> Record {
    Record { key: key(name), value: None }
}

fn key(name: &VolumeName) -> Vec<u8> {
    [PREFIX, name.as_str().as_bytes()].concat()
}

/// Reads the record of the reception of `name`.
pub(super) fn decode(name: &VolumeName, value: &[u8]) -> Result<ReceptionEntry, InvalidRecord> {
    let invalid = || InvalidRecord::Value(name.clone());
    match value.first() {
        Some(&VERSION) => {}
        Some(&version) if version > VERSION => return Err(InvalidRecord::Version(version)),
        _ => return Err(invalid()),
    }
    let (&[first, id, base, size_bytes, began_ms, expires_ms, snapshot, low, high], []) = value.as_chunks::<8>() else {
        return Err(invalid());
    };
    let mut store = StoreId([0; 16]);
    store.0.copy_from_slice([low, high].as_flattened());
    let [id, base, size_bytes, began_ms, expires_ms, snapshot] =
        [id, base, size_bytes, began_ms, expires_ms, snapshot].map(u64::from_le_bytes);
    let is_sent = snapshot != 0;
    if first[1..] != [0; 7] || (!is_sent && store.0 != [0; 16]) {
        return Err(invalid());
    }
    Ok(ReceptionEntry {
        id: VolumeId(id),
        base: (base != 0).then_some(VolumeId(base)),
        size_bytes,
        began_ms,
        expires_ms,
        sent: is_sent.then_some(SentSnapshot { store, id: VolumeId(snapshot) }),
    })
}

#[cfg(test)]
mod tests;
