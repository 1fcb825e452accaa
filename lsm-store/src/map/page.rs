//! A page of a run: sorted stretches, bit-packed in 4 KiB ("Page" in `docs/disk-format/runs.md`). They lie apart or are
//! versions of the same blocks, the newest layer first.
//!
//! Stretches come in groups of up to 32 whose columns have widths of their own, so that an outlier costs its group
//! only. A table of anchors (the first block of each group, and where it starts) lets a search decode one group instead
//! of the page. Decoding is total: pages that are not well-formed yield wrong stretches or none, never a panic,
//! and [`Page::check`] tells them from good ones.

pub(super) mod builder;
mod group;

use std::ops::Range;

use super::bits::{WIDTH_MAX, read_bits};
use super::{Key, Place, Stretch, Target};
use crate::checksum::PAGE_BODY_BYTES;
pub use crate::checksum::PAGE_BYTES;
use crate::id::{BlockIndex, Slot};
pub(super) use group::Cursor;

/// Bytes before the anchors.
const HEADER_BYTES: usize = 40;

/// No group reaches beyond here: 4 zero bytes and the seal follow.
const BODY_END: usize = PAGE_BODY_BYTES - 4;

/// Stretches of a full group.
const GROUP_MAX: usize = 32;

/// Bits of an anchor's last field, the group's first bit counted from the end of the anchors.
const START_WIDTH: u32 = 15;

/// Slots of the largest segment.
const SLOTS_MAX: u64 = 1 << 16;

/// Widths of an anchor's fields, all anchors of a page alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct AnchorWidths {
    family: u32,
    block: u32,
    layer: u32,
    segment: u32,
}

impl AnchorWidths {
    fn total(self) -> usize {
        (self.family + self.block + self.layer + self.segment + START_WIDTH) as usize
    }
}

/// What an anchor says of its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Anchor {
    family: u64,
    block: u64,
    /// The smallest of the group's.
    layer: u64,
    /// The smallest of the group's.
    segment: u32,
    start: usize,
}

/// Bytes of a page seen as stretches.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    bytes: &'a [u8; PAGE_BYTES],
    groups: usize,
    entries: usize,
    family: u64,
    block: u64,
    layer: u64,
    segment: u32,
    widths: AnchorWidths,
    body_at: usize,
}

impl<'a> Page<'a> {
    /// Reads the header; fails if what it says cannot be. The seal has been verified already.
    pub(super) fn parse(bytes: &'a [u8; PAGE_BYTES]) -> Result<Self, &'static str> {
        let field = |range: Range<usize>| range.rev().fold(0, |value, at| value << 8 | u64::from(bytes[at]));
        let [family, block, layer, segment] = [32, 33, 34, 35].map(|at| u32::from(bytes[at]));
        let widths = AnchorWidths { family, block, layer, segment };
        let groups = field(0..2) as usize;
        let page = Self {
            bytes,
            groups,
            entries: field(2..4) as usize,
            family: field(8..16),
            block: field(16..24),
            layer: field(24..32),
            segment: field(4..8) as u32,
            widths,
            body_at: HEADER_BYTES * 8 + (groups * widths.total()).next_multiple_of(8),
        };
        let possible = [family, block, layer].iter().all(|width| *width <= WIDTH_MAX) && segment <= 32;
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
        let family = self.family.wrapping_add(read_bits(self.bytes, at, self.widths.family));
        let block_at = at + self.widths.family as usize;
        (family, self.block.wrapping_add(read_bits(self.bytes, block_at, self.widths.block)))
    }

    fn anchor(&self, group: usize) -> Anchor {
        let (family, block) = self.anchor_key(group);
        let layer_at = self.anchor_at(group) + (self.widths.family + self.widths.block) as usize;
        let layer = self.layer.wrapping_add(read_bits(self.bytes, layer_at, self.widths.layer));
        let segment_at = layer_at + self.widths.layer as usize;
        let segment = self.segment.wrapping_add(read_bits(self.bytes, segment_at, self.widths.segment) as u32);
        let start_at = segment_at + self.widths.segment as usize;
        let start = self.body_at + read_bits(self.bytes, start_at, START_WIDTH) as usize;
        Anchor { family, block, layer, segment, start }
    }

    /// All stretches, in order.
    pub(super) fn stretches(self) -> Cursor<'a> {
        Cursor::new(self, 0)
    }

    /// The stretches in order, from the last group that begins at or before `place`, or from the first. What begins at
    /// `place` or behind it is among them. What only covers it is too, unless its versions began in a group before.
    pub(super) fn stretches_near(self, place: Place) -> Cursor<'a> {
        Cursor::new(self, self.group_near(place, 0))
    }

    /// The last group that begins at or before `place`, of those from `low` on.
    fn group_near(&self, place: Place, mut low: usize) -> usize {
        let mut high = self.groups;
        let wanted = (place.key.family.0, place.key.block.0);
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            let key = self.anchor_key(middle);
            // Of groups that begin with versions of the same blocks only the layers tell, which are not in the anchors.
            let begins = key < wanted || key == wanted && Cursor::new(*self, middle).next_layer() >= place.layer.0.0;
            if begins { low = middle } else { high = middle }
        }
        low
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
            if previous.is_some_and(|previous: Stretch| !previous.precedes(&stretch)) {
                return Err("the page's stretches are out of order");
            }
            previous = Some(stretch);
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

#[cfg(test)]
mod tests;
