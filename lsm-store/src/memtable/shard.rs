//! Single blocks of a memtable: the newest version of each in place, older ones apart.

use rustc_hash::FxHashMap;

use super::Content;
use crate::id::{BlockIndex, FamilyId, LayerId, Sequence};
use crate::layers::Lineage;

/// A block of a family.
pub(super) type Place = (FamilyId, BlockIndex);

/// What one layer wrote to a block.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) layer: LayerId,
    /// Counted from the first of the generation.
    step: u32,
    /// Layers with smaller ids have versions too.
    has_older: bool,
    content: Content,
}

const _: () = assert!(size_of::<(Place, Entry)>() == 72, "the slot that ENTRY_BYTES counts");

impl Entry {
    pub(super) fn new(layer: LayerId, step: u32, content: Content) -> Self {
        Self { layer, step, has_older: false, content }
    }

    /// The content and its record, in a generation that begins with `first`.
    pub(super) fn said(&self, first: Sequence) -> (Content, Sequence) {
        (self.content.clone(), Sequence(first.0 + u64::from(self.step)))
    }
}

/// Blocks with their versions.
#[derive(Default)]
pub(super) struct Shard {
    newest: FxHashMap<Place, Entry>,
    /// The other versions of the blocks that have any, newest first.
    older: FxHashMap<Place, Vec<Entry>>,
}

impl Shard {
    /// Blocks.
    pub(super) fn len(&self) -> usize {
        self.newest.len()
    }

    /// Adds a version or replaces that of the same layer.
    pub(super) fn insert(&mut self, place: Place, entry: Entry) {
        use std::collections::hash_map::Entry as Slot;
        let newest = match self.newest.entry(place) {
            Slot::Vacant(slot) => {
                slot.insert(entry);
                return;
            }
            Slot::Occupied(slot) => slot.into_mut(),
        };
        let has_older = newest.has_older;
        if newest.layer == entry.layer {
            *newest = Entry { has_older, ..entry };
            return;
        }
        let older = self.older.entry(place).or_insert_with(|| Vec::with_capacity(1));
        if newest.layer < entry.layer {
            let before = std::mem::replace(newest, Entry { has_older: true, ..entry });
            older.insert(0, before);
            return;
        }
        newest.has_older = true;
        match older.binary_search_by(|other| entry.layer.cmp(&other.layer)) {
            Ok(at) => older[at] = entry,
            Err(at) => older.insert(at, entry),
        }
    }

    /// The newest version of a block in a lineage.
    pub(super) fn lookup(&self, place: Place, lineage: &Lineage) -> Option<&Entry> {
        let newest = self.newest.get(&place)?;
        if lineage.contains(newest.layer) {
            return Some(newest);
        }
        if !newest.has_older {
            return None;
        }
        self.older[&place].iter().find(|entry| lineage.contains(entry.layer))
    }

    /// All versions of all blocks, in any order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Place, &Entry)> {
        let newest = self.newest.iter().map(|(place, entry)| (*place, entry));
        newest.chain(self.older.iter().flat_map(|(place, older)| older.iter().map(|entry| (*place, entry))))
    }
}
