//! Packed blocks that leave the process: from the node that takes a write to those that keep it too ("Operations" in
//! `docs/protocol.md`).

use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::{Block, LENGTH_BYTES, Packed, Packer, stored};
use crate::codec::Decompressor;
use crate::fingerprint::{FINGERPRINT_BYTES, Fingerprint, fingerprint_blocks, is_zero};
use crate::id::BLOCK_BYTES;
use crate::store::STORED_BYTES_MAX;

/// Blocks packed together at most.
pub const PACKED_BLOCKS_MAX: usize = 256;

/// Blocks compared with their fingerprints at a time.
const VERIFIED_TOGETHER: usize = 16;

/// The fingerprint in place of that of a block of zeros.
const NONE: Fingerprint = Fingerprint([0; FINGERPRINT_BYTES]);

/// Adjacent whole blocks, each with its fingerprint and in the form in which stores keep it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackedBlocks {
    /// The payload, then the fingerprints.
    bytes: Bytes,
    /// Where each block starts, and where the last one ends.
    starts: Arc<[u32]>,
}

impl PackedBlocks {
    /// `count` blocks out of bytes that may come from anywhere. `None` if they are not those of so many, at least 1 and at most
    /// [`PACKED_BLOCKS_MAX`], or a block is not what its fingerprint says.
    #[must_use]
    pub fn read(bytes: Bytes, count: usize) -> Option<Self> {
        Self::read_again(bytes, count).filter(Self::is_sound)
    }

    /// As [`Self::read`], of bytes that this process has packed, or has read before: only their form is looked at.
    #[must_use]
    pub fn read_again(bytes: Bytes, count: usize) -> Option<Self> {
        if !(1..=PACKED_BLOCKS_MAX).contains(&count) {
            return None;
        }
        let payload_bytes = bytes.len().checked_sub(count * FINGERPRINT_BYTES)?;
        let lengths = bytes[..payload_bytes].get(..count * LENGTH_BYTES)?;
        let mut starts = Vec::with_capacity(count + 1);
        let mut end = lengths.len();
        starts.push(end as u32);
        for length in lengths.as_chunks().0 {
            let len = usize::from(u16::from_le_bytes(*length));
            if len > STORED_BYTES_MAX && len != BLOCK_BYTES {
                return None;
            }
            end += len;
            starts.push(end as u32);
        }
        (end == payload_bytes).then(|| Self { bytes, starts: starts.into() })
    }

    /// True if each block is what its fingerprint says, and those of zeros, and no others, take no bytes.
    fn is_sound(&self) -> bool {
        let mut contents = vec![[0; BLOCK_BYTES]; VERIFIED_TOGETHER.min(self.len())];
        let (zeros, data): (Vec<usize>, Vec<usize>) = (0..self.len()).partition(|index| self.stored(*index).is_empty());
        let are_zeros = zeros.into_iter().all(|index| self.fingerprint(index) == NONE);
        are_zeros
            && data.chunks(VERIFIED_TOGETHER).all(|indexes| self.are_sound(indexes, &mut contents[..indexes.len()]))
    }

    /// See [`Self::is_sound`], of blocks that take bytes; `contents` is for as many.
    fn are_sound(&self, indexes: &[usize], contents: &mut [Block]) -> bool {
        let mut with = Decompressor::new();
        let mut decode = |(index, content): (&usize, &mut Block)| {
            with.decode(stored(self.stored(*index)), content).is_ok() && !is_zero(content)
        };
        if !indexes.iter().zip(&mut *contents).all(&mut decode) {
            return false;
        }
        let mut found = [NONE; VERIFIED_TOGETHER];
        fingerprint_blocks(&contents.iter().collect::<Vec<_>>(), &mut found[..indexes.len()]);
        indexes.iter().zip(found).all(|(index, found)| self.fingerprint(*index) == found)
    }

