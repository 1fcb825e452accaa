//! What a record of a volume's log does: the operations that a client's request came to, in order.
//!
//! The bytes are specified in `docs/protocol.md`, "Operations". A record's operations are applied together, by every replica in
//! the same order, and more than once after a crash: doing one again does no harm.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use lsm_store::id::BLOCK_BYTES;
use lsm_store::request::Zeroing;
use lsm_store::store::room_of_write;
use lz4_flex::block::{self, CompressTable};
use net::replication::{Body, Record, VolumeId};

use crate::name::VolumeName;

/// Most bytes of a record's operations.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Most room in the store that one record may need, when it is put together from several writes.
pub const RECORD_ROOM_MAX: u64 = 4 << 20;

/// Room that a snapshot needs: entries of the catalog and of the manifest, and what they come to when these are written anew.
const SNAPSHOT_ROOM_BYTES: u64 = 64 << 10;

/// Most bytes of data in one operation: with what is around it, it fits a record.
pub const DATA_BYTES_MAX: usize = RECORD_BYTES_MAX - 64;

/// Operations one behind the other.
const VERSION: u8 = 1;

/// Their length, that of an LZ4 block, the block that they come out of, and zeros.
const PACKED: u8 = 2;

/// Bytes before the block.
const PACKED_HEAD_BYTES: usize = 9;

/// A record is at least so much of what comes out of it, if need be by zeros at its end: whoever takes records counts their
/// bytes, and must not have to hold much more.
const PACKED_PARTS_MAX: usize = 8;

/// Shorter records are not worth the time.
const PACKED_BYTES_MIN: usize = 16 << 10;

/// How many records go as they are after one that did not shrink.
const SKIPPED_COUNT: u32 = 15;

/// Kind, offset and length of a write.
const WRITE_HEAD_BYTES: usize = 13;

const WRITE: u8 = 1;
const HOLE: u8 = 2;
const ZERO: u8 = 3;
const RESIZE: u8 = 4;
const SNAPSHOT: u8 = 5;
const REMOVE_SNAPSHOT: u8 = 6;
const ROLL_BACK: u8 = 7;
const SEED: u8 = 8;
const RENAME_SNAPSHOT: u8 = 9;

/// One change of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Bytes are written.
    Write {
        /// First byte.
        offset: u64,
        /// At most [`DATA_BYTES_MAX`].
        data: Bytes,
    },
    /// A range reads as zeros.
    Zero {
        /// First byte.
        offset: u64,
        /// How many.
        len: u64,
        /// What it becomes.
        zeroing: Zeroing,
    },
    /// The volume has another size.
    Resize {
        /// In bytes.
        size_bytes: u64,
    },
    /// What the volume holds is frozen.
    Snapshot {
        /// Under this name.
        name: VolumeName,
    },
    /// A snapshot goes.
    RemoveSnapshot {
        /// Its name.
        name: VolumeName,
    },
    /// The volume holds again what a snapshot of it does.
    RollBack {
        /// The snapshot's name.
        to: VolumeName,
    },
    /// What a clone is to start with is frozen.
    Seed {
        /// The clone.
        clone: VolumeId,
        /// The snapshot that it is made of; what the volume holds now if there is none.
        of: Option<VolumeName>,
    },
    /// A snapshot gets another name.
    RenameSnapshot {
        /// The name it has.
        name: VolumeName,
        /// The name it gets.
        to: VolumeName,
    },
}

/// Bytes that are no record's operations. A replica that has them lacks what a newer program wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOperations {
    /// A newer program made them.
    #[error("a record has version {0}, which is newer than this program")]
    Version(u8),
    /// They end too early or say what cannot be.
    #[error("a record of the volume's log is not one")]
    Malformed,
}

impl Operation {
    /// Room that a store needs to apply it, at most ([`lsm_store::store::room_of_write`]). What makes room, or changes nothing
    /// that is stored, needs none.
    #[must_use]
    pub fn room_bytes(&self) -> u64 {
        match self {
            Self::Write { offset, data } => room_of_write(*offset, data.len() as u64),
            Self::Zero { offset, len, .. } => room_of_zeros(*offset, *len),
            Self::Snapshot { .. } | Self::Seed { .. } => SNAPSHOT_ROOM_BYTES,
            Self::Resize { .. } | Self::RemoveSnapshot { .. } | Self::RenameSnapshot { .. } | Self::RollBack { .. } => {
                0
            }
        }
    }

