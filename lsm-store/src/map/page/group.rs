//! A group of a page: up to 32 stretches as columns of fields, each column of a width that fits its largest value.

use super::super::bits::{BitWriter, WIDTH_MAX, read_bits, width_of};
use super::{Anchor, GROUP_MAX, PAGE_BYTES, Page, Stretch, Target, key_of, slot};
use crate::id::{Location, SegmentId};

/// Widths of the fields of a group's header, in order: stretches less one, gap, count, kinds, layer, places, segment, slot.
const COUNT_WIDTH: u32 = 5;
const WIDTH_WIDTH: u32 = 6;
const MODE_WIDTH: u32 = 2;
const SLOT_WIDTH_WIDTH: u32 = 5;
const HEADER_WIDTH: u32 = COUNT_WIDTH + 4 * WIDTH_WIDTH + 2 * MODE_WIDTH + SLOT_WIDTH_WIDTH;

/// Values of `kinds`, and of the column of kinds if there is one.
const KIND_DATA: u32 = 0;
const KIND_ZERO: u32 = 1;
const KIND_HOLE: u32 = 2;
/// Value of `kinds` when the group is of several kinds and has a column of them.
const KINDS_MIXED: u32 = 3;

/// Values of `places`: which data stretches carry a segment and slot instead of continuing where the one before ended.
const PLACES_FIRST: u32 = 0;
const PLACES_FLAGGED: u32 = 1;
const PLACES_ALL: u32 = 2;

/// Widths and modes of a group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    count: usize,
    gap_width: u32,
    count_width: u32,
    kinds: u32,
    layer_width: u32,
    places: u32,
    segment_width: u32,
    slot_width: u32,
    /// Bit i: stretch i has a place of its own. Encoder only.
    placed: u32,
    /// The smallest segment; the group's segments are stored relative to it. Encoder only.
    pub(super) segment: Option<u32>,
}

fn kind_of(target: Target) -> u32 {
    match target {
        Target::Data(_) => KIND_DATA,
        Target::Zero => KIND_ZERO,
        Target::Hole => KIND_HOLE,
    }
}

/// Gap before `next`, counted from the end of `previous`, or from block 0 if a layer begins.
fn gap(previous: &Stretch, next: &Stretch) -> u64 {
    if previous.layer == next.layer { next.first.0 - previous.end().0 } else { next.first.0 }
}

impl Shape {
    /// The smallest shape that holds `stretches` (1 to 32, in order).
    pub(super) fn measure(stretches: &[Stretch]) -> Self {
        let (mut gaps, mut counts, mut layers, mut slots, mut kinds) = (0, 0, 0, 0, 0u32);
        let (mut placed, mut data, mut low, mut high) = (0u32, 0u32, u32::MAX, 0);
        let mut expected = None;
        for (at, stretch) in stretches.iter().enumerate() {
            if at > 0 {
                gaps |= gap(&stretches[at - 1], stretch);
                layers |= stretch.layer.0 - stretches[at - 1].layer.0;
            }
            counts |= stretch.count - 1;
            kinds |= 1 << kind_of(stretch.target);
            let Target::Data(place) = stretch.target else { continue };
            data |= 1 << at;
            if expected != Some(place.to_bits()) {
                placed |= 1 << at;
                slots |= u64::from(place.slot.0);
                (low, high) = (low.min(place.segment.0), high.max(place.segment.0));
            }
            expected = end_of(place, stretch.count);
        }
        let kinds = if kinds.is_power_of_two() { kinds.trailing_zeros() } else { KINDS_MIXED };
        let places = match placed.count_ones() {
            0 | 1 => PLACES_FIRST,
            _ if placed == data => PLACES_ALL,
            _ => PLACES_FLAGGED,
        };
        Self {
            count: stretches.len(),
            gap_width: width_of(gaps),
            count_width: width_of(counts),
            kinds,
            layer_width: width_of(layers),
            places,
            segment_width: width_of(u64::from(high.saturating_sub(low))),
            slot_width: width_of(slots),
            placed,
            segment: (placed != 0).then_some(low),
        }
    }

    /// Bits the group takes, its header included; `None` if a field would be too wide.
    pub(super) fn bits(&self) -> Option<usize> {
        let columns = Columns::new(self, HEADER_WIDTH as usize);
        let places = self.placed.count_ones() * (self.segment_width + self.slot_width);
        (self.layer_width <= WIDTH_MAX).then_some(columns.places + places as usize)
    }

