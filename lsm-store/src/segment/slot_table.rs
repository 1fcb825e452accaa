//! The slot table: from a slot to its frame, by one page that answers alone.
//!
//! A page holds an entry of 16 bits for each of 1,984 slots: the length of the frame that starts there, or which block of
//! an earlier frame the slot is, or that the slot is unused. Every 64 slots an anchor gives an absolute offset, so that a
//! lookup sums up at most 63 lengths. No frame's slots lie on two pages: the writer leaves slots unused instead.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::GROUP_BLOCKS_MAX;
use super::frame::{FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FramePlace};
use super::geometry::FRAMES_START;
use crate::checksum::{Kind, PAGE_BYTES, Seal};
use crate::id::{SegmentId, Slot, StoreId};
use crate::page_cache::Page;

pub(super) const SLOT_TABLE_KIND: Kind = Kind(*b"SLOT");

/// Slots between two anchors.
pub(super) const SLOTS_PER_ANCHOR: usize = 64;

/// Anchors on a page: what makes it full to the byte.
pub(super) const ANCHORS_PER_PAGE: usize = 31;

/// Slots on a page.
pub(super) const SLOTS_PER_PAGE: usize = ANCHORS_PER_PAGE * SLOTS_PER_ANCHOR;

/// Entry of a slot that names nothing.
pub(super) const UNUSED: u16 = 0;

/// Entries above this are `CONTINUED + k`: the slot is block `k` (1 to 15) of the frame that starts `k` slots before.
pub(super) const CONTINUED: u16 = 0xfff0;

const _: () = assert!(FRAME_BYTES_MAX < CONTINUED as usize && GROUP_BLOCKS_MAX <= 16);

/// A page of the slot table.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SlotTablePageV1 {
    /// For every 64 slots, the end of the last frame that starts before the first of them.
    pub(super) anchors: [U32; ANCHORS_PER_PAGE],
    pub(super) entries: [U16; SLOTS_PER_PAGE],
    pub(super) checksum: U32,
}

/// The slot table of a segment being written.
#[derive(Default)]
pub(super) struct SlotTableBuilder {
    entries: Vec<u16>,
}

impl SlotTableBuilder {
    /// Number of slots so far.
    pub(super) fn slots(&self) -> usize {
        self.entries.len()
    }

    /// Slots that must stay unused so that a frame of `blocks` blocks lies on one page.
    pub(super) fn skipped_before(&self, blocks: usize) -> usize {
        let left = SLOTS_PER_PAGE - self.entries.len() % SLOTS_PER_PAGE;
        if blocks > left { left } else { 0 }
    }

    /// Leaves `slots` slots unused.
    pub(super) fn skip(&mut self, slots: usize) {
        self.entries.extend(std::iter::repeat_n(UNUSED, slots));
    }

    /// Adds a frame of `len` bytes and `blocks` blocks; its first slot.
    pub(super) fn push(&mut self, len: usize, blocks: usize) -> Slot {
        assert_eq!(self.skipped_before(blocks), 0, "a frame's slots lie on one page");
        let first = Slot(u16::try_from(self.entries.len()).expect("a segment has 65,536 slots at most"));
        self.entries.push(u16::try_from(len).expect("a frame's length has 16 bits"));
        self.entries.extend((1..blocks as u16).map(|index| CONTINUED + index));
        first
    }

    /// The pages, without their checksums.
    pub(super) fn pages(&self) -> impl Iterator<Item = [u8; PAGE_BYTES]> {
        let mut end = FRAMES_START;
        self.entries.chunks(SLOTS_PER_PAGE).map(move |entries| {
            let mut page = SlotTablePageV1::new_zeroed();
            let (stretches, _) = page.entries.as_chunks_mut::<SLOTS_PER_ANCHOR>();
            let stretches = page.anchors.iter_mut().zip(stretches);
            for (slot_chunk, (anchor, stretch)) in entries.chunks(SLOTS_PER_ANCHOR).zip(stretches) {
                *anchor = end.into();
                for (stored, entry) in stretch.iter_mut().zip(slot_chunk) {
                    *stored = (*entry).into();
                }
                end += frame_bytes(stretch);
            }
            zerocopy::transmute!(page)
        })
    }
}

