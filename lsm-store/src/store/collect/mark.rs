//! Which slots of some segments any root sees: the only proof that a block is dead.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::id::{SegmentId, Slot};
use crate::layers::Visibility;
use crate::map::version::Part;
use crate::map::{Stretch, Target, Version};
use crate::segment;

/// Stretches between two looks at whether to go on.
const STRETCHES_BETWEEN: usize = 4096;

/// Parts of the map for each thread that reads it: some take longer than others.
const PARTS_A_THREAD: usize = 8;

/// The slots of a segment that somebody sees.
#[derive(Default)]
pub(super) struct SlotSet {
    slots: u32,
    words: Vec<AtomicU64>,
}

impl SlotSet {
    fn new(slots: u32) -> Self {
        Self { slots, words: (0..slots.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// False if the slots reach beyond the segment's last.
    fn insert(&self, first: Slot, count: u64) -> bool {
        let end = u64::from(first.0) + count;
        if end > u64::from(self.slots) {
            return false;
        }
        let mut slot = u64::from(first.0);
        while slot < end {
            let (word, bit) = (&self.words[slot as usize / 64], slot % 64);
            let len = (64 - bit).min(end - slot);
            let bits = (u64::MAX >> (64 - len)) << bit;
            // Most of what is seen often has been seen already: looking is cheaper than writing.
            if word.load(Ordering::Relaxed) & bits != bits {
                word.fetch_or(bits, Ordering::Relaxed);
            }
            slot += len;
        }
        true
    }

    pub(super) fn contains(&self, slot: Slot) -> bool {
        let word = self.words.get(usize::from(slot.0) / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (slot.0 % 64) & 1 == 1)
    }

    pub(super) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum()
    }
}

/// The slots that somebody sees of the segments asked for: a bit a slot.
pub(super) struct Mark {
    live: FxHashMap<SegmentId, SlotSet>,
}

impl Mark {
    /// Marks what any root sees in `segments`, given with how many slots they have. `visibility` was taken after `version`,
    /// and `version` after the segments were known to be in the manifest. `threads` read the map; `go_on` is asked now and then.
    ///
    /// # Errors
    /// `Corrupt` and `Io` if the map cannot be read to its end: then nothing is known to be dead.
    pub(super) fn take(
        segments: impl IntoIterator<Item = (SegmentId, u32)>,
        version: &Version,
        visibility: &Visibility,
        threads: usize,
        go_on: impl Fn() -> Result<()> + Sync,
    ) -> Result<Self> {
        let live = segments.into_iter().map(|(id, slots)| (id, SlotSet::new(slots))).collect();
        let mark = Self { live };
        let parts = version.parts(if threads > 1 { threads * PARTS_A_THREAD } else { 1 });
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let work = || {
            while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = mark.add(*part, version, visibility, &go_on) {
                    failure.lock().get_or_insert(error);
                    next.store(parts.len(), Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads.min(parts.len()) {
                // Without the thread the others do its work.
                let _ = thread::Builder::new().name("silt-mark".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        failure.into_inner().map_or(Ok(mark), Err)
    }

    fn add(
        &self,
        part: Part,
        version: &Version,
        visibility: &Visibility,
        go_on: &impl Fn() -> Result<()>,
    ) -> Result<()> {
        let mut until_look = 0;
        version.pieces_visible_in(part, visibility).visit(|stretch| {
            if until_look == 0 {
                until_look = STRETCHES_BETWEEN;
                go_on()?;
            }
            until_look -= 1;
            self.insert(stretch)
        })
    }

    fn insert(&self, stretch: &Stretch) -> Result<()> {
        let Target::Data(first) = stretch.target else { return Ok(()) };
        let Some(set) = self.live.get(&first.segment) else { return Ok(()) };
        if set.insert(first.slot, stretch.count) {
            return Ok(());
        }
        Err(Error::corrupt(segment::path(first.segment), 0, "a slot beyond the last is referred to"))
    }

    /// The live slots of a segment; `None` if it was not asked for.
    pub(super) fn slots(&self, id: SegmentId) -> Option<&SlotSet> {
        self.live.get(&id)
    }
}
