//! Where two lineages of a family see different things, without reading what both have from a common ancestor.

use std::ops::Range;

use super::{Resolved, Version};
use crate::error::{Error, Result};
use crate::id::{BlockIndex, LayerId};
use crate::layers::Lineage;
use crate::map::sieve::{Choose, Piece, Sieve};
use crate::map::{Key, Run, Target};

/// Blocks compared at once at most.
const WINDOW_BLOCKS: u64 = 1024;

/// Blocks that may differ are compared together with those between if these are so few: that costs less than to look
/// for both alone.
const GAP_BLOCKS: u64 = 16;

/// The ranges of blocks in which two lineages see different targets, in order. A hole is the same as nothing. Ends after
/// the first error.
pub struct Diff<'a> {
    version: &'a Version,
    lineages: [&'a Lineage; 2],
    blocks: Range<BlockIndex>,
    candidates: Candidates,
    /// A candidate beyond the window at hand.
    ahead: Option<(BlockIndex, BlockIndex)>,
    /// What the window at hand holds, in reverse.
    found: Vec<Range<BlockIndex>>,
}

impl Version {
    /// Where in `blocks` `a` and `b`, lineages of one family and of roots since before the version was made, differ. Runs that have
    /// nothing from the layers that only one of them has are not read to find candidates.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the lineages are of different families.
    pub fn diff<'a>(&'a self, a: &'a Lineage, b: &'a Lineage, blocks: Range<BlockIndex>) -> Result<Diff<'a>> {
        let Some(common) = a.newest_common(b) else {
            return Err(Error::Invalid { what: "the two to compare", must: "of one family" });
        };
        let own = |lineage: &Lineage| {
            let behind = lineage.layers().partition_point(|layer| *layer <= common);
            lineage.layers()[behind..].to_vec()
        };
        let mut layers = own(a);
        layers.extend(own(b));
        layers.sort_unstable();
        let key = |block| Key { family: a.family(), block };
        let (first, last) = (key(blocks.start), key(blocks.end));
        let sources = self.sources(Some(first), |run| run.meta().overlaps(first, last) && holds_any(run, &layers));
        let candidates = Candidates { sieve: Sieve::of_layers(sources, layers), end: last };
        Ok(Diff { version: self, lineages: [a, b], blocks, candidates, ahead: None, found: Vec::new() })
    }
}

/// False if the run has nothing of the layers, which are in order.
fn holds_any(run: &Run, layers: &[LayerId]) -> bool {
    let meta = run.meta();
    let at = layers.partition_point(|layer| *layer < meta.layer_min);
    layers.get(at).is_some_and(|layer| *layer <= meta.layer_max)
}

/// Lets through one piece of whatever any of some layers has.
pub(in crate::map) struct OfLayers(pub(in crate::map) Vec<LayerId>);

impl Choose for OfLayers {
    #[inline]
    fn one(&mut self, piece: &mut Piece) -> bool {
        self.0.binary_search(&piece.stretch.layer).is_ok()
    }

    fn several(&mut self, pieces: &mut Vec<Piece>) {
        pieces.retain(|piece| self.0.binary_search(&piece.stretch.layer).is_ok());
        pieces.truncate(1);
    }
}

/// The blocks of which one lineage may see something that the other does not.
struct Candidates {
    sieve: Sieve<OfLayers>,
    end: Key,
}

impl Candidates {
    fn next(&mut self) -> Result<Option<(BlockIndex, BlockIndex)>> {
        let Some(piece) = self.sieve.next().transpose()? else { return Ok(None) };
        Ok((piece.stretch.key() < self.end).then(|| (piece.stretch.first, piece.stretch.end())))
    }
}

impl Diff<'_> {
    /// The next blocks to compare: candidates near to each other, or the beginning of a long one.
    fn window(&mut self) -> Result<Option<Range<BlockIndex>>> {
        let first = match self.ahead.take() {
            None => self.candidates.next()?,
            ahead => ahead,
        };
        let Some((start, mut end)) = first else { return Ok(None) };
        let start = start.max(self.blocks.start);
        let limit = BlockIndex(start.0 + WINDOW_BLOCKS);
        while end < limit {
            match self.candidates.next()? {
                Some((next, next_end)) if next.0 <= end.0 + GAP_BLOCKS && next < limit => end = next_end.max(end),
                ahead => {
                    self.ahead = ahead;
                    return Ok(Some(start..end));
                }
            }
        }
        self.ahead = (limit < end).then_some((limit, end));
        Ok(Some(start..limit.min(end)))
    }

    /// Compares the next windows until something differs; false at the end.
    fn compare(&mut self) -> Result<bool> {
        while self.found.is_empty() {
            let Some(window) = self.window()? else { return Ok(false) };
            let window = window.start..window.end.min(self.blocks.end);
            if window.is_empty() {
                continue;
            }
            let [a, b] = self.lineages;
            let a = self.version.lookup(a, window.clone())?;
            let b = self.version.lookup(b, window)?;
            differences(&a, &b, &mut self.found);
            self.found.reverse();
        }
        Ok(true)
    }
}

impl Iterator for Diff<'_> {
    type Item = Result<Range<BlockIndex>>;

    fn next(&mut self) -> Option<Self::Item> {
        let compared = self.compare();
        if compared.is_err() {
            self.candidates.sieve = Sieve::of_layers(Vec::new(), Vec::new());
            self.ahead = None;
        }
        compared.map(|_| self.found.pop()).transpose()
    }
}

/// The ranges in which two answers about the same blocks differ, joined.
fn differences(a: &[Resolved], b: &[Resolved], out: &mut Vec<Range<BlockIndex>>) {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(left), Some(right)) = (a.peek(), b.peek()) {
        let start = left.first.max(right.first);
        let end = left.end().min(right.end());
        if left.seen_at(start) != right.seen_at(start) {
            match out.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => out.push(start..end),
            }
        }
        a.next_if(|left| left.end() == end);
        b.next_if(|right| right.end() == end);
    }
}

impl Resolved {
    fn end(&self) -> BlockIndex {
        BlockIndex(self.first.0 + self.count)
    }

    /// What a reader sees at a block of it.
    fn seen_at(&self, block: BlockIndex) -> Target {
        let target = self.target.unwrap_or(Target::Hole);
        target.advanced(block.0 - self.first.0)
    }
}
