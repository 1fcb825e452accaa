//! Where the parts of a sealed segment are: all of it follows from the number of slots and the end of the frames.

use super::fingerprint_page::FINGERPRINTS_PER_PAGE;
use super::slot_table::SLOTS_PER_PAGE;
use super::{SEGMENT_BYTES_MAX, SLOTS_MAX};
use crate::checksum::PAGE_BYTES;

const PAGE: u32 = PAGE_BYTES as u32;

/// Where the first frame starts: behind the header page.
pub(super) const FRAMES_START: u32 = PAGE;

/// The parts of a sealed segment, as byte offsets in its file and counts of pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    slots: u32,
    frames_end: u32,
}

impl Geometry {
    /// The geometry of a segment with `slots` slots (used or not) whose last frame ends before `frames_end`; `None` if no
    /// segment is like that.
    #[must_use]
    pub fn new(slots: u32, frames_end: u32) -> Option<Self> {
        let geometry = Self { slots, frames_end };
        let plausible = slots <= SLOTS_MAX && frames_end >= FRAMES_START && u64::from(frames_end) <= SEGMENT_BYTES_MAX;
        (plausible && u64::from(geometry.file_bytes()) <= SEGMENT_BYTES_MAX).then_some(geometry)
    }

    /// Number of slots, used or not.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Offset behind the last frame.
    #[must_use]
    pub fn frames_end(&self) -> u32 {
        self.frames_end
    }

    /// Offset of the slot table.
    #[must_use]
    pub fn slot_table_offset(&self) -> u32 {
        self.frames_end.next_multiple_of(PAGE)
    }

    /// Pages of the slot table.
    #[must_use]
    pub fn slot_table_pages(&self) -> u32 {
        self.slots.div_ceil(SLOTS_PER_PAGE as u32)
    }

    /// Offset of the fingerprints.
    #[must_use]
    pub fn fingerprints_offset(&self) -> u32 {
        self.slot_table_offset() + self.slot_table_pages() * PAGE
    }

    /// Pages of fingerprints.
    #[must_use]
    pub fn fingerprint_pages(&self) -> u32 {
        self.slots.div_ceil(FINGERPRINTS_PER_PAGE as u32)
    }

    /// Offset of the footer, the last page.
    #[must_use]
    pub fn footer_offset(&self) -> u32 {
        self.fingerprints_offset() + self.fingerprint_pages() * PAGE
    }

    /// Length of the file.
    #[must_use]
    pub fn file_bytes(&self) -> u32 {
        self.footer_offset() + PAGE
    }
}
