//! The first key of every page of a run, in memory.

use std::ops::Range;

use super::format::INDEX_ENTRY_BYTES;
use crate::id::{BlockIndex, LayerId};
use crate::map::Key;

/// First keys of a run's pages, entries before ranges.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RunIndex {
    firsts: Vec<Key>,
}

impl RunIndex {
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("half an index entry is 8 bytes"));
        let decode = |entry: &[u8]| {
            let (layer, block) = entry.split_at(8);
            Key { layer: LayerId(number(layer)), block: BlockIndex(number(block)) }
        };
        Self { firsts: bytes.chunks_exact(INDEX_ENTRY_BYTES).map(decode).collect() }
    }

    /// Memory the index takes, in bytes.
    pub(super) fn weight(&self) -> u64 {
        (self.firsts.len() * size_of::<Key>()) as u64 + 64
    }

    /// The first key of a page, by its number in the file.
    pub(super) fn first_of(&self, page: u32) -> Option<Key> {
        self.firsts.get(page as usize - 1).copied()
    }

    /// The last of `pages` (numbers in the file, not empty) that begins at or before `key`, or the first of them.
    pub(super) fn page_near(&self, pages: Range<u32>, key: Key) -> u32 {
        let firsts = &self.firsts[pages.start as usize - 1..pages.end as usize - 1];
        pages.start + (firsts.partition_point(|first| *first <= key) as u32).saturating_sub(1)
    }
}

/// An index entry as stored.
pub(super) fn encode(key: Key) -> [u8; INDEX_ENTRY_BYTES] {
    let mut bytes = [0; INDEX_ENTRY_BYTES];
    bytes[..8].copy_from_slice(&key.layer.0.to_le_bytes());
    bytes[8..].copy_from_slice(&key.block.0.to_le_bytes());
    bytes
}