    /// How many blocks, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// True if it is all zeros.
    #[must_use]
    pub fn is_zero(&self, index: usize) -> bool {
        self.stored(index).is_empty()
    }

    /// The bytes that [`Self::read`] takes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Bytes of content.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        self.len() * BLOCK_BYTES
    }

    /// All of the content.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let mut content = vec![0; self.content_bytes()];
        self.copy_to(0, &mut content);
        content
    }

    /// Fills `out` with the content from byte `start` on.
    ///
    /// # Panics
    /// If there is not as much.
    pub fn copy_to(&self, start: usize, out: &mut [u8]) {
        let mut with = Decompressor::new();
        let mut block = [0; BLOCK_BYTES];
        let (mut at, mut rest) = (start, out);
        while !rest.is_empty() {
            let (index, within) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
            let len = rest.len().min(BLOCK_BYTES - within);
            let (part, behind) = rest.split_at_mut(len);
            match self.stored(index) {
                [] => part.fill(0),
                bytes => {
                    let target = if len == BLOCK_BYTES { &mut *part } else { &mut block[..] };
                    with.decode(stored(bytes), target).expect("what was read is sound, so it can be unpacked");
                    if len < BLOCK_BYTES {
                        part.copy_from_slice(&block[within..within + len]);
                    }
                }
            }
            (at, rest) = (at + len, behind);
        }
    }

    /// Some of the blocks, as the journal and memtables take them; `keep` puts the payload, which is given in parts, where it
    /// stays.
    pub(crate) fn packed<'a>(
        &'a self,
        blocks: Range<usize>,
        keep: impl FnOnce(usize, [&'a [u8]; 2]) -> Bytes,
    ) -> Packed {
        let lengths = &self.bytes[blocks.start * LENGTH_BYTES..blocks.end * LENGTH_BYTES];
        let (first, end) = (self.starts[blocks.start], self.starts[blocks.end]);
        let frames = &self.bytes[first as usize..end as usize];
        let starts = self.starts[blocks.start..=blocks.end].iter();
        Packed {
            payload: keep(lengths.len() + frames.len(), [lengths, frames]),
            starts: starts.map(|start| start - first + lengths.len() as u32).collect(),
            fingerprints: blocks.map(|index| self.fingerprint(index)).collect(),
        }
    }

    fn stored(&self, index: usize) -> &[u8] {
        &self.bytes[self.starts[index] as usize..self.starts[index + 1] as usize]
    }

    fn fingerprint(&self, index: usize) -> Fingerprint {
        let payload_bytes = self.starts[self.len()] as usize;
        let bytes = self.bytes[payload_bytes + index * FINGERPRINT_BYTES..].first_chunk();
        Fingerprint(*bytes.expect("each block has a fingerprint"))
    }
}

/// Packs blocks that leave the process, without allocating per call. One for each thread that packs.
#[derive(Default)]
pub struct BlockPacker {
    packer: Packer,
}

impl BlockPacker {
    /// Puts behind `out` the bytes that [`PackedBlocks::read`] takes, unless they are more than `most`: then nothing, and false.
    ///
    /// # Panics
    /// If `data` is not whole blocks, 1 to [`PACKED_BLOCKS_MAX`] of them.
    pub fn pack(&mut self, data: &[u8], most: usize, out: &mut impl BufMut) -> bool {
        let count = data.len() / BLOCK_BYTES;
        assert!((1..=PACKED_BLOCKS_MAX).contains(&count), "{count} blocks are not packed together");
        let mut fits = true;
        let packed = self.packer.pack(data, |payload| {
            fits = payload.len() + count * FINGERPRINT_BYTES <= most;
            if fits {
                out.put_slice(payload);
            }
            Bytes::new()
        });
        if fits {
            packed.fingerprints.iter().for_each(|fingerprint| out.put_slice(&fingerprint.0));
        }
        fits
    }
}

#[cfg(test)]
mod tests;
