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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::id::RunId;
    use crate::map::testing::{data, files_on, readers, stretch};
    use crate::map::{Edit, RunFiles, RunWriter};
    use crate::test_device::TestDevice;

    const SLOTS: u32 = 3000;

    /// Twelve runs of 1,000 blocks in order, and over them a newer one that has every seventh block elsewhere.
    fn map(files: &Arc<RunFiles>) -> Version {
        let run = |id: u64, level, stretches: &mut dyn Iterator<Item = Stretch>| {
            let mut writer = RunWriter::create(files, RunId(id), level, false).unwrap();
            stretches.for_each(|stretch| writer.push_entry(stretch).unwrap());
            (level, writer.finish().unwrap())
        };
        let old = |block: u64| stretch(1, block, 1, data((block % 5) as u32, (block % 2400) as u16));
        let new = |block: u64| stretch(1, block, 1, data(7, (block / 7) as u16));
        let mut added: Vec<_> = (0..12).map(|id| run(id, 1, &mut (1000 * id..1000 * id + 1000).map(old))).collect();
        added.push(run(20, 0, &mut (0..12_000).step_by(7).map(new)));
        Version::default().apply(&Edit { removed: Vec::new(), added })
    }

    fn mark(version: &Version, slots: u32, threads: usize, go_on: impl Fn() -> Result<()> + Sync) -> Result<Mark> {
        let segments = [0, 2, 4, 7].map(|id| (SegmentId(id), slots));
        Mark::take(segments, version, &readers([1]), threads, go_on)
    }

    #[test]
    fn any_number_of_threads_marks_what_is_seen() {
        let version = map(&files_on(Arc::new(TestDevice::default())));
        assert!(version.parts(24).len() >= 12);
        let place = |block: u64| match block % 7 {
            0 => (7, (block / 7) as u16),
            _ => ((block % 5) as u32, (block % 2400) as u16),
        };
        let seen: BTreeSet<_> = (0..12_000).map(place).collect();
        for threads in [1, 3] {
            let mark = mark(&version, SLOTS, threads, || Ok(())).unwrap();
            for id in [0, 2, 4, 7] {
                let slots = mark.slots(SegmentId(id)).unwrap();
                let marked: Vec<_> = (0..SLOTS as u16).filter(|slot| slots.contains(Slot(*slot))).collect();
                let expected: Vec<_> = seen.range((id, 0)..(id + 1, 0)).map(|place| place.1).collect();
                assert_eq!(marked, expected, "{threads} threads, segment {id}");
                assert_eq!(slots.count() as usize, expected.len());
            }
            assert!(mark.slots(SegmentId(1)).is_none());
        }
    }

    #[test]
    fn what_one_thread_meets_ends_the_mark() {
        let version = map(&files_on(Arc::new(TestDevice::default())));
        for threads in [1, 3] {
            let beyond = mark(&version, 100, threads, || Ok(())).err().unwrap();
            assert!(matches!(beyond, Error::Corrupt { .. }), "{beyond}");
            let stopped = mark(&version, SLOTS, threads, || Err(Error::Closed)).err().unwrap();
            assert!(matches!(stopped, Error::Closed), "{stopped}");
        }
    }

    #[test]
    fn slots_are_marked_across_words() {
        let set = SlotSet::new(200);
        assert!(set.insert(Slot(60), 80) && set.insert(Slot(0), 1) && set.insert(Slot(199), 1));
        let marked: Vec<u16> = (0..300).filter(|slot| set.contains(Slot(*slot))).collect();
        assert_eq!(marked, [0].into_iter().chain(60..140).chain([199]).collect::<Vec<_>>());
        assert!(!set.insert(Slot(190), 11) && set.count() == 82);
    }
}
