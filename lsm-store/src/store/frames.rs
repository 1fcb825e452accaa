//! Blocks on their way between stores, in the form in which one keeps them: read without decoding, and kept by the other
//! without compressing again.
//!
//! A frame of one block travels as it is; of a group each block is packed anew by LZ4. Whoever takes a block decodes it and
//! compares the fingerprint first: nothing of another store is taken on trust.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::inner::Inner;
use super::plan::{Fetch, Want};
use super::reads::fetched;
use super::states::Piece;
use super::volume::{Volume, VolumeState};
use super::walk::{Found, location_of};
use crate::codec::{Codec, Compressor, Decompressor, Encoding, LZ4_BLOCK_BYTES_MAX, Stored};
use crate::device::AlignedBuffer;
use crate::error::{Error, Result};
use crate::fingerprint::{Fingerprint, fingerprint_blocks, is_zero};
use crate::id::{BLOCK_BYTES, BlockIndex, Location, SegmentId};
use crate::memtable::Content;
use crate::packed::PackedBlocks;
use crate::request::Write;
use crate::segment::FramePlace;

/// Blocks read or written at once at most.
pub const STORED_BLOCKS_MAX: usize = 256;

/// The longest form of a block that is not its content: what saves less is kept raw.
pub const STORED_BYTES_MAX: usize = BLOCK_BYTES - BLOCK_BYTES / 16;

/// A block in the form in which it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredBlock {
    /// The fingerprint of its content.
    pub fingerprint: Fingerprint,
    /// How `bytes` are encoded.
    pub encoding: Encoding,
    /// The whole content if raw, else at least 1 and at most [`STORED_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

type Block = [u8; BLOCK_BYTES];

impl StoredBlock {
    /// True if a block can be stored so.
    #[must_use]
    pub fn is_possible(encoding: Encoding, len: usize) -> bool {
        match encoding {
            Encoding::Raw => len == BLOCK_BYTES,
            Encoding::Lz4 | Encoding::Zstd => (1..=STORED_BYTES_MAX).contains(&len),
        }
    }

    /// The contents of adjacent blocks from `first` on that another store has given, after each was decoded and compared with
    /// its fingerprint.
    ///
    /// # Errors
    /// [`Error::ForeignBlock`] (`Corrupt`) if one is not what it says.
    pub fn contents(first: BlockIndex, blocks: &[Self]) -> Result<Vec<[u8; BLOCK_BYTES]>> {
        verified(first, blocks)
    }

    fn stored(&self) -> Stored<'_> {
        Stored { encoding: self.encoding, bytes: &self.bytes }
    }
}

impl Inner {
    /// See [`Volume::stored_blocks`].
    pub(super) fn stored_blocks(
        &self,
        volume: &VolumeState,
        blocks: Range<BlockIndex>,
    ) -> Result<Vec<(BlockIndex, StoredBlock)>> {
        self.collector.cold.note_request();
        self.gather(volume, blocks).inspect_err(|error| self.suspect(error))
    }