    /// True if it is more than a change of bytes: whoever reads what it does waits until it was applied.
    #[must_use]
    pub fn is_barrier(&self) -> bool {
        !matches!(self, Self::Write { .. } | Self::Zero { .. })
    }

    /// The bytes it touches, as first and end.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        match self {
            Self::Write { offset, data } => (*offset, offset.saturating_add(data.len() as u64)),
            Self::Zero { offset, len, .. } => (*offset, offset.saturating_add(*len)),
            _ => (0, u64::MAX),
        }
    }

    /// Bytes it takes in a record.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        match self {
            Self::Write { data, .. } => WriteRecord::bytes_of(data.len()),
            Self::Zero { .. } => 17,
            Self::Resize { .. } => 9,
            Self::Snapshot { name } | Self::RemoveSnapshot { name } | Self::RollBack { to: name } => {
                2 + name.as_str().len()
            }
            Self::RenameSnapshot { name, to } => 3 + name.as_str().len() + to.as_str().len(),
            Self::Seed { of, .. } => 10 + of.as_ref().map_or(0, |name| name.as_str().len()),
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        let mut named = |kind: u8, name: &VolumeName| {
            out.put_u8(kind);
            out.put_u8(name.as_str().len() as u8);
            out.put_slice(name.as_str().as_bytes());
        };
        match self {
            Self::Snapshot { name } => named(SNAPSHOT, name),
            Self::RemoveSnapshot { name } => named(REMOVE_SNAPSHOT, name),
            Self::RollBack { to } => named(ROLL_BACK, to),
            Self::Write { offset, data } => put_write(out, *offset, data),
            Self::Zero { offset, len, zeroing } => {
                out.put_u8(if *zeroing == Zeroing::Hole { HOLE } else { ZERO });
                out.put_u64_le(*offset);
                out.put_u64_le(*len);
            }
            Self::Resize { size_bytes } => {
                out.put_u8(RESIZE);
                out.put_u64_le(*size_bytes);
            }
            Self::RenameSnapshot { name, to } => {
                named(RENAME_SNAPSHOT, name);
                out.put_u8(to.as_str().len() as u8);
                out.put_slice(to.as_str().as_bytes());
            }
            Self::Seed { clone, of } => {
                let name = of.as_ref().map_or("", VolumeName::as_str);
                out.put_u8(SEED);
                out.put_u64_le(clone.0);
                out.put_u8(name.len() as u8);
                out.put_slice(name.as_bytes());
            }
        }
    }
}

/// Of zeros only blocks that are zero in part are written.
fn room_of_zeros(offset: u64, len: u64) -> u64 {
    let (block, end) = (BLOCK_BYTES as u64, offset.saturating_add(len));
    let (first, last) = (offset.checked_next_multiple_of(block).unwrap_or(u64::MAX), end / block * block);
    if first > last {
        return room_of_write(offset, len);
    }
    room_of_write(offset, first - offset) + room_of_write(last, end - last)
}

/// A record that is to be ordered, and the room that a store needs to apply it, at most.
#[derive(Clone, Debug)]
pub struct Draft {
    record: Bytes,
    room_bytes: u64,
}

impl Draft {
    /// The record of these operations.
    ///
    /// # Panics
    /// As [`encode`].
    #[must_use]
    pub fn of(operations: &[Operation]) -> Self {
        Self { record: encode(operations), room_bytes: room_of_all(operations) }
    }

    /// A record that somebody else made.
    ///
    /// # Errors
    /// As [`decode`]; [`InvalidOperations::Malformed`] if it has no operations or more than [`RECORD_BYTES_MAX`].
    pub fn read(record: Bytes) -> Result<Self, InvalidOperations> {
        let operations = decode(&record)?;
        if operations.is_empty() || record.len() > RECORD_BYTES_MAX {
            return Err(InvalidOperations::Malformed);
        }
        Ok(Self { record, room_bytes: room_of_all(&operations) })
    }

