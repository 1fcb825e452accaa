//! What a record of a volume's log does: the operations that a client's request came to, in order.
//!
//! The bytes are specified in `docs/protocol.md`, "Operations". A record's operations are applied together, by every replica in
//! the same order, and more than once after a crash: doing one again does no harm.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use lsm_store::id::{BLOCK_BYTES, BLOCK_SHIFT, BlockIndex};
use lsm_store::packed::PackedBlocks;
use lsm_store::request::Zeroing;
use lsm_store::store::room_of_write;
use net::replication::{Body, Record, VolumeId};

use crate::name::VolumeName;

mod writing;

pub use writing::{Packer, WriteRecord};

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

/// Operations one behind the other, some of which write packed blocks.
const WITH_BLOCKS: u8 = 3;

/// Kind, offset and length of a write.
const WRITE_HEAD_BYTES: usize = 13;

/// Kind, first block, how many, and length of a write of blocks.
const BLOCKS_HEAD_BYTES: usize = 15;

/// Blocks whose bytes can be numbered.
const BLOCKS_MAX: u64 = u64::MAX >> BLOCK_SHIFT;

const WRITE: u8 = 1;
const HOLE: u8 = 2;
const ZERO: u8 = 3;
const RESIZE: u8 = 4;
const SNAPSHOT: u8 = 5;
const REMOVE_SNAPSHOT: u8 = 6;
const ROLL_BACK: u8 = 7;
const SEED: u8 = 8;
const RENAME_SNAPSHOT: u8 = 9;
const WRITE_BLOCKS: u8 = 10;

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
    /// Whole blocks are written, which stores keep as they are.
    WriteBlocks {
        /// The first.
        first: BlockIndex,
        /// What they hold.
        blocks: PackedBlocks,
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
            Self::WriteBlocks { first, blocks } => room_of_write(first.byte_offset(), blocks.content_bytes() as u64),
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
        !matches!(self, Self::Write { .. } | Self::WriteBlocks { .. } | Self::Zero { .. })
    }

    /// The bytes it touches, as first and end.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        match self {
            Self::Write { offset, data } => (*offset, offset.saturating_add(data.len() as u64)),
            Self::WriteBlocks { first, blocks } => {
                (first.byte_offset(), first.byte_offset() + blocks.content_bytes() as u64)
            }
            Self::Zero { offset, len, .. } => (*offset, offset.saturating_add(*len)),
            _ => (0, u64::MAX),
        }
    }

    /// Bytes it takes in a record.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        match self {
            Self::Write { data, .. } => WRITE_HEAD_BYTES + data.len(),
            Self::WriteBlocks { blocks, .. } => BLOCKS_HEAD_BYTES + blocks.bytes().len(),
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
            Self::WriteBlocks { first, blocks } => {
                put_blocks_head(out, *first, blocks.len(), blocks.bytes().len());
                out.put_slice(blocks.bytes());
            }
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

fn put_blocks_head(out: &mut impl BufMut, first: BlockIndex, count: usize, bytes: usize) {
    out.put_u8(WRITE_BLOCKS);
    out.put_u64_le(first.0);
    out.put_u16_le(count as u16);
    out.put_u32_le(bytes as u32);
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
    out.put_u8(if operations.iter().any(is_of_blocks) { WITH_BLOCKS } else { VERSION });
    operations.iter().for_each(|operation| operation.encode(&mut out));
    out.freeze()
}

/// The operations of a record. Data is not copied, unless it was packed as a whole; blocks are compared with their fingerprints.
///
/// # Errors
/// [`InvalidOperations`].
pub fn decode(record: &Bytes) -> Result<Vec<Operation>, InvalidOperations> {
    decode_with(record, PackedBlocks::read)
}

/// As [`decode`], of a record that this process has made, or has decoded before: blocks are not compared again.
///
/// # Errors
/// As [`decode`].
pub fn decode_again(record: &Bytes) -> Result<Vec<Operation>, InvalidOperations> {
    decode_with(record, PackedBlocks::read_again)
}

fn decode_with(record: &Bytes, read_blocks: ReadBlocks) -> Result<Vec<Operation>, InvalidOperations> {
    let mut rest = record.clone();
    let version = rest.try_get_u8().map_err(|_| InvalidOperations::Malformed)?;
    match version {
        VERSION | WITH_BLOCKS => {}
        PACKED => rest = writing::unpack(rest).ok_or(InvalidOperations::Malformed)?,
        0 => return Err(InvalidOperations::Malformed),
        newer => return Err(InvalidOperations::Version(newer)),
    }
    let mut operations = Vec::new();
    while rest.has_remaining() {
        operations.push(decode_one(&mut rest, read_blocks).ok_or(InvalidOperations::Malformed)?);
    }
    let is_as_said = operations.iter().any(is_of_blocks) == (version == WITH_BLOCKS);
    is_as_said.then_some(operations).ok_or(InvalidOperations::Malformed)
}

fn is_of_blocks(operation: &Operation) -> bool {
    matches!(operation, Operation::WriteBlocks { .. })
}

/// Room that a store needs to apply a record, at most. What is no record needs none: nobody can apply it.
#[must_use]
pub fn room_of(record: &Bytes) -> u64 {
    decode_again(record).map_or(0, |operations| room_of_all(&operations))
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

type ReadBlocks = fn(Bytes, usize) -> Option<PackedBlocks>;

fn decode_one(rest: &mut Bytes, read_blocks: ReadBlocks) -> Option<Operation> {
    let kind = rest.try_get_u8().ok()?;
    match kind {
        WRITE => {
            let offset = rest.try_get_u64_le().ok()?;
            let len = rest.try_get_u32_le().ok()? as usize;
            let fits = len > 0 && len <= rest.remaining() && offset.checked_add(len as u64).is_some();
            fits.then(|| Operation::Write { offset, data: rest.split_to(len) })
        }
        WRITE_BLOCKS => {
            let first = BlockIndex(rest.try_get_u64_le().ok()?);
            let count = usize::from(rest.try_get_u16_le().ok()?);
            let len = rest.try_get_u32_le().ok()? as usize;
            let is_possible = len <= rest.remaining() && first.0 <= BLOCKS_MAX - count as u64;
            let blocks = is_possible.then(|| read_blocks(rest.split_to(len), count))??;
            Some(Operation::WriteBlocks { first, blocks })
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
