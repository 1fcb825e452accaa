//! A frame: one block, or up to sixteen adjacent blocks compressed together, as stored.
//!
//! Frames are packed without padding. Raw frames hold exactly one block, and a group's payload is at most 15/16 of its
//! blocks, so that a frame's length fits the slot table's 16 bits with room for its marks.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::GROUP_BLOCKS_MAX;
use crate::checksum::{Kind, Seal};
use crate::codec::{DECODED_BYTES_MAX, Encoding, Stored};
use crate::id::{BLOCK_BYTES, Slot};

pub(super) const FRAME_KIND: Kind = Kind(*b"FRAM");

/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = size_of::<FrameHeaderV1>();

/// The most bytes of a frame: a group that saves the least it must.
pub(super) const FRAME_BYTES_MAX: usize = FRAME_HEADER_BYTES + DECODED_BYTES_MAX - DECODED_BYTES_MAX / 16;

/// The bytes of a frame before its payload.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FrameHeaderV1 {
    /// Covers the four bytes that follow and the payload; sealed with the frame's offset.
    pub(super) checksum: U32,
    pub(super) encoding: u8,
    pub(super) blocks_less_one: u8,
    pub(super) payload_bytes: U16,
}

/// Where a frame is and which slots it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FramePlace {
    /// Offset of the frame in the segment's file.
    pub offset: u32,
    /// Its length in bytes, header included: 9 to 61,448.
    pub len: u32,
    /// The slot of its first block.
    pub first: Slot,
    /// How many blocks it holds, 1 to [`GROUP_BLOCKS_MAX`].
    pub blocks: u8,
}

impl FramePlace {
    /// Which of the frame's blocks, from 0, is that of `slot`.
    ///
    /// # Panics
    /// If the frame does not hold `slot`.
    #[must_use]
    pub fn index_of(&self, slot: Slot) -> usize {
        let index = usize::from(slot.0.wrapping_sub(self.first.0));
        assert!(index < usize::from(self.blocks), "the frame holds slot {slot}");
        index
    }

    /// Length of the frame's blocks, decoded, in bytes.
    #[must_use]
    pub fn decoded_bytes(&self) -> usize {
        usize::from(self.blocks) * BLOCK_BYTES
    }

    /// The smallest range `(offset, length)` that holds the frame and is aligned to `alignment`, a power of two.
    #[must_use]
    pub fn aligned_range(&self, alignment: usize) -> (u64, usize) {
        let mask = alignment as u64 - 1;
        let (start, end) = (u64::from(self.offset), u64::from(self.offset) + u64::from(self.len));
        let aligned = start & !mask;
        (aligned, (((end + mask) & !mask) - aligned) as usize)
    }
}

/// A frame whose checksum held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// How many blocks it holds.
    pub blocks: u8,
    /// Its payload.
    pub stored: Stored<'a>,
}

/// True if a frame can hold `blocks` blocks stored in this form.
pub(super) fn is_storable(blocks: usize, stored: &Stored<'_>) -> bool {
    match stored.encoding {
        Encoding::Raw => blocks == 1 && stored.bytes.len() == BLOCK_BYTES,
        Encoding::Lz4 | Encoding::Zstd => {
            let decoded = blocks * BLOCK_BYTES;
            (1..=GROUP_BLOCKS_MAX).contains(&blocks) && (1..=decoded - decoded / 16).contains(&stored.bytes.len())
        }
    }
}

/// The header of a frame at `offset`.
///
/// # Panics
/// If no frame can hold that ([`is_storable`]).
pub(super) fn encode_header(seal: &Seal, offset: u32, blocks: usize, stored: &Stored<'_>) -> [u8; FRAME_HEADER_BYTES] {
    assert!(is_storable(blocks, stored), "{blocks} blocks in {} bytes are a frame", stored.bytes.len());
    let payload_bytes = U16::new(stored.bytes.len() as u16);
    let blocks_less_one = (blocks - 1) as u8;
    let mut header =
        FrameHeaderV1 { checksum: 0.into(), encoding: stored.encoding as u8, blocks_less_one, payload_bytes };
    let covered = &header.as_bytes()[4..];
    header.checksum = seal.checksum(offset.into(), &[covered, stored.bytes]).into();
    zerocopy::transmute!(header)
}

/// Verifies the bytes of the frame at `place`, all of them and no more; on failure, what does not hold.
pub(super) fn decode<'a>(seal: &Seal, place: &FramePlace, bytes: &'a [u8]) -> Result<Frame<'a>, &'static str> {
    let (header, payload) = FrameHeaderV1::ref_from_prefix(bytes).map_err(|_| "the frame is too short")?;
    if seal.checksum(place.offset.into(), &[&header.as_bytes()[4..], payload]) != header.checksum.get() {
        return Err("the frame's checksum does not match");
    }
    let encoding = Encoding::from_byte(header.encoding).ok_or("the frame's encoding is unknown")?;
    let stored = Stored { encoding, bytes: payload };
    let blocks = usize::from(header.blocks_less_one) + 1;
    let consistent = blocks == usize::from(place.blocks)
        && payload.len() == usize::from(header.payload_bytes.get())
        && is_storable(blocks, &stored);
    if !consistent {
        return Err("the frame contradicts the slot table");
    }
    Ok(Frame { blocks: place.blocks, stored })
}
