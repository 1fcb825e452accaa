//! Changed ranges: where two volumes or snapshots of one family hold different things.
//!
//! Of what is in memory the content is compared, of what is in the map the location; a block that only one of them has in
//! memory counts as changed. So what is left out is the same for certain, and what is named has been written since, but
//! for a block that got its old content back.

use std::ops::Range;

use super::inner::Inner;
use super::states::{Piece, overlay};
use super::view::View;
use super::volume::{VolumeState, block_of};
use crate::error::Result;
use crate::id::{BLOCK_BYTES, BlockIndex};
use crate::layers::Lineage;
use crate::memtable::Content;
use crate::request::ChangedExtent;

type Blocks = Range<BlockIndex>;

impl Inner {
    /// Where in a range that is not empty `a` and `b` differ, at most `extents_max` (at least 1) from its start. Costs what
    /// there is in memory, and in the map what the two do not share.
    pub(super) fn changes(
        &self,
        a: &VolumeState,
        b: &VolumeState,
        offset: u64,
        len: u64,
        extents_max: usize,
    ) -> Result<Vec<ChangedExtent>> {
        let view = self.view();
        let (a, b) = (a.lineage()?, b.lineage()?);
        let blocks = block_of(offset)..BlockIndex(block_of(offset + len - 1).0 + 1);
        let in_memory = compare(&in_memory(&view, &a, &blocks), &in_memory(&view, &b, &blocks));
        let mut extents = Extents { at: offset, end: offset + len, found: Vec::new() };
        let mut memory = in_memory.iter().peekable();
        for range in view.version.diff(&a, &b, blocks)? {
            let mut range = range?;
            // What is in memory hides what the map says.
            while let Some(piece) = memory.next_if(|piece| piece.first < range.end) {
                extents.push_changed(range.start..range.end.min(piece.first));
                if piece.state {
                    extents.push_changed(piece.first..piece.end);
                }
                range.start = range.start.max(piece.end);
            }
            extents.push_changed(range);
            if extents.found.len() > extents_max {
                break;
            }
        }
        if extents.found.len() <= extents_max {
            memory.filter(|piece| piece.state).for_each(|piece| extents.push_changed(piece.first..piece.end));
            extents.finish();
        }
        extents.found.truncate(extents_max);
        Ok(extents.found)
    }
}

/// What the memtables say to those who read a lineage.
pub(super) fn in_memory(view: &View, lineage: &Lineage, blocks: &Blocks) -> Vec<Piece<Content>> {
    let mut pieces = Vec::new();
    for memtable in view.memtables() {
        let older = memtable.collect(lineage, blocks.start, blocks.end).into_iter();
        let older = older.map(|(first, end, state)| Piece { first, end, state }).collect();
        pieces = overlay(pieces, older);
    }
    pieces
}

/// The blocks that either has in memory, in order: with `true` where they differ.
fn compare(a: &[Piece<Content>], b: &[Piece<Content>]) -> Vec<Piece<bool>> {
    let mut borders: Vec<_> = a.iter().chain(b).flat_map(|piece| [piece.first, piece.end]).collect();
    borders.sort_unstable();
    borders.dedup();
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut compared = Vec::new();
    for (first, end) in borders.iter().zip(borders.iter().skip(1)).map(|(first, end)| (*first, *end)) {
        while a.next_if(|piece| piece.end <= first).is_some() {}
        while b.next_if(|piece| piece.end <= first).is_some() {}
        let here = |piece: Option<&&Piece<Content>>| {
            piece.filter(|piece| piece.first <= first).map(|piece| piece.state.clone())
        };
        let (left, right) = (here(a.peek()), here(b.peek()));
        if left.is_some() || right.is_some() {
            compared.push(Piece { first, end, state: left != right });
        }
    }
    compared
}

/// The answer under construction.
struct Extents {
    /// Up to here all is said.
    at: u64,
    end: u64,
    found: Vec<ChangedExtent>,
}

impl Extents {
    fn push_changed(&mut self, blocks: Blocks) {
        let start = (blocks.start.0 * BLOCK_BYTES as u64).clamp(self.at, self.end);
        let end = (blocks.end.0 * BLOCK_BYTES as u64).clamp(self.at, self.end);
        if start < end {
            self.push(start - self.at, false);
            self.push(end - start, true);
            self.at = end;
        }
    }

    fn finish(&mut self) {
        self.push(self.end - self.at, false);
        self.at = self.end;
    }

    fn push(&mut self, len: u64, changed: bool) {
        match self.found.last_mut() {
            _ if len == 0 => {}
            Some(last) if last.changed == changed => last.len += len,
            _ => self.found.push(ChangedExtent { len, changed }),
        }
    }
}
