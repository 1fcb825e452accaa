//! A batch of the journal: its stored form, encoding and checked decoding. No I/O.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::Seal;
use crate::id::{BLOCK_BYTES, BlockIndex, Epoch, LayerId, Lsn, Sequence, VolumeId};
use crate::packed;

/// Batches start at multiples of this.
pub(crate) const BATCH_ALIGNMENT: u64 = 64;

/// More records than this do not go into one batch.
pub(crate) const RECORDS_MAX: usize = 4096;

/// Blocks of a record that brings content, at most.
const BLOCKS_MAX: u64 = 1 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"SJNL");

/// What a record does to its blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecordKind {
    /// Gives them the content that follows in the batch's payload.
    Data,
    /// Gives them the content that follows in the batch's payload in packed form ([`crate::packed`]).
    Packed,
    /// Makes them allocated zeros.
    Zero,
    /// Makes them a hole.
    Hole,
}

/// One change of adjacent blocks of one volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) volume: VolumeId,
    pub(crate) layer: LayerId,
    pub(crate) first: BlockIndex,
    pub(crate) count: u64,
    pub(crate) lsn: Lsn,
    pub(crate) epoch: Epoch,
    pub(crate) kind: RecordKind,
    /// Bytes of payload that belong to the record: none unless it brings content.
    pub(crate) payload_bytes: u32,
    /// CRC-32C of the record's payload; 0 if it has none.
    pub(crate) payload_checksum: u32,
}

impl Record {
    /// True if a record of this kind and count can have a payload of this length.
    fn is_possible(&self) -> bool {
        let bytes = self.payload_bytes as usize;
        match self.kind {
            RecordKind::Data => self.count <= BLOCKS_MAX && bytes == self.count as usize * BLOCK_BYTES,
            RecordKind::Packed => self.count <= BLOCKS_MAX && bytes <= packed::bytes_max(self.count as usize),
            RecordKind::Zero | RecordKind::Hole => bytes == 0,
        }
    }

    /// True if the record brings content.
    pub(crate) fn has_payload(&self) -> bool {
        matches!(self.kind, RecordKind::Data | RecordKind::Packed)
    }
}

/// What a batch says of the store at the moment it was placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BatchMarks {
    /// Sequence of the first record; records count from there.
    pub(crate) first: Sequence,
    /// Every record up to here was on stable storage.
    pub(crate) synced: Sequence,
    /// The manifest's sequence: a manifest that ends earlier has lost commits.
    pub(crate) manifest: u64,
    /// Wall clock, milliseconds since the Unix epoch; for people only.
    pub(crate) wall_ms: u64,
}

/// `checksum` covers the header behind itself and all records; the records cover the payload by their own checksums.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct BatchHeaderV1 {
    magic: U32,
    checksum: U32,
    previous: U32,
    payload_bytes: U32,
    first: U64,
    synced: U64,
    manifest: U64,
    wall_ms: U64,
    record_count: U16,
    reserved: [u8; 14],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RecordV1 {
    volume: U64,
    layer: U64,
    first: U64,
    count: U64,
    lsn: U64,
    epoch: U64,
    payload_bytes: U32,
    payload_checksum: U32,
    kind: u8,
    reserved: [u8; 7],
}

/// Bytes of a batch before its records.
pub(crate) const HEADER_BYTES: usize = size_of::<BatchHeaderV1>();
/// Bytes of one record.
pub(crate) const RECORD_BYTES: usize = size_of::<RecordV1>();
const _: () = assert!(HEADER_BYTES == 64 && RECORD_BYTES == 64);

/// Bytes a batch takes in the file, padding to the next batch included.
pub(crate) fn batch_bytes(record_count: usize, payload_bytes: usize) -> u64 {
    ((HEADER_BYTES + record_count * RECORD_BYTES + payload_bytes) as u64).next_multiple_of(BATCH_ALIGNMENT)
}

/// Encodes everything of a batch but its payload, for the place `offset` of the file that `seal` belongs to.
/// Returns the batch's checksum, which the next batch names.
pub(crate) fn encode(
    seal: &Seal,
    offset: u64,
    previous: u32,
    marks: &BatchMarks,
    records: &[Record],
    out: &mut Vec<u8>,
) -> u32 {
    assert!(records.len() <= RECORDS_MAX, "a batch has at most {RECORDS_MAX} records");
    let payload_bytes: usize = records.iter().map(|record| record.payload_bytes as usize).sum();
    let header = BatchHeaderV1 {
        magic: MAGIC.into(),
        checksum: 0.into(),
        previous: previous.into(),
        payload_bytes: (payload_bytes as u32).into(),
        first: marks.first.0.into(),
        synced: marks.synced.0.into(),
        manifest: marks.manifest.into(),
        wall_ms: marks.wall_ms.into(),
        record_count: (records.len() as u16).into(),
        reserved: [0; 14],
    };
    out.clear();
    out.extend_from_slice(header.as_bytes());
    for record in records {
        out.extend_from_slice(RecordV1::from(record).as_bytes());
    }
    let checksum = seal.checksum(offset, &[&out[8..]]);
    out[4..8].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

/// A batch whose header and records are valid; its payload has still to be verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Batch {
    pub(crate) checksum: u32,
    pub(crate) previous: u32,
    pub(crate) marks: BatchMarks,
    pub(crate) records: Vec<Record>,
    /// Where the payload starts, from the batch's start.
    pub(crate) payload_start: usize,
    pub(crate) payload_bytes: usize,
}

