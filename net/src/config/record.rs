//! The envelope of every stored or sent body: kind, version, checksum (`docs/protocol.md`, "Configuration"). A body is
//! looked at only after its checksum was found right, and with checks: bytes that are not what they should be are an
//! error.
//!
//! redb checks its pages after a crash, not when it reads them; so each record carries a checksum of its own, which also
//! covers which file it belongs to and where in it.

use crc_fast::{CrcAlgorithm, Digest};
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error as RkyvError;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

/// Version of all bodies that this program writes.
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 12;

/// What sort of body it is: four ASCII letters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kind(pub(super) [u8; 4]);

/// What a record belongs to: for stored ones the file's id and the record's place in it, for sent ones zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    pub(super) scope: [u8; 16],
    pub(super) number: u64,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum InvalidRecord {
    /// They are not what was written there.
    #[error("it is damaged")]
    Damaged,
    /// They are of a newer program.
    #[error("it has version {0}, which is newer than this program: use the newer version")]
    Version(u16),
}

/// The record of a value.
pub(super) fn encode<T>(kind: Kind, place: Place, value: &T) -> Vec<u8>
where
    T: for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, RkyvError>>,
{
    let body = rkyv::to_bytes::<RkyvError>(value).expect("a value in memory has a stored form");
    seal(kind, place, &body)
}

/// The value in a record.
pub(super) fn decode<T>(kind: Kind, place: Place, record: &[u8]) -> Result<T, InvalidRecord>
where
    T: Archive,
    T::Archived: for<'a> CheckBytes<HighValidator<'a, RkyvError>> + Deserialize<T, HighDeserializer<RkyvError>>,
{
    rkyv::from_bytes::<T, RkyvError>(open(kind, place, record)?).map_err(|_| InvalidRecord::Damaged)
}

fn seal(kind: Kind, place: Place, body: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER_BYTES + body.len());
    record.extend_from_slice(&kind.0);
    record.extend_from_slice(&VERSION.to_le_bytes());
    record.extend_from_slice(&[0; 2]);
    let checksum = checksum(place, &record, body);
    record.extend_from_slice(&checksum.to_le_bytes());
    record.extend_from_slice(body);
    record
}

fn open(kind: Kind, place: Place, record: &[u8]) -> Result<&[u8], InvalidRecord> {
    let Some((header, body)) = record.split_first_chunk::<HEADER_BYTES>() else { return Err(InvalidRecord::Damaged) };
    let (head, stored) = header.split_at(HEADER_BYTES - 4);
    if head[..4] != kind.0 || stored != checksum(place, head, body).to_le_bytes() {
        return Err(InvalidRecord::Damaged);
    }
    match u16::from_le_bytes([head[4], head[5]]) {
        VERSION => Ok(body),
        newer if newer > VERSION => Err(InvalidRecord::Version(newer)),
        _ => Err(InvalidRecord::Damaged),
    }
}

fn checksum(place: Place, head: &[u8], body: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&place.scope);
    digest.update(&place.number.to_le_bytes());
    digest.update(head);
    digest.update(body);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests;
