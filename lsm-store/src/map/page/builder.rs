//! Builds pages out of stretches that come in order.

use super::super::bits::{BitWriter, WIDTH_MAX, width_of};
use super::group::Shape;
use super::{Anchor, AnchorWidths, BODY_END, GROUP_MAX, HEADER_BYTES, PAGE_BYTES, START_WIDTH, is_storable};
use crate::map::{Place, Stretch};

/// A full page, but for its seal.
pub(in crate::map) struct FinishedPage {
    /// Where the first stretch stands.
    pub(in crate::map) first: Place,
    /// The page.
    pub(in crate::map) bytes: Box<[u8; PAGE_BYTES]>,
}

/// Smallest and largest family, block, layer and segment of a page's anchors.
#[derive(Clone, Copy)]
struct Bounds {
    family: (u64, u64),
    block: (u64, u64),
    layer: (u64, u64),
    segment: (u32, u32),
}

impl Bounds {
    fn with(bounds: Option<Self>, anchor: &Anchor) -> Self {
        let one = Self {
            family: (anchor.family, anchor.family),
            block: (anchor.block, anchor.block),
            layer: (anchor.layer, anchor.layer),
            segment: (anchor.segment, anchor.segment),
        };
        bounds.map_or(one, |before| Self {
            family: (before.family.0.min(anchor.family), before.family.1.max(anchor.family)),
            block: (before.block.0.min(anchor.block), before.block.1.max(anchor.block)),
            layer: (before.layer.0.min(anchor.layer), before.layer.1.max(anchor.layer)),
            segment: (before.segment.0.min(anchor.segment), before.segment.1.max(anchor.segment)),
        })
    }

    fn widths(&self) -> AnchorWidths {
        AnchorWidths {
            family: width_of(self.family.1 - self.family.0),
            block: width_of(self.block.1 - self.block.0),
            layer: width_of(self.layer.1 - self.layer.0),
            segment: width_of(u64::from(self.segment.1 - self.segment.0)),
        }
    }
}

/// Collects stretches into groups and groups into pages.
pub(in crate::map) struct PageBuilder {
    pending: Vec<Stretch>,
    anchors: Vec<Anchor>,
    bounds: Option<Bounds>,
    /// Where the page's first stretch stands.
    first: Option<Place>,
    body: BitWriter,
    entries: usize,
}

impl PageBuilder {
    pub(in crate::map) fn new() -> Self {
        Self {
            pending: Vec::with_capacity(GROUP_MAX),
            anchors: Vec::new(),
            bounds: None,
            first: None,
            body: BitWriter::new(),
            entries: 0,
        }
    }

    /// Bytes of the unfinished page, without the unfinished group.
    pub(in crate::map) fn pending_bytes(&self) -> usize {
        self.body.bytes().len()
    }

    /// Adds a stretch that lies behind all before it, or is an older version of the last one's blocks; returns the page
    /// before it when that is full.
    ///
    /// # Panics
    /// If the stretch cannot be stored: the caller made it wrong.
    pub(in crate::map) fn push(&mut self, stretch: Stretch) -> Option<FinishedPage> {
        assert!(is_storable(&stretch), "{stretch:?} keeps the bounds of a volume and of a segment");
        if let Some(before) = self.pending.last() {
            assert!(before.precedes(&stretch), "{stretch:?} follows {before:?}");
        }
        self.pending.push(stretch);
        if self.pending.len() == GROUP_MAX { self.close_group() } else { None }
    }

    /// Ends the stretches: call until it returns `None`, then start over.
    pub(in crate::map) fn finish(&mut self) -> Option<FinishedPage> {
        if !self.pending.is_empty()
            && let Some(page) = self.close_group()
        {
            return Some(page);
        }
        (!self.anchors.is_empty()).then(|| self.finish_page())
    }

