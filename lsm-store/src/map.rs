//! The map: which block of which layer is where.
//!
//! Entries are *stretches* of adjacent blocks; immutable sorted *runs* hold them on disk, newest runs first.

use crate::id::{BlockIndex, LayerId, Location, SegmentId, Slot};

/// What the map knows of a block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Target {
    /// Its content is at this location.
    Data(Location),
    /// It was written with zeros, or zeroed with NO_HOLE: reads as zeros, reported as allocated.
    Zero,
    /// It was trimmed: reads as zeros, reported as a hole.
    Hole,
}

/// Adjacent blocks of one layer with one target; for data, the slot grows with the block and the segment stays the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// The layer that wrote them.
    pub layer: LayerId,
    /// The first block.
    pub first: BlockIndex,
    /// How many blocks, at least 1. For data at most 65,536: a segment has no more slots.
    pub count: u64,
    /// Where the first block is.
    pub target: Target,
}

impl Stretch {
    /// The first block behind the stretch.
    #[must_use]
    pub fn end(&self) -> BlockIndex {
        BlockIndex(self.first.0 + self.count)
    }

    /// Where `block`, which must lie in the stretch, is.
    ///
    /// # Panics
    /// If `block` lies outside.
    #[must_use]
    pub fn target_of(&self, block: BlockIndex) -> Target {
        assert!(block >= self.first && block < self.end(), "{block:?} lies in the stretch");
        match self.target {
            Target::Data(Location { segment: SegmentId(segment), slot: Slot(slot) }) => {
                let steps = (block.0 - self.first.0) as u16;
                Target::Data(Location { segment: SegmentId(segment), slot: Slot(slot + steps) })
            }
            other => other,
        }
    }

    /// The part of the stretch inside `[from, to)`, if any.
    #[must_use]
    pub fn clip(&self, from: BlockIndex, to: BlockIndex) -> Option<Self> {
        let first = self.first.max(from);
        let end = self.end().min(to);
        (first < end).then(|| Self { first, count: end.0 - first.0, target: self.target_of(first), ..*self })
    }
}
