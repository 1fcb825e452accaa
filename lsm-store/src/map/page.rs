//! A page of a run: sorted stretches that do not overlap, bit-packed in 4 KiB ("Page" in `docs/disk-format/runs.md`).
//!
//! Stretches come in groups of up to 32 whose columns have widths of their own, so that an outlier costs its group
//! only. A table of anchors (the first key of each group, and where it starts) lets a search decode one group instead
//! of the page. Decoding is total: pages that are not well-formed yield wrong stretches or none, never a panic,
//! and [`Page::check`] tells them from good ones.

pub(super) mod builder;
mod group;

use std::ops::Range;

use super::bits::{WIDTH_MAX, read_bits};
use super::{Key, Stretch, Target};
use crate::id::{BlockIndex, LayerId, Slot};
use group::Cursor;

/// Bytes of a page, on disk and in a cache.
pub const PAGE_BYTES: usize = 4096;

/// Bytes before the anchors.
const HEADER_BYTES: usize = 32;

/// No group reaches beyond here: 4 zero bytes and the seal follow.
const BODY_END: usize = PAGE_BYTES - 8;

/// Where the seal is.
pub(super) const SEAL_AT: usize = PAGE_BYTES - 4;

/// Stretches of a full group.
const GROUP_MAX: usize = 32;

/// Bits of an anchor's last field, the group's first bit counted from the end of the anchors.
const START_WIDTH: u32 = 15;

/// Slots of the largest segment.
const SLOTS_MAX: u64 = 1 << 16;

/// Widths of an anchor's fields, all anchors of a page alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct AnchorWidths {
    layer: u32,
    block: u32,
    segment: u32,
}

impl AnchorWidths {
    fn total(self) -> usize {
        (self.layer + self.block + self.segment + START_WIDTH) as usize
    }
}

/// What an anchor says of its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Anchor {
    layer: u64,
    block: u64,
    segment: u32,
    start: usize,
}

/// Bytes of a page seen as stretches.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    bytes: &'a [u8; PAGE_BYTES],
    groups: usize,
    entries: usize,
    layer: u64,
    block: u64,
    segment: u32,
    widths: AnchorWidths,
    body_at: usize,
}

impl<'a> Page<'a> {
    /// Reads the header; fails if what it says cannot be. The seal has been verified already.
    pub(super) fn parse(bytes: &'a [u8; PAGE_BYTES]) -> Result<Self, &'static str> {
        let field = |range: Range<usize>| range.rev().fold(0, |value, at| value << 8 | u64::from(bytes[at]));
        let widths = AnchorWidths { layer: bytes[24].into(), block: bytes[25].into(), segment: bytes[26].into() };
        let groups = field(0..2) as usize;
        let page = Self {
            bytes,
            groups,
            entries: field(2..4) as usize,
            layer: field(8..16),
            block: field(16..24),
            segment: field(4..8) as u32,
            widths,
            body_at: HEADER_BYTES * 8 + (groups * widths.total()).next_multiple_of(8),
        };
        let possible = widths.layer <= WIDTH_MAX && widths.block <= WIDTH_MAX && widths.segment <= 32;
        if groups == 0 || !possible || page.body_at >= BODY_END * 8 {
            return Err("the page's header makes no sense");
        }
        Ok(page)
    }

    fn anchor_at(&self, group: usize) -> usize {
        HEADER_BYTES * 8 + group * self.widths.total()
    }

    fn anchor_key(&self, group: usize) -> (u64, u64) {
        let at = self.anchor_at(group);
        let layer = self.layer.wrapping_add(read_bits(self.bytes, at, self.widths.layer));
        let block_at = at + self.widths.layer as usize;
        (layer, self.block.wrapping_add(read_bits(self.bytes, block_at, self.widths.block)))
    }

    fn anchor(&self, group: usize) -> Anchor {
        let (layer, block) = self.anchor_key(group);
        let segment_at = self.anchor_at(group) + (self.widths.layer + self.widths.block) as usize;
        let segment = self.segment.wrapping_add(read_bits(self.bytes, segment_at, self.widths.segment) as u32);
        let start_at = segment_at + self.widths.segment as usize;
        let start = self.body_at + read_bits(self.bytes, start_at, START_WIDTH) as usize;
        Anchor { layer, block, segment, start }
    }

    /// All stretches, in order.
    pub(super) fn stretches(self) -> Cursor<'a> {
        Cursor::new(self, 0)
    }

    /// The stretches in order, from the last group that begins at or before `key`: what covers `key` or follows it
    /// is among them, after at most 32 that end before it.
    pub(super) fn stretches_near(self, key: Key) -> Cursor<'a> {
        let wanted = (key.layer.0, key.block.0);
        let (mut low, mut high) = (0, self.groups);
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if self.anchor_key(middle) <= wanted { low = middle } else { high = middle }
        }
        Cursor::new(self, low)
    }

    /// Decodes everything, hands each stretch to `sink`, and fails at the first that breaks a rule of the format.
    pub(super) fn check(self, mut sink: impl FnMut(Stretch)) -> Result<(), &'static str> {
        let mut cursor = self.stretches();
        let mut previous = None;
        let mut entries = 0;
        while let Some(stretch) = cursor.next() {
            if cursor.malformed() {
                return Err("a group of the page makes no sense");
            }
            check_stretch(&stretch)?;
            if previous.is_some_and(|last: Key| stretch.key() <= last) {
                return Err("the page's stretches are out of order");
            }
            previous = Some(stretch.last_key());
            entries += 1;
            sink(stretch);
        }
        if entries == self.entries { Ok(()) } else { Err("the page has another number of stretches than it says") }
    }
}

/// Fails unless the stretch keeps the bounds of [`Stretch`] and of a volume.
fn check_stretch(stretch: &Stretch) -> Result<(), &'static str> {
    let Stretch { first: BlockIndex(first), count, target, .. } = *stretch;
    let end = first.checked_add(count).filter(|end| *end <= BlockIndex::COUNT_MAX);
    if count == 0 || end.is_none() {
        return Err("a stretch ends beyond the largest volume");
    }
    match target {
        Target::Data(location) if u64::from(location.slot.0) + count > SLOTS_MAX => {
            Err("a stretch ends beyond the largest segment")
        }
        _ => Ok(()),
    }
}

/// True if `stretch` may be stored: its own bounds, see [`check_stretch`].
pub(super) fn is_storable(stretch: &Stretch) -> bool {
    check_stretch(stretch).is_ok()
}

fn slot(number: u32) -> Slot {
    Slot(number as u16)
}

fn key_of(layer: u64, block: u64) -> Key {
    Key { layer: LayerId(layer), block: BlockIndex(block) }
}

#[cfg(test)]
mod tests;