    /// Appends the group; `stretches` are those it was measured from.
    pub(super) fn write(&self, stretches: &[Stretch], out: &mut BitWriter) {
        out.put(self.count as u64 - 1, COUNT_WIDTH);
        out.put(self.gap_width.into(), WIDTH_WIDTH);
        out.put(self.count_width.into(), WIDTH_WIDTH);
        out.put(self.kinds.into(), MODE_WIDTH);
        out.put(self.layer_width.into(), WIDTH_WIDTH);
        out.put(self.places.into(), MODE_WIDTH);
        out.put(self.segment_width.into(), WIDTH_WIDTH);
        out.put(self.slot_width.into(), SLOT_WIDTH_WIDTH);
        if self.layer_width > 0 {
            stretches.windows(2).for_each(|pair| out.put(pair[1].layer.0 - pair[0].layer.0, self.layer_width));
        }
        if self.gap_width > 0 {
            stretches.windows(2).for_each(|pair| out.put(gap(&pair[0], &pair[1]), self.gap_width));
        }
        if self.count_width > 0 {
            stretches.iter().for_each(|stretch| out.put(stretch.count - 1, self.count_width));
        }
        if self.kinds == KINDS_MIXED {
            stretches.iter().for_each(|stretch| out.put(kind_of(stretch.target).into(), MODE_WIDTH));
        }
        if self.places == PLACES_FLAGGED {
            out.put(self.placed.into(), stretches.len() as u32);
        }
        self.write_places(stretches, out);
    }

    fn write_places(&self, stretches: &[Stretch], out: &mut BitWriter) {
        let base = self.segment.unwrap_or_default();
        for (at, stretch) in stretches.iter().enumerate() {
            if let (Target::Data(place), true) = (stretch.target, self.placed >> at & 1 == 1) {
                let segment = u64::from(place.segment.0 - base);
                out.put(segment | u64::from(place.slot.0) << self.segment_width, self.segment_width + self.slot_width);
            }
        }
    }

    /// Reads the header at bit `at`.
    fn read(page: &[u8; PAGE_BYTES], at: usize) -> Self {
        let header = read_bits(page, at, HEADER_WIDTH);
        let mut shift = 0;
        let mut field = |width: u32| {
            let value = header >> shift & ((1 << width) - 1);
            shift += width;
            value as u32
        };
        Self {
            count: field(COUNT_WIDTH) as usize + 1,
            gap_width: field(WIDTH_WIDTH),
            count_width: field(WIDTH_WIDTH),
            kinds: field(MODE_WIDTH),
            layer_width: field(WIDTH_WIDTH),
            places: field(MODE_WIDTH),
            segment_width: field(WIDTH_WIDTH),
            slot_width: field(SLOT_WIDTH_WIDTH),
            placed: 0,
            segment: None,
        }
    }

    fn is_possible(&self) -> bool {
        self.gap_width <= WIDTH_MAX
            && self.count_width <= WIDTH_MAX
            && self.layer_width <= WIDTH_MAX
            && self.segment_width <= 32
            && self.slot_width <= 16
            && self.places <= PLACES_ALL
    }
}

/// Where the place behind a data stretch is, unless that is behind the largest segment.
fn end_of(place: Location, count: u64) -> Option<u64> {
    let end = u64::from(place.slot.0) + count;
    (end <= u64::from(u16::MAX)).then(|| place.to_bits() + count)
}

/// Where the columns of a group begin, in bits of the page.
#[derive(Clone, Copy, Default)]
struct Columns {
    layers: usize,
    gaps: usize,
    counts: usize,
    kinds: usize,
    flags: usize,
    places: usize,
}

impl Columns {
    fn new(shape: &Shape, layers: usize) -> Self {
        let steps = shape.count - 1;
        let gaps = layers + steps * shape.layer_width as usize;
        let counts = gaps + steps * shape.gap_width as usize;
        let kinds = counts + shape.count * shape.count_width as usize;
        let flags = kinds + if shape.kinds == KINDS_MIXED { shape.count * MODE_WIDTH as usize } else { 0 };
        let places = flags + if shape.places == PLACES_FLAGGED { shape.count } else { 0 };
        Self { layers, gaps, counts, kinds, flags, places }
    }
}

