//! Verification of what one volume or snapshot sees, in the order of its blocks.

use std::ops::Range;
use std::sync::Arc;

use super::place::PlaceKind;
use crate::checksum::PAGE_BYTES;
use crate::codec::Decompressor;
use crate::device::AlignedBuffer;
use crate::error::{Error, Result};
use crate::fingerprint::{Fingerprint, fingerprint_blocks};
use crate::id::{BLOCK_BYTES, BlockIndex, FamilyId, SegmentId, Slot, VolumeId};
use crate::map::{Run, Stretch, Target, Version, run};
use crate::page_cache::PageCache;
use crate::segment::{FramePlace, Readahead, SLOTS_MAX, Segment, Segments};
use crate::store::collect::is_unreadable;
use crate::store::inner::Inner;

/// Blocks verified by one version of the map: nothing that collection gives up is held for longer.
const PORTION_BLOCKS: u64 = 16 << 10;

/// Bytes of frames read at once at most.
const WINDOW_BYTES: usize = 1 << 20;

/// Directory pages kept while a volume is verified.
const PAGES_BYTES: usize = 1 << 20;

/// Segment files kept open meanwhile.
const OPEN_FILES: usize = 16;

/// Damaged ranges that a report lists.
const RANGES_MAX: usize = 1024;

/// More adjacent slots than this are a stream.
const STREAM_BLOCKS_MIN: usize = 64;

/// How much is passed over where nobody knows how far damage of the map reaches.
const SKIP_BLOCKS: u64 = 1024;

/// Blocks of a volume that are not as they were written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DamagedRange {
    /// The first block.
    pub first: BlockIndex,
    /// How many.
    pub count: u64,
    /// What does not hold.
    pub what: &'static str,
    /// The file that is damaged, relative to the data directory.
    pub file: String,
}

/// What the verification of a volume found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VolumeScrub {
    /// Blocks that match their fingerprints.
    pub blocks_good: u64,
    /// Blocks that do not, or cannot be read.
    pub blocks_damaged: u64,
    /// Where these are, in order: the first 1024 ranges.
    pub ranges: Vec<DamagedRange>,
}

impl VolumeScrub {
    fn damaged(&mut self, blocks: Range<u64>, kind: PlaceKind, file: &str) {
        let count = blocks.end - blocks.start;
        self.blocks_damaged += count;
        let what = kind.text();
        let is_full = self.ranges.len() == RANGES_MAX;
        match self.ranges.last_mut() {
            Some(last) if last.first.0 + last.count == blocks.start && last.what == what && last.file == file => {
                last.count += count;
            }
            _ if is_full => {}
            _ => self.ranges.push(DamagedRange { first: BlockIndex(blocks.start), count, what, file: file.to_owned() }),
        }
    }
}

impl Inner {
    /// Verifies what a volume or snapshot sees. `progress` hears (bytes of the address space passed, in all).
    pub(in crate::store) fn scrub_volume(
        &self,
        id: VolumeId,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<VolumeScrub> {
        let mut report = VolumeScrub::default();
        let pages = Arc::new(PageCache::new(PAGES_BYTES));
        let mut from = BlockIndex(0);
        loop {
            let state = self.volume_state(id)?;
            let end = BlockIndex(state.size_bytes().div_ceil(BLOCK_BYTES as u64));
            progress(from.0.min(end.0) << crate::id::BLOCK_SHIFT, end.byte_offset())?;
            if from >= end {
                return Ok(report);
            }
            // New for each portion: files that are kept open are not deleted.
            let segments = Segments::new(Arc::clone(&self.device), self.store, Arc::clone(&pages), OPEN_FILES);
            let version = Arc::clone(&self.view().version);
            let lineage = self.layers.lock().lineage_of(state.layer()).ok_or(Error::NoSuchVolume(id))?;
            let mut portion = Portion::new(self, &segments, lineage.family(), &mut report);
            let mut reached = end;
            for stretch in version.scan(&lineage, from, Some(end)) {
                match stretch {
                    Ok(stretch) => portion.check(&stretch)?,
                    Err(error) if is_unreadable(&error) => {
                        self.suspect(&error);
                        reached = portion.skip(&version, &error, from..end);
                        break;
                    }
                    Err(error) => return Err(error),
                }
                if portion.blocks >= PORTION_BLOCKS {
                    reached = portion.reached;
                    break;
                }
            }
            from = reached;
        }
    }
}

/// A part of a volume, by one version of the map.
struct Portion<'a> {
    inner: &'a Inner,
    segments: &'a Segments,
    family: FamilyId,
    report: &'a mut VolumeScrub,
    decompressor: Decompressor,
    window: Option<(SegmentId, u64, AlignedBuffer)>,
    decoded: Vec<u8>,
    /// Blocks with data so far.
    blocks: u64,
    /// Behind the last stretch.
    reached: BlockIndex,
}