impl Batch {
    /// Sequence of the last record; one before the first for a mark, which has no records.
    pub(crate) fn last(&self) -> Sequence {
        Sequence(self.marks.first.0 + self.records.len() as u64 - 1)
    }

    /// Bytes the batch takes in the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        batch_bytes(self.records.len(), self.payload_bytes)
    }

    /// The records with their payloads, `None` if any payload does not match its checksum.
    /// `bytes` starts where the batch starts.
    pub(crate) fn verified_payloads<'a>(&'a self, bytes: &'a [u8]) -> Option<Vec<(&'a Record, &'a [u8])>> {
        let mut rest = bytes.get(self.payload_start..self.payload_start + self.payload_bytes)?;
        let mut payloads = Vec::with_capacity(self.records.len());
        for record in &self.records {
            let (payload, behind) = rest.split_at_checked(record.payload_bytes as usize)?;
            if record.has_payload() && crate::checksum::crc32c(payload) != record.payload_checksum {
                return None;
            }
            payloads.push((record, payload));
            rest = behind;
        }
        Some(payloads)
    }
}

/// The batch at the start of `bytes`, which are those at `offset` of the file that `seal` belongs to; `None` if no
/// valid batch is there. Whether it follows its predecessor is for the caller to decide.
pub(crate) fn decode(seal: &Seal, offset: u64, bytes: &[u8]) -> Option<Batch> {
    let (header, rest) = BatchHeaderV1::ref_from_prefix(bytes).ok()?;
    if header.magic.get() != MAGIC {
        return None;
    }
    let record_count = usize::from(header.record_count.get());
    let (stored, _) = <[RecordV1]>::ref_from_prefix_with_elems(rest, record_count).ok()?;
    let payload_start = HEADER_BYTES + record_count * RECORD_BYTES;
    if seal.checksum(offset, &[&bytes[8..payload_start]]) != header.checksum.get() {
        return None;
    }
    let records = stored.iter().copied().map(RecordV1::to_record).collect::<Option<Vec<_>>>()?;
    let payload_bytes =
        records.iter().try_fold(0usize, |sum, record| sum.checked_add(record.payload_bytes as usize))?;
    if payload_bytes != header.payload_bytes.get() as usize {
        return None;
    }
    // Sequences begin with 1.
    if header.first.get() == 0 || header.first.get().checked_add(record_count as u64).is_none() {
        return None;
    }
    Some(Batch {
        checksum: header.checksum.get(),
        previous: header.previous.get(),
        marks: BatchMarks {
            first: Sequence(header.first.get()),
            synced: Sequence(header.synced.get()),
            manifest: header.manifest.get(),
            wall_ms: header.wall_ms.get(),
        },
        records,
        payload_start,
        payload_bytes,
    })
}

impl From<&Record> for RecordV1 {
    fn from(record: &Record) -> Self {
        Self {
            volume: record.volume.0.into(),
            layer: record.layer.0.into(),
            first: record.first.0.into(),
            count: record.count.into(),
            lsn: record.lsn.0.into(),
            epoch: record.epoch.0.into(),
            payload_bytes: record.payload_bytes.into(),
            payload_checksum: record.payload_checksum.into(),
            kind: match record.kind {
                RecordKind::Data => 1,
                RecordKind::Zero => 2,
                RecordKind::Hole => 3,
                RecordKind::Packed => 4,
            },
            reserved: [0; 7],
        }
    }
}

impl RecordV1 {
    /// `None` if a field holds what no program writes.
    fn to_record(self) -> Option<Record> {
        let kind = match self.kind {
            1 => RecordKind::Data,
            2 => RecordKind::Zero,
            3 => RecordKind::Hole,
            4 => RecordKind::Packed,
            _ => return None,
        };
        let (first, count) = (self.first.get(), self.count.get());
        let end = first.checked_add(count)?;
        if count == 0 || end > BlockIndex::COUNT_MAX {
            return None;
        }
        let record = Record {
            volume: VolumeId(self.volume.get()),
            layer: LayerId(self.layer.get()),
            first: BlockIndex(first),
            count,
            lsn: Lsn(self.lsn.get()),
            epoch: Epoch(self.epoch.get()),
            kind,
            payload_bytes: self.payload_bytes.get(),
            payload_checksum: self.payload_checksum.get(),
        };
        record.is_possible().then_some(record)
    }
}

#[cfg(test)]
mod tests;