/// Walks the stretches of a page, group by group.
pub(in crate::map) struct Cursor<'a> {
    page: Page<'a>,
    next_group: usize,
    shape: Shape,
    columns: Columns,
    flags: u32,
    at: usize,
    layer: u64,
    end: u64,
    segment_base: u32,
    place: (u32, u32),
    malformed: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(page: Page<'a>, group: usize) -> Self {
        Self {
            page,
            next_group: group,
            shape: Shape::default(),
            columns: Columns::default(),
            flags: 0,
            at: 0,
            layer: 0,
            end: 0,
            segment_base: 0,
            place: (0, 0),
            malformed: false,
        }
    }

    /// True if a field had a value that the format does not know.
    pub(super) fn malformed(&self) -> bool {
        self.malformed
    }

    fn enter(&mut self, anchor: Anchor) {
        let page = self.page.bytes;
        self.next_group += 1;
        self.shape = Shape::read(page, anchor.start);
        self.columns = Columns::new(&self.shape, anchor.start + HEADER_WIDTH as usize);
        self.flags = match self.shape.places {
            PLACES_FIRST => 0,
            PLACES_FLAGGED => read_bits(page, self.columns.flags, self.shape.count as u32) as u32,
            _ => u32::MAX,
        };
        (self.at, self.layer, self.end) = (0, anchor.layer, anchor.block);
        self.segment_base = anchor.segment;
        // No segment has this slot: the first data stretch must bring its own place.
        self.place = (0, u32::MAX);
        self.malformed |= !self.shape.is_possible() || self.columns.places > super::BODY_END * 8;
    }

    #[inline]
    fn first_block(&mut self) -> u64 {
        let (page, step) = (self.page.bytes, self.at.wrapping_sub(1));
        if self.at == 0 {
            return self.end;
        }
        if self.shape.layer_width > 0 {
            let delta =
                read_bits(page, self.columns.layers + step * self.shape.layer_width as usize, self.shape.layer_width);
            if delta > 0 {
                self.layer = self.layer.wrapping_add(delta);
                self.end = 0;
            }
        }
        let gap_at = self.columns.gaps + step * self.shape.gap_width as usize;
        self.end.wrapping_add(read_bits(page, gap_at, self.shape.gap_width))
    }

    #[inline]
    fn kind(&self) -> u32 {
        match self.shape.kinds {
            KINDS_MIXED => {
                read_bits(self.page.bytes, self.columns.kinds + self.at * MODE_WIDTH as usize, MODE_WIDTH) as u32
            }
            kind => kind,
        }
    }

    #[inline]
    fn data_place(&mut self, count: u64) -> Location {
        if self.flags >> self.at & 1 == 1 || self.place.1 == u32::MAX {
            let width = self.shape.segment_width + self.shape.slot_width;
            let field = read_bits(self.page.bytes, self.columns.places, width);
            self.columns.places += width as usize;
            let delta = (field & ((1 << self.shape.segment_width) - 1)) as u32;
            self.place = (self.segment_base.wrapping_add(delta), (field >> self.shape.segment_width) as u32);
        }
        let (segment, first) = self.place;
        self.malformed |= first > u32::from(u16::MAX);
        self.place.1 = first.wrapping_add(count as u32);
        Location { segment: SegmentId(segment), slot: slot(first) }
    }
}

impl Iterator for Cursor<'_> {
    type Item = Stretch;

    #[inline]
    fn next(&mut self) -> Option<Stretch> {
        if self.at == self.shape.count {
            if self.next_group >= self.page.groups {
                return None;
            }
            self.enter(self.page.anchor(self.next_group));
        }
        let first = self.first_block();
        let width = self.shape.count_width;
        let count = 1 + read_bits(self.page.bytes, self.columns.counts + self.at * width as usize, width);
        let target = match self.kind() {
            KIND_DATA => Target::Data(self.data_place(count)),
            KIND_ZERO => Target::Zero,
            kind => {
                self.malformed |= kind != KIND_HOLE;
                Target::Hole
            }
        };
        self.end = first.wrapping_add(count);
        self.at += 1;
        let key = key_of(self.layer, first);
        Some(Stretch { layer: key.layer, first: key.block, count, target })
    }
}

const _: () = assert!(GROUP_MAX == 1 << COUNT_WIDTH);
