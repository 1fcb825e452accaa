//! Blocks in the form in which segments keep them, fingerprinted and compressed where a large write arrives: the
//! journal gets fewer bytes, and the flush job has less to do ("Packed payload" in `docs/disk-format.md`).

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::{Compressor, Decompressor, Encoding, LZ4_BLOCK_BYTES_MAX, Stored};
use crate::fingerprint::{Fingerprint, fingerprint_blocks, is_zero};
use crate::id::BLOCK_BYTES;

mod blocks;

pub use blocks::{BlockPacker, PACKED_BLOCKS_MAX, PackedBlocks};

/// Bytes of the length in front of each block.
const LENGTH_BYTES: usize = 2;

/// Memory of a packed block besides its bytes.
pub(crate) const BLOCK_OVERHEAD_BYTES: usize = size_of::<Fingerprint>() + size_of::<u32>();

/// The longest payload of so many blocks.
pub(crate) fn bytes_max(count: usize) -> usize {
    count * (LENGTH_BYTES + BLOCK_BYTES)
}

type Block = [u8; BLOCK_BYTES];

/// Adjacent blocks, packed.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Packed {
    payload: Bytes,
    /// Where each block starts in the payload, and where the last one ends.
    starts: Box<[u32]>,
    fingerprints: Box<[Fingerprint]>,
}

impl Packed {
    /// How many blocks.
    pub(crate) fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// What the journal gets.
    pub(crate) fn payload(&self) -> &Bytes {
        &self.payload
    }

    fn stored(&self, index: usize) -> Stored<'_> {
        let bytes = &self.payload[self.starts[index] as usize..self.starts[index + 1] as usize];
        stored(bytes)
    }

    /// True if the block is all zeros, which takes no bytes.
    pub(crate) fn is_zero(&self, index: usize) -> bool {
        self.starts[index] == self.starts[index + 1]
    }
}

/// How a block of these bytes is encoded.
fn stored(bytes: &[u8]) -> Stored<'_> {
    let encoding = if bytes.len() == BLOCK_BYTES { Encoding::Raw } else { Encoding::Lz4 };
    Stored { encoding, bytes }
}

/// One of the blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PackedBlock {
    of: Arc<Packed>,
    index: u32,
}

impl PackedBlock {
    /// Block `index` of `of`, which is not all zeros.
    pub(crate) fn new(of: &Arc<Packed>, index: usize) -> Self {
        Self { of: Arc::clone(of), index: index as u32 }
    }

    /// The block as a segment stores it.
    pub(crate) fn stored(&self) -> Stored<'_> {
        self.of.stored(self.index as usize)
    }

    /// Its fingerprint.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.of.fingerprints[self.index as usize]
    }

    /// Its content.
    pub(crate) fn unpack(&self) -> Bytes {
        let mut block = vec![0; BLOCK_BYTES];
        let decoded = Decompressor::new().decode(self.stored(), &mut block);
        decoded.expect("what this process has packed it can unpack");
        Bytes::from(block)
    }
}

/// Packs blocks without allocating per call, but for the result. One for each thread that packs.
#[derive(Default)]
pub(crate) struct Packer {
    compressor: Compressor,
    /// Room for the longest payload so far.
    buffer: Vec<u8>,
}

impl Packer {
    /// Packs whole blocks; `keep` puts the payload where it stays.
    pub(crate) fn pack(&mut self, data: &[u8], keep: impl FnOnce(&[u8]) -> Bytes) -> Packed {
        let (blocks, rest) = data.as_chunks::<BLOCK_BYTES>();
        assert!(rest.is_empty(), "whole blocks are packed");
        let (starts, end) = self.lay_out(blocks, |compressor, index, out| compressor.lz4_block(&blocks[index], out));
        let is_stored = |(index, _): &(usize, &Block)| starts[*index] < starts[*index + 1];
        let stored: Vec<(usize, &Block)> = blocks.iter().enumerate().filter(is_stored).collect();
        let fingerprints = fingerprints_of(&stored, blocks.len());
        Packed { payload: keep(&self.buffer[..end]), starts: starts.into(), fingerprints }
    }

    /// Packs blocks that were stored elsewhere, without compressing again what can stay as it is; `blocks` are their
    /// contents, and known to have these fingerprints.
    pub(crate) fn repack(
        &mut self,
        blocks: &[Block],
        stored: &[Stored<'_>],
        fingerprints: &[Fingerprint],
        keep: impl FnOnce(&[u8]) -> Bytes,
    ) -> Packed {
        let (starts, end) = self.lay_out(blocks, |compressor, index, out| match stored[index] {
            Stored { encoding: Encoding::Zstd, .. } => compressor.lz4_block(&blocks[index], out),
            Stored { bytes, .. } => {
                out[..bytes.len()].copy_from_slice(bytes);
                bytes.len()
            }
        });
        Packed { payload: keep(&self.buffer[..end]), starts: starts.into(), fingerprints: fingerprints.into() }
    }

    /// Puts into the buffer the payload for blocks, of which `put` gives those that are not zeros; where each starts, and
    /// where the payload ends.
    fn lay_out(
        &mut self,
        blocks: &[Block],
        mut put: impl FnMut(&mut Compressor, usize, &mut [u8]) -> usize,
    ) -> (Vec<u32>, usize) {
        let room = bytes_max(blocks.len()) + LZ4_BLOCK_BYTES_MAX;
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let mut starts = Vec::with_capacity(blocks.len() + 1);
        let mut end = blocks.len() * LENGTH_BYTES;
        for (index, block) in blocks.iter().enumerate() {
            starts.push(end as u32);
            let len = if is_zero(block) { 0 } else { put(&mut self.compressor, index, &mut self.buffer[end..]) };
            self.buffer[index * LENGTH_BYTES..][..LENGTH_BYTES].copy_from_slice(&(len as u16).to_le_bytes());
            end += len;
        }
        starts.push(end as u32);
        (starts, end)
    }
}

/// The fingerprints of the blocks that are stored, each in its place.
fn fingerprints_of(stored: &[(usize, &Block)], count: usize) -> Box<[Fingerprint]> {
    let contents: Vec<&Block> = stored.iter().map(|(_, block)| *block).collect();
    let mut found = vec![Fingerprint([0; 32]); contents.len()];
    fingerprint_blocks(&contents, &mut found);
    if found.len() == count {
        return found.into();
    }
    let mut fingerprints = vec![Fingerprint([0; 32]); count];
    stored.iter().zip(found).for_each(|((index, _), fingerprint)| fingerprints[*index] = fingerprint);
    fingerprints.into()
}

/// The content of `count` blocks from a payload that may come from anywhere; `None` if it does not hold them.
pub(crate) fn unpack(payload: &[u8], count: usize) -> Option<Vec<u8>> {
    let (lengths, mut rest) = payload.split_at_checked(count.checked_mul(LENGTH_BYTES)?)?;
    let mut content = vec![0; count.checked_mul(BLOCK_BYTES)?];
    let mut with = Decompressor::new();
    for (length, block) in lengths.as_chunks::<LENGTH_BYTES>().0.iter().zip(content.as_chunks_mut::<BLOCK_BYTES>().0) {
        let (bytes, behind) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        if !bytes.is_empty() {
            with.decode(stored(bytes), block).ok()?;
        }
        rest = behind;
    }
    rest.is_empty().then_some(content)
}

#[cfg(test)]
mod tests;