    /// Moves the pending group into the page. If not all of it fits, the page ends and the rest goes to the next one.
    fn close_group(&mut self) -> Option<FinishedPage> {
        let taken = self.take_pending();
        if self.pending.is_empty() {
            return None;
        }
        let page = self.finish_page();
        // A group kept whole would have no room for the next stretch.
        assert!(taken > 0 || self.take_pending() > 0, "an empty page has room for a stretch");
        Some(page)
    }

    /// Moves pending stretches into the page, all that fit or a multiple of 8 of them; returns how many.
    fn take_pending(&mut self) -> usize {
        let all = self.pending.len();
        // Single steps would fill the page better by 12 bytes and measure the group 32 times.
        let steps = (1..all).rev().filter(|take| take.is_multiple_of(8));
        let fitting = std::iter::once(all).chain(steps).find(|take| self.add_group(*take));
        // Families or layers too far apart for a group: rare enough to be slow.
        let fitting = match fitting {
            None if self.anchors.is_empty() => (1..all).rev().find(|take| self.add_group(*take)),
            fitting => fitting,
        };
        let fitting = fitting.unwrap_or(0);
        self.pending.drain(..fitting);
        fitting
    }

    /// Adds the first `take` pending stretches as a group, if they fit.
    fn add_group(&mut self, take: usize) -> bool {
        let stretches = &self.pending[..take];
        let shape = Shape::measure(stretches);
        let anchor = Anchor {
            family: stretches[0].family.0,
            block: stretches[0].first.0,
            layer: shape.layer,
            // A group without data names no segment: it takes one that costs its anchor nothing.
            segment: shape.segment.or(self.bounds.map(|bounds| bounds.segment.0)).unwrap_or(0),
            start: self.body.len(),
        };
        let bounds = Bounds::with(self.bounds, &anchor);
        let widths = bounds.widths();
        let anchors = ((self.anchors.len() + 1) * widths.total()).div_ceil(8);
        let fits = shape.bits().is_some_and(|bits| {
            widths.family.max(widths.layer) <= WIDTH_MAX
                && HEADER_BYTES + anchors + (self.body.len() + bits).div_ceil(8) <= BODY_END
        });
        if fits {
            shape.write(stretches, &mut self.body);
            self.anchors.push(anchor);
            self.bounds = Some(bounds);
            self.first.get_or_insert(stretches[0].place());
            self.entries += take;
        }
        fits
    }

    fn finish_page(&mut self) -> FinishedPage {
        let bounds = self.bounds.take().expect("a page has a group");
        let widths = bounds.widths();
        let mut bytes = Box::new([0; PAGE_BYTES]);
        bytes[0..2].copy_from_slice(&(self.anchors.len() as u16).to_le_bytes());
        bytes[2..4].copy_from_slice(&(self.entries as u16).to_le_bytes());
        bytes[4..8].copy_from_slice(&bounds.segment.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&bounds.family.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&bounds.block.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&bounds.layer.0.to_le_bytes());
        bytes[32..36]
            .copy_from_slice(&[widths.family, widths.block, widths.layer, widths.segment].map(|width| width as u8));
        let mut table = BitWriter::new();
        for anchor in &self.anchors {
            table.put(anchor.family - bounds.family.0, widths.family);
            table.put(anchor.block - bounds.block.0, widths.block);
            table.put(anchor.layer - bounds.layer.0, widths.layer);
            table.put(u64::from(anchor.segment - bounds.segment.0), widths.segment);
            table.put(anchor.start as u64, START_WIDTH);
        }
        let body_at = HEADER_BYTES + table.bytes().len();
        bytes[HEADER_BYTES..body_at].copy_from_slice(table.bytes());
        bytes[body_at..body_at + self.body.bytes().len()].copy_from_slice(self.body.bytes());
        let first = self.first.take().expect("a page has a stretch");
        self.anchors.clear();
        self.body.clear();
        self.entries = 0;
        FinishedPage { first, bytes }
    }
}