impl<'a> Portion<'a> {
    fn new(inner: &'a Inner, segments: &'a Segments, family: FamilyId, report: &'a mut VolumeScrub) -> Self {
        let (decompressor, window, decoded) = (Decompressor::new(), None, Vec::new());
        Self { inner, segments, family, report, decompressor, window, decoded, blocks: 0, reached: BlockIndex(0) }
    }

    fn check(&mut self, stretch: &Stretch) -> Result<()> {
        self.reached = stretch.end();
        let Target::Data(location) = stretch.target else { return Ok(()) };
        self.blocks += stretch.count;
        let slots = u32::from(location.slot.0)..u32::from(location.slot.0) + stretch.count as u32;
        let mut blocks = Blocks { first: stretch.first.0, slots, segment: location.segment };
        match self.segments.segment(location.segment) {
            Ok(segment) => {
                while !blocks.slots.is_empty() {
                    self.check_frame(&segment, &mut blocks)?;
                }
                Ok(())
            }
            Err(error) => {
                let kind =
                    if matches!(error, Error::Corrupt { .. }) { PlaceKind::Footer } else { PlaceKind::Unreadable };
                self.damaged(&mut blocks, SLOTS_MAX, kind, error)
            }
        }
    }

    /// Takes the next `count` of `blocks` (or what there is) for damaged. An error that is none of reading ends it all.
    fn damaged(&mut self, blocks: &mut Blocks, count: u32, kind: PlaceKind, error: Error) -> Result<()> {
        if !is_unreadable(&error) {
            return Err(error);
        }
        self.inner.suspect_segment(blocks.segment);
        let damaged = blocks.take(count);
        self.report.damaged(damaged, kind, &crate::segment::path(blocks.segment));
        Ok(())
    }

    /// Verifies the frame of the first slot, and what of `blocks` is in it.
    fn check_frame(&mut self, segment: &Segment, blocks: &mut Blocks) -> Result<()> {
        let slot = Slot(blocks.slots.start as u16);
        let place = match segment.locate(slot) {
            Ok(place) => place,
            Err(error) => return self.damaged(blocks, 1, PlaceKind::SlotTable, error),
        };
        let within = place.index_of(slot) as u32;
        let count = (u32::from(place.blocks) - within).min(blocks.slots.end - blocks.slots.start);
        self.inner.pace_scrub(place.len.into(), false)?;
        if let Err(error) = self.read(segment, &place, blocks) {
            return self.damaged(blocks, count, PlaceKind::Unreadable, error);
        }
        let (_, offset, window) = self.window.as_ref().expect("the frame was read");
        let at = (u64::from(place.offset) - offset) as usize;
        self.decoded.resize(place.decoded_bytes(), 0);
        let bytes = &window[at..at + place.len as usize];
        if let Err(error) = segment.decode(&place, bytes, &mut self.decompressor, &mut self.decoded) {
            return self.damaged(blocks, count, PlaceKind::Frame, error);
        }
        self.compare(segment, blocks, within as usize, count)
    }

