//! Where every page of a run begins, in memory.

use std::ops::Range;

use super::format::INDEX_ENTRY_BYTES;
use crate::id::{BlockIndex, FamilyId, LayerId};
use crate::map::{Key, Place};

/// Where the first stretches of a run's pages stand, entries before ranges.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RunIndex {
    firsts: Vec<Place>,
}

impl RunIndex {
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let decode = |entry: &[u8]| {
            let number = |at| u64::from_le_bytes(entry[at..at + 8].try_into().expect("8 bytes are a number"));
            let key = Key { family: FamilyId(number(0)), block: BlockIndex(number(8)) };
            Place::new(key, LayerId(number(16)))
        };
        Self { firsts: bytes.chunks_exact(INDEX_ENTRY_BYTES).map(decode).collect() }
    }

    /// Memory the index takes, in bytes.
    pub(super) fn weight(&self) -> u64 {
        (self.firsts.len() * size_of::<Place>()) as u64 + 64
    }

    /// Where a page begins, by its number in the file.
    pub(super) fn first_of(&self, page: u32) -> Option<Place> {
        self.firsts.get(page as usize - 1).copied()
    }

    /// The last of `pages` (numbers in the file, not empty) that begins at or before `place`, or the first of them.
    pub(super) fn page_near(&self, pages: Range<u32>, place: Place) -> u32 {
        let firsts = &self.firsts[pages.start as usize - 1..pages.end as usize - 1];
        pages.start + (firsts.partition_point(|first| *first <= place) as u32).saturating_sub(1)
    }

    /// The first of `pages` (numbers in the file, not empty) that may hold a version of the blocks around `key`.
    pub(super) fn page_before(&self, pages: Range<u32>, key: Key) -> u32 {
        // The page near `key` may begin with old versions of blocks that reach beyond it.
        let near = self.page_near(pages.clone(), Place::new(key, LayerId(0)));
        let first = self.first_of(near).map_or(key, |first| first.key);
        let firsts = &self.firsts[pages.start as usize - 1..pages.end as usize - 1];
        pages.start + (firsts.partition_point(|other| other.key < first) as u32).saturating_sub(1)
    }
}

/// An index entry as stored.
pub(super) fn encode(Place { key, layer }: Place) -> [u8; INDEX_ENTRY_BYTES] {
    let mut bytes = [0; INDEX_ENTRY_BYTES];
    bytes[..8].copy_from_slice(&key.family.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&key.block.0.to_le_bytes());
    bytes[16..].copy_from_slice(&layer.0.0.to_le_bytes());
    bytes
}
