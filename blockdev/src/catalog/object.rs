//! Records of objects: key `object/NAME`; of those whose stream still comes `upload/NAME` (`docs/disk-format.md`, "Objects").

use lsm_store::id::VolumeId;
use lsm_store::store::Record;

use super::InvalidRecord;
use crate::name::ObjectName;
use crate::object::{Chunker, Metadata};

pub(super) const PREFIX: &[u8] = b"object/";
pub(super) const UPLOAD_PREFIX: &[u8] = b"upload/";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 48;

/// An object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectEntry {
    /// The volume that holds it.
    pub id: VolumeId,
    /// How it was cut.
    pub chunker: Chunker,
    /// Its bytes.
    pub length: u64,
    /// Pages of its index.
    pub index_pages: u64,
    /// When it was complete, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it goes by itself, if it does.
    pub expires_ms: Option<u64>,
    /// What its user says of it.
    pub metadata: Metadata,
}

/// An object whose stream still comes, or was broken off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UploadEntry {
    /// The volume that it comes into.
    pub id: VolumeId,
    /// How it is cut.
    pub chunker: Chunker,
    /// It stays when it is broken off, until it expires, and can be resumed.
    pub resumable: bool,
    /// When it began, or was resumed last, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// When it goes unless somebody resumes it.
    pub expires_ms: u64,
}

/// The record of an object.
#[must_use]
pub fn object_record(name: &ObjectName, entry: &ObjectEntry) -> Record {
    let mut value = vec![VERSION, entry.chunker as u8, 0, 0, 0, 0, 0, 0];
    let expires_ms = entry.expires_ms.unwrap_or(0);
    for number in [entry.id.0, entry.length, entry.index_pages, entry.created_ms, expires_ms] {
        value.extend_from_slice(&number.to_le_bytes());
    }
    entry.metadata.encode(&mut value);
    Record { key: key(PREFIX, name), value: Some(value) }
}

/// The record that takes an object's name away.
#[must_use]
pub fn object_removal(name: &ObjectName) -> Record {
    Record { key: key(PREFIX, name), value: None }
}

/// The record of an upload.
#[must_use]
pub fn upload_record(name: &ObjectName, entry: &UploadEntry) -> Record {
    let mut value = vec![VERSION, entry.chunker as u8, u8::from(entry.resumable), 0, 0, 0, 0, 0];
    for number in [entry.id.0, entry.began_ms, entry.expires_ms] {
        value.extend_from_slice(&number.to_le_bytes());
    }
    Record { key: key(UPLOAD_PREFIX, name), value: Some(value) }
}

/// The record that says that an upload is over.
#[must_use]
pub fn upload_removal(name: &ObjectName) -> Record {
    Record { key: key(UPLOAD_PREFIX, name), value: None }
}

fn key(prefix: &[u8], name: &ObjectName) -> Vec<u8> {
    [prefix, name.as_str().as_bytes()].concat()
}

/// Reads an object's record, whose key begins with [`PREFIX`] and goes on with `name`.
pub(super) fn decode(name: &[u8], value: &[u8]) -> Result<(ObjectName, ObjectEntry), InvalidRecord> {
    let name = decode_name(name)?;
    let invalid = || InvalidRecord::Object(name.clone());
    check_version(&name, value)?;
    let (head, metadata) = value.split_at_checked(HEAD_BYTES).ok_or_else(invalid)?;
    let (&[first, id, length, index_pages, created_ms, expires_ms], []) = head.as_chunks::<8>() else {
        return Err(invalid());
    };
    let [_, chunker, 0, 0, 0, 0, 0, 0] = first else { return Err(invalid()) };
    let [id, length, index_pages, created_ms, expires_ms] =
        [id, length, index_pages, created_ms, expires_ms].map(u64::from_le_bytes);
    let entry = ObjectEntry {
        id: VolumeId(id),
        chunker: decode_chunker(chunker)?,
        length,
        index_pages,
        created_ms,
        expires_ms: (expires_ms != 0).then_some(expires_ms),
        metadata: Metadata::decode(metadata).ok_or_else(invalid)?,
    };
    Ok((name, entry))
}

/// Reads an upload's record, whose key begins with [`UPLOAD_PREFIX`] and goes on with `name`.
pub(super) fn decode_upload(name: &[u8], value: &[u8]) -> Result<(ObjectName, UploadEntry), InvalidRecord> {
    let name = decode_name(name)?;
    let invalid = || InvalidRecord::Object(name.clone());
    check_version(&name, value)?;
    let (&[first, id, began_ms, expires_ms], []) = value.as_chunks::<8>() else { return Err(invalid()) };
    let [_, chunker, resumable @ (0 | 1), 0, 0, 0, 0, 0] = first else { return Err(invalid()) };
    let [id, began_ms, expires_ms] = [id, began_ms, expires_ms].map(u64::from_le_bytes);
    let chunker = decode_chunker(chunker)?;
    Ok((name, UploadEntry { id: VolumeId(id), chunker, resumable: resumable == 1, began_ms, expires_ms }))
}

fn decode_name(bytes: &[u8]) -> Result<ObjectName, InvalidRecord> {
    std::str::from_utf8(bytes).ok().and_then(|name| name.parse().ok()).ok_or(InvalidRecord::ObjectName)
}

fn check_version(name: &ObjectName, value: &[u8]) -> Result<(), InvalidRecord> {
    match value.first() {
        Some(&VERSION) => Ok(()),
        Some(&version) if version > VERSION => Err(InvalidRecord::Version(version)),
        _ => Err(InvalidRecord::Object(name.clone())),
    }
}

/// A number that is not known is that of a newer program.
fn decode_chunker(number: u8) -> Result<Chunker, InvalidRecord> {
    Chunker::from_number(number).ok_or(InvalidRecord::Chunker(number))
}

#[cfg(test)]
mod tests;
