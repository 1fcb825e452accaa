//! Segments: the immutable 32 MiB units of the log that hold all block contents.
//!
//! A segment is written once by a [`SegmentWriter`] (header, frames, slot table, fingerprints, footer), *sealed* and
//! never changed; it is freed whole. Blocks are named by [`crate::id::Slot`], so the slot table translates a slot
//! into the frame that holds it. Sealed means that the footer verifies: a file without one is what a crash left, and
//! holds nothing anybody refers to. All pages and frames are sealed with where they belong ([`crate::checksum`]).
//!
//! The format is specified in `docs/disk-format/segments.md`.

mod check;
mod directory;
mod fingerprint_page;
mod frame;
mod geometry;
mod heat;
mod open;
mod set;
mod slot_table;
mod staging;
#[cfg(test)]
pub(crate) mod tests;
mod trailer;
mod writer;

pub use check::{Check, Damage, DamageKind, check, check_paced};
pub use directory::Directory;
pub use frame::{FRAME_HEADER_BYTES, Frame, FramePlace};
pub use geometry::Geometry;
pub use heat::Heat;
pub use open::{Readahead, Segment};
pub use set::Segments;
pub use slot_table::SlotPage;
pub use staging::WriteMode;
pub use writer::{Sealing, SegmentSummary, SegmentWriter};

pub use crate::codec::GROUP_BLOCKS_MAX;

use std::time::Duration;

use crate::id::{Epoch, SegmentId};

/// The directory of the device that holds the segments.
pub const SEGMENT_DIRECTORY: &str = "segments";

/// The most bytes of a segment's file.
pub const SEGMENT_BYTES_MAX: u64 = 32 << 20;

/// The most slots of a segment: what a slot number can name.
pub const SLOTS_MAX: u32 = 1 << 16;

/// Path of a segment's file.
#[must_use]
pub fn path(id: SegmentId) -> String {
    format!("{SEGMENT_DIRECTORY}/{:016x}", id.0)
}

/// The segment whose file has this name in [`SEGMENT_DIRECTORY`], if it is a segment's name.
#[must_use]
pub fn parse_name(name: &str) -> Option<SegmentId> {
    let id = u64::from_str_radix(name, 16).ok().and_then(|id| u32::try_from(id).ok()).map(SegmentId)?;
    (format!("{:016x}", id.0) == name).then_some(id)
}

/// What a segment holds, so that data which dies together lies together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Class {
    /// Blocks from the journal.
    Flush = 0,
    /// Large writes that skipped the journal.
    Large = 1,
    /// Blocks that outlived the segments they were in.
    Survivor = 2,
    /// Blocks that nobody reads, compressed in groups.
    Cold = 3,
}

impl Class {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Flush, Self::Large, Self::Survivor, Self::Cold].into_iter().find(|class| *class as u8 == byte)
    }
}

/// What a segment is told at its creation and repeats in its header and footer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The segment's id.
    pub id: SegmentId,
    /// The store's epoch when it was written.
    pub epoch: Epoch,
    /// What it holds.
    pub class: Class,
    /// Dedupe domain: blocks are shared only within one. 0 is the only one yet.
    pub domain: u32,
    /// When it was created, since the Unix epoch; kept in whole milliseconds. For people to read.
    pub created: Duration,
}
