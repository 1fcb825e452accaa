//! Zeroed ranges of a memtable, by layer; those of one layer do not overlap.

use std::collections::BTreeMap;

use super::Content;
use crate::id::{BlockIndex, FamilyId, LayerId, Sequence};
use crate::layers::Lineage;

/// A zeroed range: blocks up to `end`, all by one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) end: BlockIndex,
    pub(super) sequence: Sequence,
    pub(super) hole: bool,
}

impl Range {
    pub(super) fn to_content(self) -> Content {
        if self.hole { Content::Hole } else { Content::Zero }
    }
}

/// The ranges of one layer, by their first blocks.
pub(super) type LayerRanges = BTreeMap<BlockIndex, Range>;

/// The ranges of all layers.
#[derive(Clone, Default)]
pub(super) struct Ranges {
    layers: BTreeMap<(FamilyId, LayerId), LayerRanges>,
    len: usize,
}

impl Ranges {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a range in place of all that its layer had there.
    pub(super) fn insert(&mut self, of: (FamilyId, LayerId), first: BlockIndex, range: Range) {
        let ranges = self.layers.entry(of).or_default();
        let before = ranges.len();
        cut_out(ranges, first, range.end);
        ranges.insert(first, range);
        self.len = self.len - before + ranges.len();
    }

    /// The newest range of a lineage over a block.
    pub(super) fn lookup(&self, lineage: &Lineage, block: BlockIndex) -> Option<Range> {
        let family = lineage.family();
        // A layer is written to only after its ancestors, so the newest layer has the latest sequence.
        let layers = self.layers.range((family, LayerId(0))..=(family, lineage.newest())).rev();
        let mut seen = layers.filter(|((_, layer), _)| lineage.contains(*layer));
        seen.find_map(|(_, ranges)| covering(ranges, block))
    }

    /// Where ranges of a lineage begin and end within `[from, to)`, in any order.
    pub(super) fn borders(&self, lineage: &Lineage, from: BlockIndex, to: BlockIndex) -> Vec<BlockIndex> {
        let family = lineage.family();
        let layers = self.layers.range((family, LayerId(0))..=(family, lineage.newest()));
        let seen = layers.filter(|((_, layer), _)| lineage.contains(*layer));
        let borders = seen.flat_map(|(_, ranges)| ranges.iter().flat_map(|(first, range)| [*first, range.end]));
        borders.filter(|border| (from..to).contains(border)).collect()
    }

    /// The layers with their ranges, by family and layer.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&(FamilyId, LayerId), &LayerRanges)> {
        self.layers.iter()
    }

    /// The range of one layer over a block.
    pub(super) fn of(&self, layer: (FamilyId, LayerId), block: BlockIndex) -> Option<Range> {
        covering(self.layers.get(&layer)?, block)
    }
}

fn covering(ranges: &LayerRanges, block: BlockIndex) -> Option<Range> {
    let (_, range) = ranges.range(..=block).next_back()?;
    (block < range.end).then_some(*range)
}

/// Removes `[first, end)` from the ranges, splitting those that reach beyond it.
fn cut_out(ranges: &mut LayerRanges, first: BlockIndex, end: BlockIndex) {
    if let Some((_, range)) = ranges.range_mut(..first).next_back()
        && range.end > first
    {
        let whole = *range;
        range.end = first;
        if whole.end > end {
            ranges.insert(end, whole);
        }
    }
    let covered: Vec<_> = ranges.range(first..end).map(|(start, range)| (*start, *range)).collect();
    for (start, range) in covered {
        ranges.remove(&start);
        if range.end > end {
            ranges.insert(end, range);
        }
    }
}
