//! What a range of a volume holds and where, piece by piece: memory laid over the map, at the price of the entries there are.

use std::ops::{ControlFlow, Range};

use super::changes::in_memory;
use super::inner::Inner;
use super::states::{Piece, overlay};
use super::view::View;
use crate::error::Result;
use crate::id::{BlockIndex, Location, Slot};
use crate::layers::Lineage;
use crate::map::{Stretch, Target};
use crate::memtable::Content;

/// Blocks looked up by the caches at first. What lies behind them is scanned: then holes cost nothing.
const LOOKED_UP_BLOCKS: u64 = 16 << 10;

/// Stretches of a scan that are in memory at once.
const SCANNED_STRETCHES: usize = 4096;

/// Where the content of adjacent blocks is.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// Nowhere: they read as zeros.
    Zeros,
    /// In a segment: that of block `of` at `at`, those of the others in the slots around it.
    Stored { of: BlockIndex, at: Location },
    /// In a memtable, each block a piece of its own.
    Memory(Content),
}

impl Found {
    fn in_map(target: Option<Target>, of: BlockIndex) -> Self {
        match target {
            Some(Target::Data(at)) => Self::Stored { of, at },
            Some(Target::Zero | Target::Hole) | None => Self::Zeros,
        }
    }

    fn in_memory(content: Content) -> Self {
        match content {
            Content::Zero | Content::Hole => Self::Zeros,
            data => Self::Memory(data),
        }
    }
}

/// Where a block of a stored piece is, if `at` is the place of block `of` of the same piece.
pub(super) fn location_of(block: BlockIndex, of: BlockIndex, at: Location) -> Location {
    Location { slot: Slot(at.slot.0 + (block.0 - of.0) as u16), ..at }
}

type Visit<'v> = dyn FnMut(Piece<Found>) -> Result<ControlFlow<()>> + 'v;

impl Inner {
    /// Shows what a lineage sees of `blocks` in a view, in order and without gaps, until `visit` has seen enough.
    pub(super) fn walk(
        &self,
        view: &View,
        lineage: &Lineage,
        blocks: Range<BlockIndex>,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let near = BlockIndex(blocks.end.0.min(blocks.start.0 + LOOKED_UP_BLOCKS));
        let memory = memory(view, lineage, &(blocks.start..near));
        let resolved = view.version.lookup(lineage, blocks.start..near)?.into_iter();
        let mapped = resolved.map(|resolved| Piece {
            first: resolved.first,
            end: BlockIndex(resolved.first.0 + resolved.count),
            state: Found::in_map(resolved.target, resolved.first),
        });
        for piece in overlay(memory, mapped.collect()) {
            if visit(piece)?.is_break() {
                return Ok(());
            }
        }
        if near < blocks.end { self.walk_far(view, lineage, near..blocks.end, visit) } else { Ok(()) }
    }

    fn walk_far(&self, view: &View, lineage: &Lineage, blocks: Range<BlockIndex>, visit: &mut Visit<'_>) -> Result<()> {
        let memory = memory(view, lineage, &blocks);
        let mut scan = view.version.scan(lineage, blocks.start, Some(blocks.end)).fuse();
        let mut at = blocks.start;
        while at < blocks.end {
            let stretches = scan.by_ref().take(SCANNED_STRETCHES).collect::<Result<Vec<_>>>()?;
            let is_last = stretches.len() < SCANNED_STRETCHES;
            let to = if is_last { blocks.end } else { stretches.last().map_or(blocks.end, Stretch::end) };
            for piece in overlay(within(&memory, at, to), without_gaps(&stretches, at, to)) {
                if visit(piece)?.is_break() {
                    return Ok(());
                }
            }
            at = to;
        }
        Ok(())
    }
}

fn memory(view: &View, lineage: &Lineage, blocks: &Range<BlockIndex>) -> Vec<Piece<Found>> {
    let found = |Piece { first, end, state }| Piece { first, end, state: Found::in_memory(state) };
    in_memory(view, lineage, blocks).into_iter().map(found).collect()
}

/// The parts of the pieces inside `[from, to)`.
fn within(pieces: &[Piece<Found>], from: BlockIndex, to: BlockIndex) -> Vec<Piece<Found>> {
    let start = pieces.partition_point(|piece| piece.end <= from);
    let inside = pieces[start..].iter().take_while(|piece| piece.first < to);
    inside.map(|piece| Piece { first: piece.first.max(from), end: piece.end.min(to), ..piece.clone() }).collect()
}

/// The stretches as pieces that cover all of `[from, to)`.
fn without_gaps(stretches: &[Stretch], from: BlockIndex, to: BlockIndex) -> Vec<Piece<Found>> {
    let mut pieces = Vec::with_capacity(2 * stretches.len() + 1);
    let mut at = from;
    for stretch in stretches {
        if at < stretch.first {
            pieces.push(Piece { first: at, end: stretch.first, state: Found::Zeros });
        }
        let state = Found::in_map(Some(stretch.target), stretch.first);
        pieces.push(Piece { first: stretch.first, end: stretch.end(), state });
        at = stretch.end();
    }
    if at < to {
        pieces.push(Piece { first: at, end: to, state: Found::Zeros });
    }
    pieces
}
