//! The fingerprint map: what the blocks of a volume hold, by fingerprint, without reading what they hold.
//!
//! The segments have the fingerprints of what is in the map. What is still in memory is hashed, unless it was when it was
//! packed.

use std::ops::{ControlFlow, Range};

use bytes::Bytes;

use super::decode::Keep;
use super::inner::Inner;
use super::states::Piece;
use super::view::View;
use super::volume::VolumeState;
use super::walk::{Found, location_of};
use crate::error::{Error, Result};
use crate::fingerprint::{Fingerprint, fingerprint_blocks, is_zero};
use crate::id::{BLOCK_BYTES, BLOCK_SHIFT, BlockIndex, Location};
use crate::layers::Lineage;
use crate::memtable::Content;
use crate::request::BlockIdentity;
use crate::segment::{self, Readahead};

/// What a segment says of a slot that nothing was put into.
const UNUSED: Fingerprint = Fingerprint([0; 32]);

impl Inner {
    /// What a range of blocks holds that is not empty and within the volume, at most `entries_max` entries (at least 1) from
    /// its start.
    pub(super) fn fingerprints(
        &self,
        volume: &VolumeState,
        blocks: Range<BlockIndex>,
        entries_max: usize,
    ) -> Result<Vec<BlockIdentity>> {
        self.fingerprint_page(volume, blocks, entries_max).inspect_err(|error| self.suspect(error))
    }

    fn fingerprint_page(
        &self,
        volume: &VolumeState,
        blocks: Range<BlockIndex>,
        entries_max: usize,
    ) -> Result<Vec<BlockIdentity>> {
        let view = self.view();
        let lineage = volume.lineage()?;
        let mut page = Page { inner: self, entries_max, entries: Vec::new(), unhashed: Vec::new() };
        self.walk_to_end(volume, &view, &lineage, blocks, &mut |piece| page.push(piece))?;
        Ok(page.finish())
    }

    /// As [`Inner::walk`], but of a last block that the volume's end cuts only what is in the volume counts: whatever an
    /// earlier size left behind the end, zeros follow.
    pub(super) fn walk_to_end(
        &self,
        volume: &VolumeState,
        view: &View,
        lineage: &Lineage,
        blocks: Range<BlockIndex>,
        visit: &mut dyn FnMut(Piece<Found>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let size = volume.size_bytes();
        let whole = BlockIndex(size >> BLOCK_SHIFT);
        let cut_len = (size - whole.byte_offset()) as usize;
        if blocks.end.0 > whole.0 + u64::from(cut_len > 0) {
            // Somebody has made it smaller meanwhile.
            let (offset, end) = (blocks.start.byte_offset(), blocks.end.byte_offset());
            return Err(Error::BeyondEnd { offset, len: end - offset, size });
        }
        let mut is_over = false;
        if blocks.start < whole {
            self.walk(view, lineage, blocks.start..blocks.end.min(whole), &mut |piece| {
                let flow = visit(piece)?;
                is_over = flow.is_break();
                Ok(flow)
            })?;
        }
        if is_over || blocks.end <= whole {
            return Ok(());
        }
        let mut last = vec![0; BLOCK_BYTES];
        self.read_bytes(volume, whole.byte_offset(), cut_len, Keep::None)?.copy_to(&mut last[..cut_len]);
        let state = Found::Memory(Content::Data(Bytes::from(last)));
        visit(Piece { first: whole, end: whole.next(), state }).map(drop)
    }

    /// The fingerprint of a block that the map says is there.
    pub(super) fn fingerprint_at(&self, location: Location) -> Result<Fingerprint> {
        let fingerprint = self.segments.fingerprint_at(location, Readahead::Stream)?;
        if fingerprint == UNUSED {
            let why = "a slot without a fingerprint is referred to";
            return Err(Error::corrupt(segment::path(location.segment), 0, why));
        }
        Ok(fingerprint)
    }
}

/// The answer under construction.
struct Page<'a> {
    inner: &'a Inner,
    entries_max: usize,
    entries: Vec<BlockIdentity>,
    /// Blocks with the entries that wait for their fingerprints.
    unhashed: Vec<(usize, Bytes)>,
}

impl Page<'_> {
    fn push(&mut self, Piece { first, end, state }: Piece<Found>) -> Result<ControlFlow<()>> {
        match state {
            Found::Stored { of, at } => {
                for block in (first.0..end.0).map(BlockIndex) {
                    if self.is_full() {
                        return Ok(ControlFlow::Break(()));
                    }
                    let fingerprint = self.inner.fingerprint_at(location_of(block, of, at))?;
                    self.entries.push(BlockIdentity::Data(fingerprint));
                }
                Ok(ControlFlow::Continue(()))
            }
            Found::Memory(Content::Packed(block)) => Ok(self.push_data(block.fingerprint())),
            Found::Memory(Content::Data(bytes)) if !is_zero(&bytes) => {
                let flow = self.push_data(UNUSED);
                if flow.is_continue() {
                    self.unhashed.push((self.entries.len() - 1, bytes));
                }
                Ok(flow)
            }
            Found::Memory(_) | Found::Zeros => Ok(self.push_zeros(end.0 - first.0)),
        }
    }

    fn is_full(&self) -> bool {
        self.entries.len() == self.entries_max
    }

    fn push_data(&mut self, fingerprint: Fingerprint) -> ControlFlow<()> {
        if self.is_full() {
            return ControlFlow::Break(());
        }
        self.entries.push(BlockIdentity::Data(fingerprint));
        ControlFlow::Continue(())
    }

    fn push_zeros(&mut self, more: u64) -> ControlFlow<()> {
        let is_full = self.is_full();
        match self.entries.last_mut() {
            Some(BlockIdentity::Zeros(count)) => *count += more,
            _ if is_full => return ControlFlow::Break(()),
            _ => self.entries.push(BlockIdentity::Zeros(more)),
        }
        ControlFlow::Continue(())
    }

    fn finish(mut self) -> Vec<BlockIdentity> {
        let blocks: Vec<&[u8; BLOCK_BYTES]> = self
            .unhashed
            .iter()
            .map(|(_, bytes)| bytes[..].try_into().expect("a memtable holds whole blocks"))
            .collect();
        let mut found = vec![UNUSED; blocks.len()];
        fingerprint_blocks(&blocks, &mut found);
        for ((entry, _), fingerprint) in self.unhashed.iter().zip(found) {
            self.entries[*entry] = BlockIdentity::Data(fingerprint);
        }
        self.entries
    }
}