    /// Makes the window hold the frame, and what is likely to be wanted next.
    fn read(&mut self, segment: &Segment, place: &FramePlace, blocks: &Blocks) -> Result<()> {
        let (offset, len) = place.aligned_range(PAGE_BYTES);
        let holds = |(id, start, window): &(SegmentId, u64, AlignedBuffer)| {
            *id == segment.id() && *start <= offset && offset + len as u64 <= start + window.len() as u64
        };
        if self.window.as_ref().is_some_and(holds) {
            return Ok(());
        }
        let left = (blocks.slots.end - blocks.slots.start) as usize * BLOCK_BYTES;
        let room = (u64::from(segment.geometry().file_bytes()) - offset) as usize;
        let wide = left.min(WINDOW_BYTES).next_multiple_of(PAGE_BYTES).max(len).min(room);
        let read = |len| {
            let mut buffer = AlignedBuffer::zeroed(len);
            let read = segment.file().read_at(&mut buffer, offset);
            read.map(|()| buffer).map_err(|error| Error::io("reading", crate::segment::path(segment.id()), error))
        };
        // A bad sector must not cost its neighbours: what cannot be read with them is read alone.
        self.window = Some((segment.id(), offset, read(wide).or_else(|_| read(len))?));
        Ok(())
    }

    /// Compares `count` decoded blocks, from `within` on, with their fingerprints.
    fn compare(&mut self, segment: &Segment, blocks: &mut Blocks, within: usize, count: u32) -> Result<()> {
        let decoded = std::mem::take(&mut self.decoded);
        let wanted: Vec<_> = decoded.as_chunks::<BLOCK_BYTES>().0[within..within + count as usize].iter().collect();
        let mut found = vec![Fingerprint([0; 32]); wanted.len()];
        fingerprint_blocks(&wanted, &mut found);
        let readahead = if blocks.slots.len() > STREAM_BLOCKS_MIN { Readahead::Stream } else { Readahead::Page };
        for found in found {
            match segment.fingerprint(Slot(blocks.slots.start as u16), readahead) {
                Ok(expected) if expected == found => {
                    self.report.blocks_good += 1;
                    blocks.take(1);
                }
                Ok(_) => {
                    let error = Error::corrupt(crate::segment::path(blocks.segment), 0, PlaceKind::Content.text());
                    self.damaged(blocks, 1, PlaceKind::Content, error)?;
                }
                // Its checksum held: it can be read, and is only not known to be the right block.
                Err(error) if is_unreadable(&error) => {
                    self.inner.suspect_segment(blocks.segment);
                    self.report.blocks_good += 1;
                    blocks.take(1);
                }
                Err(error) => return Err(error),
            }
        }
        self.decoded = decoded;
        Ok(())
    }

    /// Goes on behind the part of the map that cannot be read; what it may have known counts as damaged.
    fn skip(&mut self, version: &Version, error: &Error, within: Range<BlockIndex>) -> BlockIndex {
        let from = self.reached.max(within.start).0;
        let (path, offset) = match error {
            Error::Corrupt { file, offset, .. } => (file.clone(), Some(*offset)),
            Error::Io { file, .. } => (file.clone(), None),
            other => (other.to_string(), None),
        };
        let run = version.runs().map(|(_, run)| run).find(|run| run::path(run.id()) == path);
        let last = run.zip(offset).map(|(run, offset)| {
            let (id, runs) = (run.id(), &self.inner.scrub.runs);
            let (_, last) = Run::new(Arc::clone(runs), *run.meta()).span_at(offset);
            runs.close(id);
            if last.family > self.family { u64::MAX } else { last.block.0.saturating_add(1) }
        });
        let to = last.filter(|to| *to > from).unwrap_or(from + SKIP_BLOCKS).min(within.end.0);
        self.report.damaged(from..to, PlaceKind::Run, &path);
        BlockIndex(to)
    }
}

/// Blocks of a volume that lie in adjacent slots.
struct Blocks {
    first: u64,
    slots: Range<u32>,
    segment: SegmentId,
}

impl Blocks {
    /// Takes up to `count` off the beginning.
    fn take(&mut self, count: u32) -> Range<u64> {
        let count = count.min(self.slots.end - self.slots.start);
        let taken = self.first..self.first + u64::from(count);
        self.first += u64::from(count);
        self.slots.start += count;
        taken
    }
}
