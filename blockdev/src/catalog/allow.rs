//! Records of who may open a volume: key `allow/ID`, where ID is the volume's (`docs/disk-format.md`, "Catalog").

use lsm_store::id::VolumeId;
use lsm_store::store::Record;

use super::{InvalidRecord, decode_id};
use crate::access::AllowList;

pub(super) const PREFIX: &[u8] = b"allow/";
const VERSION: u8 = 1;

/// The record of who may open volume `id`; if everybody may, the one that takes the list away.
#[must_use]
pub fn allow_record(id: VolumeId, allow: &AllowList) -> Record {
    let key = [PREFIX, format!("{:016x}", id.0).as_bytes()].concat();
    if allow.is_empty() {
        return Record { key, value: None };
    }
    let mut value = vec![VERSION, 0, 0, 0, 0, 0, 0, 0];
    for name in allow.names() {
        let len = u8::try_from(name.len()).expect("a name of a list has at most 255 bytes");
        value.push(len);
        value.extend_from_slice(name.as_bytes());
    }
    Record { key, value: Some(value) }
}

/// Reads a record, whose key begins with [`PREFIX`] and goes on with `key`.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(VolumeId, AllowList), InvalidRecord> {
    let id = decode_id(key).ok_or(InvalidRecord::Name)?;
    let invalid = InvalidRecord::OfVolume(id);
    let names = match value.split_first_chunk() {
        Some(([VERSION, 0, 0, 0, 0, 0, 0, 0], names)) => decode_names(names).ok_or(invalid.clone())?,
        Some(([version, ..], _)) if *version > VERSION => return Err(InvalidRecord::Version(*version)),
        _ => return Err(invalid),
    };
    // An empty list is written as none, and one that lost its names must not let everybody in.
    match names.is_sorted_by(|one, next| one < next) && !names.is_empty() {
        true => Ok((id, AllowList::new(names).map_err(|_| invalid)?)),
        false => Err(invalid),
    }
}

fn decode_names(mut bytes: &[u8]) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    while let Some((&len, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(len))?;
        names.push(std::str::from_utf8(name).ok()?);
        bytes = rest;
    }
    Some(names)
}

#[cfg(test)]
mod tests;