    fn gather(&self, volume: &VolumeState, blocks: Range<BlockIndex>) -> Result<Vec<(BlockIndex, StoredBlock)>> {
        // Held until all is read: files that it names do not go.
        let view = self.view();
        let lineage = volume.lineage()?;
        let (mut places, mut packing) = (Vec::new(), Packing::default());
        self.walk_to_end(volume, &view, &lineage, blocks, &mut |Piece { first, end, state }| {
            match state {
                Found::Zeros => {}
                Found::Memory(content) => packing.keep(first, &content),
                Found::Stored { of, at } => {
                    places.extend(
                        (first.0..end.0).map(|block| (BlockIndex(block), location_of(BlockIndex(block), of, at))),
                    );
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.fetch_stored(&places, &mut packing)?;
        packing.blocks.sort_unstable_by_key(|(block, _)| *block);
        Ok(packing.blocks)
    }

    /// Reads the frames of these blocks. The caller holds the view that has them.
    pub(super) fn fetch_stored(&self, places: &[(BlockIndex, Location)], packing: &mut Packing) -> Result<()> {
        let locations: Vec<_> = places.iter().map(|(_, location)| *location).collect();
        for fetch in self.fetches_of(&locations)? {
            let buffer = fetched(&fetch)?;
            for want in &fetch.wants {
                let (block, location) = places[want.index];
                let fingerprint = self.fingerprint_at(location)?;
                packing.keep_wanted(block, fingerprint, &fetch, want, &buffer)?;
            }
        }
        Ok(())
    }
}

/// Brings blocks into the form in which they travel.
#[derive(Default)]
pub(super) struct Packing {
    blocks: Vec<(BlockIndex, StoredBlock)>,
    compressor: Compressor,
    decompressor: Decompressor,
    /// The group that was decoded last.
    group: Vec<u8>,
    of: Option<(SegmentId, FramePlace)>,
}

impl Packing {
    /// What was kept, in any order.
    pub(super) fn into_blocks(self) -> Vec<(BlockIndex, StoredBlock)> {
        self.blocks
    }

    /// Keeps a block that a memtable holds.
    fn keep(&mut self, block: BlockIndex, content: &Content) {
        match content {
            Content::Packed(packed) => {
                let Stored { encoding, bytes } = packed.stored();
                let stored = StoredBlock { fingerprint: packed.fingerprint(), encoding, bytes: bytes.to_vec() };
                self.blocks.push((block, stored));
            }
            Content::Data(bytes) if !is_zero(bytes) => {
                let content: &Block = bytes[..].try_into().expect("a memtable holds whole blocks");
                self.keep_content(block, Fingerprint::of(content), content);
            }
            Content::Data(_) | Content::Zero | Content::Hole => {}
        }
    }

    fn keep_content(&mut self, block: BlockIndex, fingerprint: Fingerprint, content: &Block) {
        let mut bytes = vec![0; LZ4_BLOCK_BYTES_MAX];
        let len = self.compressor.lz4_block(content, &mut bytes);
        bytes.truncate(len);
        let encoding = if len == BLOCK_BYTES { Encoding::Raw } else { Encoding::Lz4 };
        self.blocks.push((block, StoredBlock { fingerprint, encoding, bytes }));
    }

    /// Keeps a block of which `buffer` has the frame.
    fn keep_wanted(
        &mut self,
        block: BlockIndex,
        fingerprint: Fingerprint,
        fetch: &Fetch,
        want: &Want,
        buffer: &AlignedBuffer,
    ) -> Result<()> {
        let start = (u64::from(want.place.offset) - fetch.offset) as usize;
        let bytes = &buffer[start..start + want.place.len as usize];
        if want.place.blocks == 1 {
            let Stored { encoding, bytes } = fetch.segment.frame(&want.place, bytes)?.stored;
            self.blocks.push((block, StoredBlock { fingerprint, encoding, bytes: bytes.to_vec() }));
            return Ok(());
        }
        let of = Some((fetch.segment.id(), want.place));
        if self.of != of {
            self.of = None;
            self.group.resize(want.place.decoded_bytes(), 0);
            fetch.segment.decode(&want.place, bytes, &mut self.decompressor, &mut self.group)?;
            self.of = of;
        }
        let content = self.group.as_chunks().0[want.place.index_of(want.slot)];
        self.keep_content(block, fingerprint, &content);
        Ok(())
    }
}

impl Volume {
    /// The blocks with data among `count` from `first` on, in the form in which they are stored, in order. What is left out
    /// reads as zeros. At most [`STORED_BLOCKS_MAX`] at once.
    ///
    /// # Errors
    /// `Invalid` beyond the end or for too many; `Io` and `Corrupt` as [`Volume::read`], but that nothing is compared with its
    /// fingerprint.
    pub fn stored_blocks(&self, first: BlockIndex, count: u64) -> Result<Vec<(BlockIndex, StoredBlock)>> {
        let blocks = self.check_blocks(first, count)?;
        if count > STORED_BLOCKS_MAX as u64 {
            return Err(too_many());
        }
        if count == 0 { Ok(Vec::new()) } else { self.inner().stored_blocks(self.state(), blocks) }
    }

    /// Gives adjacent blocks from `first` on the content of blocks that another store has given, after each was decoded and
    /// compared with its fingerprint. What is packed already is not packed again. As durable as [`Volume::write`].
    ///
    /// # Errors
    /// [`Error::ForeignBlock`] (`Corrupt`) if one is not what it says: nothing was written then. Otherwise as
    /// [`Volume::write`].
    pub fn write_stored(&self, first: BlockIndex, blocks: &[StoredBlock]) -> Result<()> {
        self.check_blocks(first, blocks.len() as u64)?;
        if blocks.len() > STORED_BLOCKS_MAX {
            return Err(too_many());
        }
        let contents = verified(first, blocks)?;
        // The volume's end may cut the last block.
        let size = self.size_bytes();
        let end = size.min(first.byte_offset() + (blocks.len() * BLOCK_BYTES) as u64);
        let whole = (end.saturating_sub(first.byte_offset()) / BLOCK_BYTES as u64) as usize;
        let packable = if self.codec() == Codec::Lz4 { whole } else { 0 };
        for start in (0..packable).step_by(self.blocks_per_batch()) {
            let range = start..packable.min(start + self.blocks_per_batch());
            self.write_repacked(BlockIndex(first.0 + start as u64), &contents[range.clone()], &blocks[range])?;
        }
        let offset = BlockIndex(first.0 + packable as u64).byte_offset();
        let rest = contents[packable..].as_flattened();
        let len = end.saturating_sub(offset) as usize;
        if len == 0 { Ok(()) } else { self.write(&[Write { offset, data: &rest[..len] }]) }
    }

    fn write_repacked(&self, first: BlockIndex, contents: &[Block], blocks: &[StoredBlock]) -> Result<()> {
        self.refuse_if_unwritable()?;
        let stored: Vec<_> = blocks.iter().map(StoredBlock::stored).collect();
        let fingerprints: Vec<_> = blocks.iter().map(|block| block.fingerprint).collect();
        let inner = self.inner();
        let packed = inner.packers.repack(contents, &stored, &fingerprints, &inner.payloads);
        self.submitted(inner.submit_prepacked(self.state(), first, Arc::new(packed))?);
        Ok(())
    }

    /// Gives adjacent blocks from `first` on the content of blocks that are packed already. As durable as [`Volume::write`].
    ///
    /// # Errors
    /// As [`Volume::write`].
    pub fn write_packed(&self, first: BlockIndex, blocks: &PackedBlocks) -> Result<()> {
        self.refuse_if_unwritable()?;
        let offset = first.byte_offset();
        self.check_range(offset, blocks.content_bytes() as u64)?;
        if self.codec() != Codec::Lz4 {
            return self.write(&[Write { offset, data: &blocks.content() }]);
        }
        let inner = self.inner();
        for start in (0..blocks.len()).step_by(self.blocks_per_batch()) {
            let part = start..blocks.len().min(start + self.blocks_per_batch());
            let packed = blocks.packed(part, |len, parts| inner.payloads.gather(len, parts.into_iter()));
            let first = BlockIndex(first.0 + start as u64);
            self.submitted(inner.submit_prepacked(self.state(), first, Arc::new(packed))?);
        }
        Ok(())
    }

    fn blocks_per_batch(&self) -> usize {
        (self.inner().budget.batch_bytes / BLOCK_BYTES).max(1)
    }
}

pub(super) fn too_many() -> Error {
    Error::Invalid { what: "stored blocks", must: "at most 256 at once" }
}

/// The contents of blocks, each of which has the fingerprint that it says.
pub(super) fn verified(first: BlockIndex, blocks: &[StoredBlock]) -> Result<Vec<Block>> {
    let foreign = |index: usize, why| Error::ForeignBlock { block: BlockIndex(first.0 + index as u64), why };
    let mut contents = vec![[0; BLOCK_BYTES]; blocks.len()];
    let mut with = Decompressor::new();
    for (index, (block, content)) in blocks.iter().zip(&mut contents).enumerate() {
        if !StoredBlock::is_possible(block.encoding, block.bytes.len()) {
            return Err(foreign(index, "no block is stored in so many bytes"));
        }
        with.decode(block.stored(), content).map_err(|_| foreign(index, "it does not decode"))?;
    }
    let mut found = vec![Fingerprint([0; 32]); blocks.len()];
    fingerprint_blocks(&contents.iter().collect::<Vec<_>>(), &mut found);
    let other = found.iter().zip(blocks).position(|(found, block)| *found != block.fingerprint);
    other.map_or(Ok(contents), |index| Err(foreign(index, "its content has another fingerprint")))
}
