//! Block status: which parts of a volume hold data, which are zeros, which are holes.
//!
//! What is in memory is laid over what the map says, piece by piece: the cost is that of the entries there are, however
//! many blocks are asked for.

use super::inner::Inner;
use super::view::View;
use super::volume::{VolumeState, block_of};
use crate::error::Result;
use crate::id::{BLOCK_BYTES, BlockIndex};
use crate::layers::Lineage;
use crate::map::Target;
use crate::memtable::Content;
use crate::request::{BlockState, StatusExtent};

/// Blocks looked at together at first; more and more as the answer stays short.
const WINDOW_BLOCKS_MIN: u64 = 1024;
/// And at most, which bounds the pieces that are in memory at once.
const WINDOW_BLOCKS_MAX: u64 = 1 << 20;

/// Adjacent blocks in one state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece<S = BlockState> {
    pub(super) first: BlockIndex,
    pub(super) end: BlockIndex,
    pub(super) state: S,
}

impl Inner {
    /// The states of a range that is not empty and within the volume, at most `extents_max` (at least 1).
    pub(super) fn block_status(
        &self,
        volume: &VolumeState,
        offset: u64,
        len: u64,
        extents_max: usize,
    ) -> Result<Vec<StatusExtent>> {
        let view = self.view();
        let end = BlockIndex(block_of(offset + len - 1).0 + 1);
        let lineage = volume.lineage()?;
        let mut memory = Memory::new(&view, &lineage, end);
        let (mut at, mut window) = (block_of(offset), WINDOW_BLOCKS_MIN);
        let mut extents: Vec<StatusExtent> = Vec::new();
        while at < end && extents.len() <= extents_max {
            let to = BlockIndex(end.0.min(at.0 + window));
            let mapped = mapped(&view, &lineage, at, to)?;
            for piece in overlay(memory.pieces(at, to), mapped) {
                let len = (piece.end.0 - piece.first.0) * BLOCK_BYTES as u64;
                match extents.last_mut() {
                    Some(last) if last.state == piece.state => last.len += len,
                    _ => extents.push(StatusExtent { len, state: piece.state }),
                }
            }
            (at, window) = (to, (window * 4).min(WINDOW_BLOCKS_MAX));
        }
        extents.truncate(extents_max);
        cut(&mut extents, offset % BLOCK_BYTES as u64, len);
        Ok(extents)
    }
}

/// Cuts extents of whole blocks to the bytes asked for.
fn cut(extents: &mut Vec<StatusExtent>, skip: u64, len: u64) {
    extents[0].len -= skip;
    let mut left = len;
    for extent in &mut *extents {
        extent.len = extent.len.min(left);
        left -= extent.len;
    }
    extents.retain(|extent| extent.len > 0);
}

/// What the map says of `[from, to)`: pieces that cover all of it.
fn mapped(view: &View, lineage: &Lineage, from: BlockIndex, to: BlockIndex) -> Result<Vec<Piece>> {
    let resolved = view.version.lookup(lineage, from..to)?;
    let pieces = resolved.into_iter().map(|resolved| Piece {
        first: resolved.first,
        end: BlockIndex(resolved.first.0 + resolved.count),
        state: match resolved.target {
            Some(Target::Data(_)) => BlockState::Data,
            Some(Target::Zero) => BlockState::Zero,
            Some(Target::Hole) | None => BlockState::Hole,
        },
    });
    Ok(pieces.collect())
}

/// What the memtables of a view say to those who read a lineage, up to a block.
struct Memory<'a> {
    view: &'a View,
    lineage: &'a Lineage,
    end: BlockIndex,
    entry_count: u64,
    /// What they say of the blocks below `until`, as far as it was asked for.
    pieces: Vec<Piece>,
    until: BlockIndex,
}

impl<'a> Memory<'a> {
    fn new(view: &'a View, lineage: &'a Lineage, end: BlockIndex) -> Self {
        let entry_count = view.memtables().map(|memtable| memtable.len() as u64).sum();
        Self { view, lineage, end, entry_count, pieces: Vec::new(), until: BlockIndex(0) }
    }

    /// The pieces that begin in or reach into `[from, to)`, cut to it.
    fn pieces(&mut self, from: BlockIndex, to: BlockIndex) -> Vec<Piece> {
        if self.entry_count == 0 {
            return Vec::new();
        }
        if self.until <= from {
            // Going through all entries once costs less than asking for that many blocks.
            self.until = if to.0 - from.0 >= self.entry_count { self.end } else { to };
            self.collect(from);
        }
        let start = self.pieces.partition_point(|piece| piece.end <= from);
        let pieces = self.pieces[start..].iter().take_while(|piece| piece.first < to);
        pieces.map(|piece| Piece { first: piece.first.max(from), end: piece.end.min(to), ..*piece }).collect()
    }

    fn collect(&mut self, from: BlockIndex) {
        self.pieces.clear();
        for memtable in self.view.memtables() {
            let older =
                memtable.collect(self.lineage, from, self.until).into_iter().map(|(first, end, content)| Piece {
                    first,
                    end,
                    state: match content {
                        Content::Data(_) | Content::Packed(_) => BlockState::Data,
                        Content::Zero => BlockState::Zero,
                        Content::Hole => BlockState::Hole,
                    },
                });
            self.pieces = overlay(std::mem::take(&mut self.pieces), older.collect());
        }
    }
}

/// Both, in order; where they overlap the newer ones.
pub(super) fn overlay<S: Clone>(newer: Vec<Piece<S>>, older: Vec<Piece<S>>) -> Vec<Piece<S>> {
    if newer.is_empty() {
        return older;
    }
    let mut both = Vec::with_capacity(newer.len() + older.len());
    let mut older = older.into_iter();
    let mut old = older.next();
    for piece in newer {
        while let Some(mut before) = old.take_if(|old| old.first < piece.first) {
            let end = before.end.min(piece.first);
            both.push(Piece { end, ..before.clone() });
            before.first = end;
            old = if end < before.end { Some(before) } else { older.next() };
        }
        let end = piece.end;
        both.push(piece);
        while let Some(mut hidden) = old.take_if(|old| old.first < end) {
            let is_longer = hidden.end > end;
            hidden.first = end;
            old = if is_longer { Some(hidden) } else { older.next() };
        }
    }
    both.extend(old);
    both.extend(older);
    both
}
