//! Records of reservations and quotas: key `limits/ID`, where ID is the volume's (`docs/disk-format.md`, "Catalog").

use lsm_store::id::VolumeId;
use lsm_store::store::{Limits, Record};

use super::{InvalidRecord, decode_id};

pub(super) const PREFIX: &[u8] = b"limits/";
const VERSION: u8 = 1;

/// The record of the limits of volume `id`; without any, the one that takes them away.
#[must_use]
pub fn limits_record(id: VolumeId, limits: &Limits) -> Record {
    let key = [PREFIX, format!("{:016x}", id.0).as_bytes()].concat();
    if limits.is_none() {
        return Record { key, value: None };
    }
    let mut value = vec![VERSION, 0, 0, 0, 0, 0, 0, 0];
    for bytes in [limits.reserve_bytes, limits.quota_bytes] {
        value.extend_from_slice(&bytes.unwrap_or(0).to_le_bytes());
    }
    Record { key, value: Some(value) }
}

/// Reads a record, whose key begins with [`PREFIX`] and goes on with `key`.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(VolumeId, Limits), InvalidRecord> {
    let id = decode_id(key).ok_or(InvalidRecord::Name)?;
    let bytes = |word: &[u8; 8]| Some(u64::from_le_bytes(*word)).filter(|bytes| *bytes > 0);
    match value.as_chunks::<8>() {
        ([[VERSION, 0, 0, 0, 0, 0, 0, 0], reserve, quota], []) => {
            Ok((id, Limits { reserve_bytes: bytes(reserve), quota_bytes: bytes(quota) }))
        }
        ([[version, ..], ..], _) if *version > VERSION => Err(InvalidRecord::Version(*version)),
        _ => Err(InvalidRecord::OfVolume(id)),
    }
}

#[cfg(test)]
mod tests;
