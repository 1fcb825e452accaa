//! The map: where each block is, in every version that somebody reads.
//!
//! Entries are *stretches* of adjacent blocks; immutable sorted *runs* hold them on disk, newest runs first.
//! A [`Version`] says which runs there are and in what order; it is a value, replaced as a whole by applying an
//! [`Edit`]. Lookups and scans work on a version and never wait for a flush or a compaction.

mod bits;
pub mod cache;
pub mod compaction;
mod filter;
mod join;
mod merge;
mod page;
pub mod rewrite;
pub mod run;
mod sieve;
#[cfg(test)]
pub(crate) mod testing;
pub mod version;

use std::cmp::Reverse;

pub use cache::{PageCache, PageKey};
pub use compaction::{CompactionPlan, MergeContext, Policy, debt, execute, plan, plan_level0};
pub use join::Joiner;
pub use run::{Damage, Run, RunFiles, RunLimits, RunMeta, RunWriter};
pub use version::{Diff, Edit, Graveyard, Resolved, Version};

use crate::id::{BlockIndex, FamilyId, LayerId, Location, Slot};

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

impl Target {
    /// The target of the block that lies `steps` behind one with this target, in the same stretch.
    fn advanced(self, steps: u64) -> Self {
        match self {
            Self::Data(Location { segment, slot: Slot(slot) }) => {
                Self::Data(Location { segment, slot: Slot(slot + steps as u16) })
            }
            other => other,
        }
    }
}

/// The address of a block in the map, in all its versions; the order of runs and of everything in them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct Key {
    /// The family of the layers that wrote the block.
    pub family: FamilyId,
    /// The block.
    pub block: BlockIndex,
}

/// Where a stretch stands in the order of a run: by its first block, of several versions the newest layer first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    key: Key,
    layer: Reverse<LayerId>,
}

impl Place {
    fn new(key: Key, layer: LayerId) -> Self {
        Self { key, layer: Reverse(layer) }
    }
}

/// Adjacent blocks of one layer with one target; for data, the slot grows with the block and the segment stays the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// The family of the layer.
    pub family: FamilyId,
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
    /// Address of the first block.
    #[must_use]
    pub fn key(&self) -> Key {
        Key { family: self.family, block: self.first }
    }

    /// Address of the last block.
    #[must_use]
    pub fn last_key(&self) -> Key {
        Key { family: self.family, block: BlockIndex(self.first.0 + self.count - 1) }
    }

    /// True if the two share a block of a family.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family == other.family && self.first < other.end() && other.first < self.end()
    }

    /// True if both are versions of the same blocks.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        self.first == other.first && self.family == other.family && self.count == other.count
    }

    /// True if `next` may follow in a section of a run: behind it, or an older version of the same blocks.
    #[must_use]
    pub fn precedes(&self, next: &Self) -> bool {
        self.last_key() < next.key() || self.is_beside(next) && next.layer < self.layer
    }

    fn place(&self) -> Place {
        Place::new(self.key(), self.layer)
    }

    /// The stretch that covers both, if `next` goes on where `self` ends, in blocks and in slots.
    #[must_use]
    pub fn join(&self, next: &Self) -> Option<Self> {
        let adjacent = self.end() == next.first && self.layer == next.layer && self.family == next.family;
        let continued = match (self.target, next.target) {
            (Target::Data(a), Target::Data(b)) => {
                a.segment == b.segment && u64::from(a.slot.0) + self.count == u64::from(b.slot.0)
            }
            (a, b) => a == b,
        };
        (adjacent && continued).then(|| Self { count: self.count + next.count, ..*self })
    }

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
        self.target.advanced(block.0 - self.first.0)
    }

    /// The part of the stretch inside `[from, to)`, if any.
    #[must_use]
    #[inline]
    pub fn clip(&self, from: BlockIndex, to: BlockIndex) -> Option<Self> {
        if from <= self.first && self.end() <= to {
            return Some(*self);
        }
        let first = self.first.max(from);
        let end = self.end().min(to);
        (first < end).then(|| Self { first, count: end.0 - first.0, target: self.target_of(first), ..*self })
    }
}
