//! Records of writes in the making.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use lsm_store::id::{BLOCK_BYTES, BlockIndex};
use lsm_store::packed::{BlockPacker, PACKED_BLOCKS_MAX};
use lsm_store::store::room_of_write;
use lz4_flex::block::{self, CompressTable};

use super::{
    BLOCKS_HEAD_BYTES, Draft, PACKED, RECORD_BYTES_MAX, RECORD_ROOM_MAX, VERSION, WITH_BLOCKS, WRITE_HEAD_BYTES,
    put_blocks_head, put_write,
};

/// Bytes before the block of a packed record.
pub(super) const PACKED_HEAD_BYTES: usize = 9;

/// A record is at least so much of what comes out of it, if need be by zeros at its end: whoever takes records counts their
/// bytes, and must not have to hold much more.
pub(super) const PACKED_PARTS_MAX: usize = 8;

/// Shorter records are not worth the time.
pub(super) const PACKED_BYTES_MIN: usize = 16 << 10;

/// Whole blocks of so many bytes that come together are packed as stores keep them, once for all replicas. Smaller writes are
/// often overwritten before a store packs them.
pub(super) const BLOCKS_BYTES_MIN: usize = 64 << 10;

/// How many go as they are after one that did not shrink.
pub(super) const SKIPPED_COUNT: u32 = 15;

/// What is packed is worth it if it takes no more than this.
fn worth(bytes: usize) -> usize {
    bytes - bytes / 8
}

/// A record of writes in the making, to which a client's bytes are copied once.
#[derive(Debug)]
pub struct WriteRecord {
    out: BytesMut,
    /// What a store needs to apply it.
    room_bytes: u64,
    has_blocks: bool,
}

impl WriteRecord {
    /// A record without operations, with room for so many bytes; of many it takes more only if they turn out not to shrink.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let expected = if bytes < BLOCKS_BYTES_MIN { bytes } else { bytes / 8 * 5 };
        let mut out = BytesMut::with_capacity(1 + expected);
        out.put_u8(VERSION);
        Self { out, room_bytes: 0, has_blocks: false }
    }

    /// Bytes that a write of `len` takes at most, in up to three operations.
    #[must_use]
    pub fn bytes_of(len: usize) -> usize {
        if len < BLOCKS_BYTES_MIN { WRITE_HEAD_BYTES + len } else { 3 * WRITE_HEAD_BYTES + len }
    }

    /// Whether a write still fits: into the record, and with the rest of it into what stores take at once.
    #[must_use]
    pub fn has_room(&self, offset: u64, len: usize) -> bool {
        let room_bytes = self.room_bytes.saturating_add(room_of_write(offset, len as u64));
        self.out.len() + Self::bytes_of(len) <= RECORD_BYTES_MAX && room_bytes <= RECORD_ROOM_MAX
    }

    /// Adds a write of at most [`DATA_BYTES_MAX`](super::DATA_BYTES_MAX), for which there is room.
    pub fn push(&mut self, offset: u64, data: &[u8], packer: &mut Packer) {
        let head = (offset.next_multiple_of(BLOCK_BYTES as u64) - offset).min(data.len() as u64) as usize;
        let whole = (data.len() - head) / BLOCK_BYTES * BLOCK_BYTES;
        if whole < BLOCKS_BYTES_MIN || packer.skips() {
            self.put(offset, data);
            return;
        }
        let (head, rest) = data.split_at(head);
        let (whole, tail) = rest.split_at(whole);
        let first = offset + head.len() as u64;
        if !head.is_empty() {
            self.put(offset, head);
        }
        self.push_blocks(first, whole, packer);
        if !tail.is_empty() {
            self.put(first + whole.len() as u64, tail);
        }
    }

    /// Adds a write as it is.
    fn put(&mut self, offset: u64, data: &[u8]) {
        self.room_bytes = self.room_bytes.saturating_add(room_of_write(offset, data.len() as u64));
        put_write(&mut self.out, offset, data);
    }

    /// Adds whole blocks, packed if that is worth it.
    fn push_blocks(&mut self, offset: u64, whole: &[u8], packer: &mut Packer) {
        let count = whole.len() / BLOCK_BYTES;
        assert!(count <= PACKED_BLOCKS_MAX, "a record has no room for {count} blocks");
        let start = self.out.len();
        self.out.put_bytes(0, BLOCKS_HEAD_BYTES);
        if !packer.blocks.pack(whole, worth(whole.len()), &mut self.out) {
            self.out.truncate(start);
            packer.skipping = SKIPPED_COUNT;
            self.put(offset, whole);
            return;
        }
        self.room_bytes = self.room_bytes.saturating_add(room_of_write(offset, whole.len() as u64));
        let bytes = self.out.len() - start - BLOCKS_HEAD_BYTES;
        put_blocks_head(&mut &mut self.out[start..], BlockIndex(offset / BLOCK_BYTES as u64), count, bytes);
        self.has_blocks = true;
    }

    /// The record, packed if that is worth it.
    #[must_use]
    pub fn finish(self, packer: &mut Packer) -> Draft {
        let Self { mut out, room_bytes, has_blocks } = self;
        let record = if has_blocks {
            out[0] = WITH_BLOCKS;
            exact(out)
        } else {
            packer.pack(&out).unwrap_or_else(|| exact(out))
        };
        Draft { record, room_bytes }
    }
}

/// A record in memory that holds little else: it is kept for a while, and counted by its length.
fn exact(record: BytesMut) -> Bytes {
    if record.capacity() > record.len() + record.len() / 8 { Bytes::copy_from_slice(&record) } else { record.freeze() }
}

/// Makes records shorter, which are sent to every replica and written to each one's log. Looks at little of what comes after
/// something that did not shrink.
#[derive(Default)]
pub struct Packer {
    table: Option<CompressTable>,
    packed: Vec<u8>,
    blocks: BlockPacker,
    skipping: u32,
}

impl Packer {
    /// True if it does not look at this one.
    fn skips(&mut self) -> bool {
        let skips = self.skipping > 0;
        self.skipping = self.skipping.saturating_sub(1);
        skips
    }

    /// The packed form of a record; `None` if that would not save an eighth.
    fn pack(&mut self, record: &[u8]) -> Option<Bytes> {
        if record.len() < PACKED_BYTES_MIN || self.skips() {
            return None;
        }
        let operations = &record[1..];
        self.packed.resize(block::get_maximum_output_size(operations.len()), 0);
        let table = self.table.get_or_insert_with(CompressTable::large);
        let len = block::compress_into_with_table(operations, &mut self.packed, table).ok()?;
        if len > worth(operations.len()) {
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
pub(super) fn unpack(mut packed: Bytes) -> Option<Bytes> {
    let len = packed.try_get_u32_le().ok()? as usize;
    let block = packed.try_get_u32_le().ok()? as usize;
    let is_allowed = len < RECORD_BYTES_MAX && len <= PACKED_PARTS_MAX * (PACKED_HEAD_BYTES + packed.len());
    let block = is_allowed.then(|| packed.get(..block))??;
    let operations = block::decompress(block, len).ok()?;
    (operations.len() == len).then(|| operations.into())
}
