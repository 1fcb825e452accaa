//! Roots of what a node has, and of bytes from anywhere.

use std::sync::Arc;

use lsm_store::fingerprint::{Fingerprint, fingerprint_blocks, is_zero};
use lsm_store::id::{BLOCK_BYTES, VolumeId};
use lsm_store::store::Volume;

use super::error::Result;
use super::{Watch, watched};
use crate::name::ExportName;
use crate::node::Node;
use crate::root::{PLAIN_DOMAIN, Root, RootBuilder};

/// Entries of the fingerprint map asked for at once.
pub(super) const ENTRIES_MAX: usize = 8192;

/// Blocks hashed at once.
const HASHED_BLOCKS: usize = 16;

/// The root of a volume or snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rooted {
    /// The volume's or snapshot's id.
    pub id: VolumeId,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its root.
    pub root: Root,
    /// Blocks that are not zeros.
    pub data_blocks: u64,
}

impl Node {
    /// The root of a snapshot, or of what a volume holds at one moment. Reads no data; costs what is mapped.
    ///
    /// # Errors
    /// [`crate::node::NodeError::NoSuchVolume`], [`crate::node::NodeError::NoSuchSnapshot`]; `Corrupt` if map or fingerprints
    /// cannot be read.
    pub fn root(self: &Arc<Self>, name: &ExportName, watch: &mut Watch<'_>) -> Result<Rooted> {
        let export = self.export(name)?;
        let id = export.volume().id();
        if export.volume().is_read_only() {
            return root_of(export.volume(), watch).map(|rooted| Rooted { id, ..rooted });
        }
        // Writers go on; the clone stands still, and nobody hears of it.
        let clone = self.hidden_clone(name, "verify")?;
        root_of(clone.volume(), watch).map(|rooted| Rooted { id, ..rooted })
    }
}

/// The root of a volume that nobody writes to.
pub(crate) fn root_of(volume: &Volume, watch: &mut Watch<'_>) -> Result<Rooted> {
    let size_bytes = volume.size_bytes();
    let mut builder = RootBuilder::new(PLAIN_DOMAIN, size_bytes);
    while !builder.is_complete() {
        builder.push_next_of(volume)?;
        watched(watch((builder.position() * BLOCK_BYTES as u64).min(size_bytes), size_bytes))?;
    }
    let data_blocks = builder.data_blocks();
    Ok(Rooted { id: volume.id(), size_bytes, root: builder.finish(), data_blocks })
}

/// The root of an image whose pieces come in order; what no piece covers is zeros.
#[derive(Debug)]
pub struct BytesRoot {
    builder: RootBuilder,
    /// Where the last piece ended.
    end: u64,
    size_bytes: u64,
    /// The beginning of a block whose end has not come.
    partial: Vec<u8>,
}

impl BytesRoot {
    /// Begins the root of an image. `size_bytes` is 1 to 1 PiB.
    ///
    /// # Panics
    /// For another size.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Self { builder: RootBuilder::new(PLAIN_DOMAIN, size_bytes), end: 0, size_bytes, partial: Vec::new() }
    }

    /// Takes the piece at `offset`, at or behind the end of the one before.
    ///
    /// # Panics
    /// If the piece lies before that or beyond the size.
    pub fn push(&mut self, offset: u64, mut data: &[u8]) {
        assert!(offset >= self.end, "pieces come in order");
        self.skip_to(offset);
        self.end = offset + data.len() as u64;
        if !self.partial.is_empty() {
            let (head, rest) = data.split_at(data.len().min(BLOCK_BYTES - self.partial.len()));
            self.partial.extend_from_slice(head);
            data = rest;
            self.finish_full_partial();
        }
        let (blocks, tail) = data.as_chunks::<BLOCK_BYTES>();
        blocks.chunks(HASHED_BLOCKS).for_each(|blocks| push_blocks(&mut self.builder, blocks));
        if !tail.is_empty() {
            self.partial = tail.to_vec();
        }
    }

    /// Up to `offset` all that has not come is zeros.
    fn skip_to(&mut self, offset: u64) {
        let gap = offset - self.end;
        let to_border = (self.end.next_multiple_of(BLOCK_BYTES as u64) - self.end).min(gap);
        if to_border > 0 {
            self.partial.resize(self.partial.len() + to_border as usize, 0);
            self.finish_full_partial();
        }
        let rest = gap - to_border;
        self.builder.push_zeros(rest / BLOCK_BYTES as u64);
        self.partial.resize(self.partial.len() + (rest % BLOCK_BYTES as u64) as usize, 0);
        self.end = offset;
    }

    fn finish_full_partial(&mut self) {
        if let [block] = self.partial.as_chunks().0 {
            push_blocks(&mut self.builder, &[*block]);
            self.partial.clear();
        }
    }

    /// The root, and how many blocks are not zeros.
    #[must_use]
    pub fn finish(mut self) -> (Root, u64) {
        self.skip_to(self.size_bytes);
        if !self.partial.is_empty() {
            self.partial.resize(BLOCK_BYTES, 0);
            self.finish_full_partial();
        }
        let data_blocks = self.builder.data_blocks();
        (self.builder.finish(), data_blocks)
    }
}

fn push_blocks(builder: &mut RootBuilder, blocks: &[[u8; BLOCK_BYTES]]) {
    let mut fingerprints = [Fingerprint([0; 32]); HASHED_BLOCKS];
    let fingerprints = &mut fingerprints[..blocks.len()];
    fingerprint_blocks(&blocks.iter().collect::<Vec<_>>(), fingerprints);
    for (block, fingerprint) in blocks.iter().zip(fingerprints) {
        match is_zero(block) {
            true => builder.push_zeros(1),
            false => builder.push(fingerprint),
        }
    }
}