    /// Its bytes.
    #[must_use]
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    /// What a store needs to apply it, at most.
    #[must_use]
    pub fn room_bytes(&self) -> u64 {
        self.room_bytes
    }
}

/// A record of writes in the making, to which a client's bytes are copied once.
#[derive(Debug)]
pub struct WriteRecord {
    out: BytesMut,
    /// What a store needs to apply it.
    room_bytes: u64,
}

impl WriteRecord {
    /// A record without operations, with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut out = BytesMut::with_capacity(1 + bytes);
        out.put_u8(VERSION);
        Self { out, room_bytes: 0 }
    }

    /// Bytes that a write of `len` takes.
    #[must_use]
    pub fn bytes_of(len: usize) -> usize {
        WRITE_HEAD_BYTES + len
    }

    /// Whether a write still fits: into the record, and with the rest of it into what stores take at once.
    #[must_use]
    pub fn has_room(&self, offset: u64, len: usize) -> bool {
        let room_bytes = self.room_bytes.saturating_add(room_of_write(offset, len as u64));
        self.out.len() + Self::bytes_of(len) <= RECORD_BYTES_MAX && room_bytes <= RECORD_ROOM_MAX
    }

    /// Adds a write of at most [`DATA_BYTES_MAX`], for which there is room.
    pub fn push(&mut self, offset: u64, data: &[u8]) {
        self.room_bytes = self.room_bytes.saturating_add(room_of_write(offset, data.len() as u64));
        put_write(&mut self.out, offset, data);
    }

    /// The record, packed if that is worth it.
    #[must_use]
    pub fn finish(self, packer: &mut Packer) -> Draft {
        let Self { out, room_bytes } = self;
        Draft { record: packer.pack(&out).unwrap_or_else(|| out.freeze()), room_bytes }
    }
}

/// Makes records shorter, which are sent to every replica and written to each one's log. Looks at few of those records that come
/// after one that did not shrink.
#[derive(Default)]
pub struct Packer {
    table: Option<CompressTable>,
    packed: Vec<u8>,
    skipping: u32,
}

impl Packer {
    /// The packed form of a record; `None` if that would not save an eighth.
    fn pack(&mut self, record: &[u8]) -> Option<Bytes> {
        if record.len() < PACKED_BYTES_MIN {
            return None;
        }
        if self.skipping > 0 {
            self.skipping -= 1;
            return None;
        }
        let operations = &record[1..];
        self.packed.resize(block::get_maximum_output_size(operations.len()), 0);
        let table = self.table.get_or_insert_with(CompressTable::large);
        let len = block::compress_into_with_table(operations, &mut self.packed, table).ok()?;
        if len > operations.len() - operations.len() / 8 {
            self.skipping = SKIPPED_COUNT;
            return None;
        }
        let bytes = (PACKED_HEAD_BYTES + len).max(operations.len().div_ceil(PACKED_PARTS_MAX));
        let mut out = BytesMut::with_capacity(bytes);
        out.put_u8(PACKED);
        out.put_u32_le(operations.len() as u32);
        out.put_u32_le(len as u32);
        out.put_slice(&self.packed[..len]);
        out.resize(bytes, 0);
        Some(out.freeze())
    }
}

/// What was packed.
fn unpack(mut packed: Bytes) -> Option<Bytes> {
    let len = packed.try_get_u32_le().ok()? as usize;
    let block = packed.try_get_u32_le().ok()? as usize;
    let is_allowed = len < RECORD_BYTES_MAX && len <= PACKED_PARTS_MAX * (PACKED_HEAD_BYTES + packed.len());
    let block = is_allowed.then(|| packed.get(..block))??;
    let operations = block::decompress(block, len).ok()?;
    (operations.len() == len).then(|| operations.into())
}

fn put_write(out: &mut BytesMut, offset: u64, data: &[u8]) {
    out.put_u8(WRITE);
    out.put_u64_le(offset);
    out.put_u32_le(data.len() as u32);
    out.put_slice(data);
}

