//! Which slots of some segments any root sees: the only proof that a block is dead.

use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::id::{Location, SegmentId, Slot};
use crate::layers::Visibility;
use crate::map::{Target, Version};
use crate::segment;

/// Stretches between two looks at whether to go on.
const STRETCHES_BETWEEN: usize = 4096;

/// The slots of a segment that somebody sees.
#[derive(Default)]
pub(super) struct SlotSet {
    slots: u32,
    words: Vec<u64>,
}

impl SlotSet {
    fn new(slots: u32) -> Self {
        Self { slots, words: vec![0; slots.div_ceil(64) as usize] }
    }

    /// False if the slots reach beyond the segment's last.
    fn insert(&mut self, first: Slot, count: u64) -> bool {
        let first = u64::from(first.0);
        if first + count > u64::from(self.slots) {
            return false;
        }
        (first..first + count).for_each(|slot| self.words[slot as usize / 64] |= 1 << (slot % 64));
        true
    }

    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.words.get(usize::from(slot.0) / 64).is_some_and(|word| word >> (slot.0 % 64) & 1 == 1)
    }

    pub(super) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }
}

/// The slots that somebody sees of the segments asked for: a bit a slot.
pub(super) struct Mark {
    live: FxHashMap<SegmentId, SlotSet>,
}

impl Mark {
    /// Marks what any root sees in `segments`, given with how many slots they have. `visibility` was taken after `version`,
    /// and `version` after the segments were known to be in the manifest. `go_on` is asked now and then.
    ///
    /// # Errors
    /// `Corrupt` and `Io` if the map cannot be read to its end: then nothing is known to be dead.
    pub(super) fn take(
        segments: impl IntoIterator<Item = (SegmentId, u32)>,
        version: &Version,
        visibility: &Visibility,
        go_on: impl Fn() -> Result<()>,
    ) -> Result<Self> {
        let live = segments.into_iter().map(|(id, slots)| (id, SlotSet::new(slots))).collect();
        let mut mark = Self { live };
        let mut until_look = 0;
        version.pieces_visible(visibility).visit(|stretch| {
            if until_look == 0 {
                until_look = STRETCHES_BETWEEN;
                go_on()?;
            }
            until_look -= 1;
            match stretch.target {
                Target::Data(first) => mark.insert(first, stretch.count),
                _ => Ok(()),
            }
        })?;
        Ok(mark)
    }

    fn insert(&mut self, first: Location, count: u64) -> Result<()> {
        let Some(set) = self.live.get_mut(&first.segment) else { return Ok(()) };
        if set.insert(first.slot, count) {
            return Ok(());
        }
        Err(Error::corrupt(segment::path(first.segment), 0, "a slot beyond the last is referred to"))
    }

    /// The live slots of a segment; `None` if it was not asked for.
    pub(super) fn slots(&self, id: SegmentId) -> Option<&SlotSet> {
        self.live.get(&id)
    }
}
