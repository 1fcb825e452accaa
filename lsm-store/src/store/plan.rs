//! What a read needs: which of its blocks are in memory, and which ranges of which segments hold the others.
//!
//! A plan is made from one view, so that it sees every block at one moment.

use std::sync::Arc;

use bytes::Bytes;

use super::inner::Inner;
use super::view::View;
use super::volume::{VolumeState, block_of};
use crate::error::Result;
use crate::id::{BLOCK_BYTES, BlockIndex, Location, Slot};
use crate::layers::Lineage;
use crate::map::Target;
use crate::memtable::Content;
use crate::segment::{FramePlace, Segment, SlotPage};

/// Bytes of one device read at most, so that a large read keeps several under way.
const FETCH_BYTES_MAX: u64 = 256 << 10;

/// Frames this near to each other are read in one go: the bytes between cost less than another request.
const GAP_BYTES_MAX: u64 = 8 << 10;

/// Fetches among which a group is looked for that one of them brings: blocks of others may lie between its own.
const FETCHES_BACK: usize = 8;

/// Where a block of a read comes from.
pub(super) enum Source {
    /// It reads as zeros.
    Zeros,
    /// From memory.
    Memory(Bytes),
    /// From one of the plan's fetches.
    Device,
}

/// A block wanted from a fetch.
#[derive(Clone, Copy)]
pub(super) struct Want {
    /// Which block of the read.
    pub(super) index: usize,
    pub(super) slot: Slot,
    pub(super) place: FramePlace,
}

/// One read of the device.
pub(super) struct Fetch {
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u64,
    pub(super) len: usize,
    pub(super) wants: Vec<Want>,
}

/// How a read of bytes is answered.
pub(super) struct Plan {
    /// Bytes to leave out at the start of the first block.
    pub(super) skip: usize,
    /// Bytes asked for.
    pub(super) len: usize,
    pub(super) sources: Vec<Source>,
    pub(super) fetches: Vec<Fetch>,
}

impl Inner {
    /// Plans a read of `len` bytes at `offset`, at least 1. Waits for the device only where the map itself or a segment's
    /// slot table has to be read.
    pub(super) fn plan(&self, volume: &VolumeState, offset: u64, len: usize) -> Result<Plan> {
        self.collector.cold.note_request();
        let view = self.view();
        let lineage = volume.lineage()?;
        let first = block_of(offset);
        let skip = (offset - first.byte_offset()) as usize;
        let count = (skip + len).div_ceil(BLOCK_BYTES);
        let mut planner =
            Planner { inner: self, first, sources: Vec::with_capacity(count), fetches: Vec::new(), near: None };
        planner.resolve(&view, &lineage, count)?;
        Ok(Plan { skip, len, sources: planner.sources, fetches: planner.fetches })
    }

    /// The reads that bring the frames of these places, past the cache; a want's index is that of its place. The caller holds
    /// the view that has them.
    pub(super) fn fetches_of(&self, locations: &[Location]) -> Result<Vec<Fetch>> {
        let sources = Vec::with_capacity(locations.len());
        let mut planner = Planner { inner: self, first: BlockIndex(0), sources, fetches: Vec::new(), near: None };
        for location in locations {
            planner.want(*location)?;
            planner.sources.push(Source::Device);
        }
        Ok(planner.fetches)
    }
}

struct Planner<'a> {
    inner: &'a Inner,
    first: BlockIndex,
    sources: Vec<Source>,
    fetches: Vec<Fetch>,
    /// The segment and slot page used last: the next block is most often on it too.
    near: Option<(Arc<Segment>, SlotPage)>,
}

impl Planner<'_> {
    fn resolve(&mut self, view: &View, lineage: &Lineage, count: usize) -> Result<()> {
        let mut unknown_from = 0;
        for index in 0..count {
            let block = BlockIndex(self.first.0 + index as u64);
            let Some(content) = view.memtables().find_map(|memtable| memtable.lookup(lineage, block)) else { continue };
            self.resolve_in_map(view, lineage, unknown_from..index)?;
            unknown_from = index + 1;
            self.sources.push(match content {
                Content::Data(bytes) => Source::Memory(bytes),
                Content::Packed(block) => Source::Memory(block.unpack()),
                Content::Zero | Content::Hole => Source::Zeros,
            });
        }
        self.resolve_in_map(view, lineage, unknown_from..count)
    }

    fn resolve_in_map(&mut self, view: &View, lineage: &Lineage, indexes: std::ops::Range<usize>) -> Result<()> {
        let block = |index: usize| BlockIndex(self.first.0 + index as u64);
        if indexes.len() == 1 {
            let target = view.version.find(lineage, block(indexes.start))?;
            return self.push(target, 0);
        }
        if indexes.is_empty() {
            return Ok(());
        }
        for resolved in view.version.lookup(lineage, block(indexes.start)..block(indexes.end))? {
            for step in 0..resolved.count {
                self.push(resolved.target, step)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, target: Option<Target>, step: u64) -> Result<()> {
        let Some(Target::Data(Location { segment, slot })) = target else {
            self.sources.push(Source::Zeros);
            return Ok(());
        };
        let location = Location { segment, slot: Slot(slot.0 + step as u16) };
        let source = match self.inner.blocks.block(location) {
            Some(bytes) => Source::Memory(bytes),
            None => {
                self.want(location)?;
                Source::Device
            }
        };
        self.sources.push(source);
        Ok(())
    }

    fn want(&mut self, location: Location) -> Result<()> {
        let segment = self.slot_page(location)?;
        let near = self.near.as_ref().and_then(|(_, page)| page.locate(location.slot));
        let place = match near {
            Some(place) => place,
            None => segment.locate(location.slot)?,
        };
        let want = Want { index: self.sources.len(), slot: location.slot, place };
        let (offset, len) = place.aligned_range(segment.file().alignment().max(1));
        let end = offset + len as u64;
        let brings = |fetch: &&mut Fetch| {
            let (id, fetched) = (fetch.segment.id(), fetch.offset..=fetch.offset + fetch.len as u64);
            id == segment.id() && fetched.contains(&offset) && fetched.contains(&end)
        };
        if place.blocks > 1
            && let Some(fetch) = self.fetches.iter_mut().rev().take(FETCHES_BACK).find(brings)
        {
            fetch.wants.push(want);
            return Ok(());
        }
        if let Some(fetch) = self.fetches.last_mut()
            && fetch.segment.id() == segment.id()
            && offset >= fetch.offset
            && offset <= fetch.offset + fetch.len as u64 + GAP_BYTES_MAX
            && end - fetch.offset <= FETCH_BYTES_MAX
        {
            fetch.len = fetch.len.max((end - fetch.offset) as usize);
            fetch.wants.push(want);
            return Ok(());
        }
        self.fetches.push(Fetch { segment, offset, len, wants: vec![want] });
        Ok(())
    }

    /// The segment of a location, with the slot page for it at hand.
    fn slot_page(&mut self, location: Location) -> Result<Arc<Segment>> {
        if let Some((segment, page)) = &self.near
            && segment.id() == location.segment
            && page.slots().contains(&u32::from(location.slot.0))
        {
            return Ok(Arc::clone(segment));
        }
        let segment = self.inner.segments.segment(location.segment)?;
        let page = segment.slot_page(location.slot)?;
        self.near = Some((Arc::clone(&segment), page));
        Ok(segment)
    }
}
