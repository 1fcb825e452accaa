//! Whom damage touches: follows the map from damaged places to the volumes and snapshots that see them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::place::Place;
use crate::error::Result;
use crate::id::{BlockIndex, FamilyId, SegmentId, VolumeId};
use crate::layers::Lineage;
use crate::map::{Key, Stretch, Target, Version};
use crate::store::collect::is_unreadable;
use crate::store::inner::Inner;

/// Ranges kept of one place.
const RANGES_MAX: usize = 64;

/// Stretches between two looks at whether to go on.
const STRETCHES_BETWEEN: usize = 4096;

/// About what so many take on pages.
const STRETCH_BYTES: u64 = 16 << 10;

/// Blocks of a volume or snapshot that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TouchedRange {
    /// The volume or snapshot.
    pub volume: VolumeId,
    /// The first block.
    pub first: BlockIndex,
    /// How many.
    pub count: u64,
}

/// What a damaged place touches, as the map was when somebody looked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Touched {
    /// By volume, then by block. Empty if nobody sees what was there.
    pub ranges: Vec<TouchedRange>,
    /// False if there may be more: there are too many to keep, or the map could not be read to its end.
    pub complete: bool,
}

impl Touched {
    fn none() -> Self {
        Self { ranges: Vec::new(), complete: true }
    }

    fn add(&mut self, volume: VolumeId, first: BlockIndex, count: u64) {
        let is_full = self.ranges.len() == RANGES_MAX;
        let before = self.ranges.iter_mut().rev().find(|range| range.volume == volume);
        match before {
            Some(range) if range.first.0 + range.count == first.0 => range.count += count,
            _ if is_full => self.complete = false,
            _ => self.ranges.push(TouchedRange { volume, first, count }),
        }
    }
}

/// Somebody who reads layers of a family.
struct Reader {
    volume: VolumeId,
    lineage: Lineage,
    blocks: u64,
}

/// A trace of some places.
struct Tracer<'a> {
    version: &'a Version,
    readers: BTreeMap<FamilyId, Vec<Reader>>,
    /// Damaged slots by segment, with the number of the place.
    bad: BTreeMap<SegmentId, Vec<(Range<u32>, usize)>>,
    touched: Vec<Touched>,
}

impl Inner {
    /// Finds out whom `places` touch, in their order.
    ///
    /// # Errors
    /// Those of `go_on`. What cannot be read of the map makes the answer incomplete.
    pub(super) fn trace(&self, places: &[Place], go_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<Vec<Touched>> {
        // The layers come after the version: they know every layer in it.
        let version = Arc::clone(&self.view().version);
        let visibility = self.visibility();
        let mut tracer = Tracer::new(&version, self.scrub_readers(), places);
        for (number, place) in places.iter().enumerate() {
            if let Some(span) = place.span {
                tracer.touch_span(number, span);
            }
        }
        if tracer.bad.is_empty() {
            return Ok(tracer.finish());
        }
        for (number, stretch) in version.scan_visible(&visibility).enumerate() {
            if number % STRETCHES_BETWEEN == 0 {
                go_on(STRETCH_BYTES)?;
            }
            match stretch.and_then(|stretch| tracer.touch_slots(&stretch)) {
                Ok(()) => {}
                Err(error) if is_unreadable(&error) => {
                    self.suspect(&error);
                    tracer.give_up();
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(tracer.finish())
    }

    fn scrub_readers(&self) -> BTreeMap<FamilyId, Vec<Reader>> {
        let states: Vec<_> = self.volumes.read().values().cloned().collect();
        let layers = self.layers.lock();
        let mut readers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for state in states {
            // A volume that is just being removed reads nothing any more.
            let Some(lineage) = layers.lineage_of(state.layer()) else { continue };
            let blocks = state.size_bytes().div_ceil(crate::id::BLOCK_BYTES as u64);
            readers.entry(lineage.family()).or_default().push(Reader { volume: state.id(), lineage, blocks });
        }
        readers
    }
}

impl<'a> Tracer<'a> {
    fn new(version: &'a Version, readers: BTreeMap<FamilyId, Vec<Reader>>, places: &[Place]) -> Self {
        let mut bad: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (number, place) in places.iter().enumerate() {
            if let super::place::ScrubFile::Segment(id) = place.file
                && !place.slots.is_empty()
            {
                bad.entry(id).or_default().push((place.slots.clone(), number));
            }
        }
        Self { version, readers, bad, touched: places.iter().map(|_| Touched::none()).collect() }
    }

    /// Whoever reads layers of a family within the span may miss something there.
    fn touch_span(&mut self, number: usize, (first, last): (Key, Key)) {
        for (family, readers) in self.readers.range(first.family..=last.family) {
            let from = if *family == first.family { first.block.0 } else { 0 };
            for reader in readers {
                let to = if *family == last.family { last.block.0.saturating_add(1) } else { u64::MAX };
                let to = to.min(reader.blocks);
                if from < to {
                    self.touched[number].add(reader.volume, BlockIndex(from), to - from);
                }
            }
        }
    }

    fn touch_slots(&mut self, stretch: &Stretch) -> Result<()> {
        let Target::Data(location) = stretch.target else { return Ok(()) };
        let Some(bad) = self.bad.get(&location.segment) else { return Ok(()) };
        let start = u32::from(location.slot.0);
        let slots = start..start + stretch.count as u32;
        let hit = bad.iter().filter(|(bad, _)| bad.start < slots.end && slots.start < bad.end);
        for (bad, number) in hit {
            let (from, to) = (bad.start.max(slots.start) - start, bad.end.min(slots.end) - start);
            let blocks = BlockIndex(stretch.first.0 + u64::from(from))..BlockIndex(stretch.first.0 + u64::from(to));
            touch_readers(self.version, &self.readers, stretch, &blocks, &mut self.touched[*number])?;
        }
        Ok(())
    }

    fn give_up(&mut self) {
        self.touched.iter_mut().for_each(|touched| touched.complete = false);
    }

    fn finish(mut self) -> Vec<Touched> {
        for touched in &mut self.touched {
            touched.ranges.sort_by_key(|range| (range.volume, range.first));
        }
        self.touched
    }
}

/// Adds those who see `blocks` as the stretch has them: who has written over them does not.
fn touch_readers(
    version: &Version,
    readers: &BTreeMap<FamilyId, Vec<Reader>>,
    stretch: &Stretch,
    blocks: &Range<BlockIndex>,
    touched: &mut Touched,
) -> Result<()> {
    for reader in readers.get(&stretch.family).into_iter().flatten() {
        let end = BlockIndex(blocks.end.0.min(reader.blocks));
        if !reader.lineage.contains(stretch.layer) || blocks.start >= end {
            continue;
        }
        for part in version.lookup(&reader.lineage, blocks.start..end)? {
            if part.target == Some(stretch.target_of(part.first)) {
                touched.add(reader.volume, part.first, part.count);
            }
        }
    }
    Ok(())
}