/// The record of these operations.
///
/// # Panics
/// If it would be longer than [`RECORD_BYTES_MAX`]: whoever makes requests of clients into records cuts them.
#[must_use]
pub fn encode(operations: &[Operation]) -> Bytes {
    let bytes = 1 + operations.iter().map(Operation::encoded_bytes).sum::<usize>();
    assert!(bytes <= RECORD_BYTES_MAX, "a record of {bytes} bytes is too long");
    let mut out = BytesMut::with_capacity(bytes);
    out.put_u8(VERSION);
    operations.iter().for_each(|operation| operation.encode(&mut out));
    out.freeze()
}

/// The operations of a record. Data is not copied, unless it was packed.
///
/// # Errors
/// [`InvalidOperations`].
pub fn decode(record: &Bytes) -> Result<Vec<Operation>, InvalidOperations> {
    let mut rest = record.clone();
    match rest.try_get_u8() {
        Ok(VERSION) => {}
        Ok(PACKED) => rest = unpack(rest).ok_or(InvalidOperations::Malformed)?,
        Ok(newer) if newer > PACKED => return Err(InvalidOperations::Version(newer)),
        _ => return Err(InvalidOperations::Malformed),
    }
    let mut operations = Vec::new();
    while rest.has_remaining() {
        operations.push(decode_one(&mut rest).ok_or(InvalidOperations::Malformed)?);
    }
    Ok(operations)
}

/// Room that a store needs to apply a record, at most. What is no record needs none: nobody can apply it.
#[must_use]
pub fn room_of(record: &Bytes) -> u64 {
    decode(record).map_or(0, |operations| room_of_all(&operations))
}

/// Room that a store needs to apply operations, at most.
#[must_use]
pub fn room_of_all(operations: &[Operation]) -> u64 {
    operations.iter().map(Operation::room_bytes).fold(0, u64::saturating_add)
}

/// The operations of a record of a replica's log; the first of an epoch has none.
///
/// # Errors
/// As [`decode`].
pub fn of_record(record: &Record) -> Result<Arc<[Operation]>, InvalidOperations> {
    match &record.body {
        Body::Opening => Ok(Arc::default()),
        Body::Write(payload) => Ok(decode(payload)?.into()),
    }
}

fn decode_one(rest: &mut Bytes) -> Option<Operation> {
    let kind = rest.try_get_u8().ok()?;
    match kind {
        WRITE => {
            let offset = rest.try_get_u64_le().ok()?;
            let len = rest.try_get_u32_le().ok()? as usize;
            let fits = len > 0 && len <= rest.remaining() && offset.checked_add(len as u64).is_some();
            fits.then(|| Operation::Write { offset, data: rest.split_to(len) })
        }
        HOLE | ZERO => {
            let (offset, len) = (rest.try_get_u64_le().ok()?, rest.try_get_u64_le().ok()?);
            let zeroing = if kind == HOLE { Zeroing::Hole } else { Zeroing::Allocated };
            (len > 0 && offset.checked_add(len).is_some()).then_some(Operation::Zero { offset, len, zeroing })
        }
        RESIZE => Some(Operation::Resize { size_bytes: rest.try_get_u64_le().ok()? }),
        SNAPSHOT => Some(Operation::Snapshot { name: decode_name(rest)? }),
        REMOVE_SNAPSHOT => Some(Operation::RemoveSnapshot { name: decode_name(rest)? }),
        ROLL_BACK => Some(Operation::RollBack { to: decode_name(rest)? }),
        SEED => {
            let clone = VolumeId(rest.try_get_u64_le().ok()?);
            let text = decode_text(rest)?;
            let of = if text.is_empty() { None } else { Some(parse_name(&text)?) };
            Some(Operation::Seed { clone, of })
        }
        RENAME_SNAPSHOT => Some(Operation::RenameSnapshot { name: decode_name(rest)?, to: decode_name(rest)? }),
        _ => None,
    }
}

fn decode_name(rest: &mut Bytes) -> Option<VolumeName> {
    parse_name(&decode_text(rest)?)
}

fn decode_text(rest: &mut Bytes) -> Option<Bytes> {
    let len = usize::from(rest.try_get_u8().ok()?);
    (len <= rest.remaining()).then(|| rest.split_to(len))
}

fn parse_name(text: &Bytes) -> Option<VolumeName> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