/// Bytes of the frames that start in a stretch of slots.
fn frame_bytes(entries: &[U16]) -> u32 {
    entries.iter().map(|entry| if entry.get() > CONTINUED { 0 } else { u32::from(entry.get()) }).sum()
}

/// A verified page of a sealed segment's slot table.
#[derive(Clone)]
pub struct SlotPage {
    page: Page,
    number: u32,
    /// Offset behind the segment's last frame: nothing the page says may lie beyond.
    frames_end: u32,
}

impl SlotPage {
    pub(super) fn new(page: Page, number: u32, frames_end: u32) -> Self {
        Self { page, number, frames_end }
    }

    /// The page that holds `slot`, and the slot's position on it.
    pub(super) fn position(slot: Slot) -> (u32, usize) {
        (u32::from(slot.0) / SLOTS_PER_PAGE as u32, usize::from(slot.0) % SLOTS_PER_PAGE)
    }

    fn table(&self) -> &SlotTablePageV1 {
        zerocopy::transmute_ref!(&*self.page)
    }

    /// The slots the page answers for, as numbers.
    #[must_use]
    pub fn slots(&self) -> std::ops::Range<u32> {
        let first = self.number * SLOTS_PER_PAGE as u32;
        first..first + SLOTS_PER_PAGE as u32
    }

    /// The frame that holds `slot`; `None` if the slot is unused, not on this page, or the page makes no sense there.
    #[must_use]
    pub fn locate(&self, slot: Slot) -> Option<FramePlace> {
        let (number, position) = Self::position(slot);
        let entries = &self.table().entries;
        if number != self.number || entries[position].get() == UNUSED {
            return None;
        }
        let start = position.checked_sub(usize::from(entries[position].get().saturating_sub(CONTINUED)))?;
        let anchor = start / SLOTS_PER_ANCHOR;
        let before = frame_bytes(&entries[anchor * SLOTS_PER_ANCHOR..start]);
        let place = self.place(start, self.table().anchors[anchor].get().checked_add(before)?)?;
        (position - start < usize::from(place.blocks)).then_some(place)
    }

    /// The frames that hold slots `first` to `last` (both included) as far as the page goes, in order. A frame that
    /// starts before `first` comes whole. Unused slots and slots that make no sense are left out.
    pub fn frames(&self, first: Slot, last: Slot) -> impl Iterator<Item = FramePlace> {
        let mut next = u32::from(first.0);
        let end = (u32::from(last.0) + 1).min(self.slots().end);
        let mut before: Option<FramePlace> = None;
        std::iter::from_fn(move || {
            while next < end {
                let slot = Slot(next as u16);
                let place = self.place_behind(before, slot).or_else(|| self.locate(slot));
                next = place.map_or(next + 1, |place| u32::from(place.first.0) + u32::from(place.blocks));
                before = place;
                if place.is_some() {
                    return place;
                }
            }
            None
        })
    }

    /// The frame that starts at `slot`, if it directly follows the frame `before`.
    fn place_behind(&self, before: Option<FramePlace>, slot: Slot) -> Option<FramePlace> {
        let before = before?;
        let (_, position) = Self::position(slot);
        let follows = u32::from(before.first.0) + u32::from(before.blocks) == u32::from(slot.0);
        follows.then(|| self.place(position, before.offset + before.len)).flatten()
    }

    /// The frame that starts at a position of the page, given its offset.
    fn place(&self, start: usize, offset: u32) -> Option<FramePlace> {
        let entries = &self.table().entries;
        let len = entries[start].get();
        let continued = entries[start + 1..].iter().zip(CONTINUED + 1..=u16::MAX);
        let blocks = 1 + continued.take_while(|(entry, index)| entry.get() == *index).count();
        let plausible = usize::from(len) > FRAME_HEADER_BYTES
            && usize::from(len) <= FRAME_BYTES_MAX
            && offset >= FRAMES_START
            && u64::from(offset) + u64::from(len) <= u64::from(self.frames_end);
        let first = Slot((self.number * SLOTS_PER_PAGE as u32 + start as u32) as u16);
        plausible.then_some(FramePlace { offset, len: len.into(), first, blocks: blocks as u8 })
    }
}

/// The seal of a segment's slot table.
pub(super) fn seal(store: StoreId, id: SegmentId) -> Seal {
    Seal::new(store, SLOT_TABLE_KIND, id.0.into())
}
