//! A group of a page: up to 32 stretches as columns of fields, each column of a width that fits its largest value.

use super::super::bits::{BitWriter, WIDTH_MAX, read_bits, width_of};
use super::{Anchor, GROUP_MAX, Key, PAGE_BYTES, Page, Place, Stretch, Target, slot};
use crate::id::{BlockIndex, FamilyId, LayerId, Location, SegmentId};

/// Widths of the fields of a group's header, in order: stretches less one, versions, gap, count, kinds, family, layer,
/// places, segment, slot.
const COUNT_WIDTH: u32 = 5;
const VERSIONS_WIDTH: u32 = 1;
const WIDTH_WIDTH: u32 = 6;
const MODE_WIDTH: u32 = 2;
const SLOT_WIDTH_WIDTH: u32 = 5;
const HEADER_WIDTH: u32 = COUNT_WIDTH + VERSIONS_WIDTH + 5 * WIDTH_WIDTH + 2 * MODE_WIDTH + SLOT_WIDTH_WIDTH;

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
    /// Some stretches are versions of the blocks of those before them: there is a column that says which.
    versions: bool,
    gap_width: u32,
    count_width: u32,
    kinds: u32,
    family_width: u32,
    layer_width: u32,
    places: u32,
    segment_width: u32,
    slot_width: u32,
    /// Bit i: stretch i is a version of the blocks of the one before.
    beside: u32,
    /// Bit i: stretch i has a place of its own. Encoder only.
    placed: u32,
    /// The smallest layer; the group's layers are stored relative to it. Encoder only.
    pub(super) layer: u64,
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

/// Gap before `next`, counted from the end of `previous`, or from block 0 if a family begins.
fn gap(previous: &Stretch, next: &Stretch) -> u64 {
    if previous.family == next.family { next.first.0 - previous.end().0 } else { next.first.0 }
}

impl Shape {
    /// The smallest shape that holds `stretches` (1 to 32, in order).
    pub(super) fn measure(stretches: &[Stretch]) -> Self {
        let (mut gaps, mut counts, mut families, mut slots, mut kinds, mut beside) = (0, 0, 0, 0, 0u32, 0u32);
        let (mut oldest, mut newest) = (u64::MAX, 0);
        let (mut placed, mut data, mut low, mut high) = (0u32, 0u32, u32::MAX, 0);
        let mut expected = None;
        for (at, stretch) in stretches.iter().enumerate() {
            (oldest, newest) = (oldest.min(stretch.layer.0), newest.max(stretch.layer.0));
            if at > 0 && stretch.is_beside(&stretches[at - 1]) {
                beside |= 1 << at;
            } else if at > 0 {
                gaps |= gap(&stretches[at - 1], stretch);
                families |= stretch.family.0 - stretches[at - 1].family.0;
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
            versions: beside != 0,
            gap_width: width_of(gaps),
            count_width: width_of(counts),
            kinds,
            family_width: width_of(families),
            layer_width: width_of(newest - oldest),
            places,
            segment_width: width_of(u64::from(high.saturating_sub(low))),
            slot_width: width_of(slots),
            beside,
            placed,
            layer: oldest,
            segment: (placed != 0).then_some(low),
        }
    }

    /// Bits the group takes, its header included; `None` if a field would be too wide.
    pub(super) fn bits(&self) -> Option<usize> {
        let columns = Columns::new(self, HEADER_WIDTH as usize);
        let places = self.placed.count_ones() * (self.segment_width + self.slot_width);
        (self.family_width.max(self.layer_width) <= WIDTH_MAX).then_some(columns.places + places as usize)
    }

    /// Appends the group; `stretches` are those it was measured from.
    pub(super) fn write(&self, stretches: &[Stretch], out: &mut BitWriter) {
        out.put(self.count as u64 - 1, COUNT_WIDTH);
        out.put((self.beside != 0).into(), VERSIONS_WIDTH);
        out.put(self.gap_width.into(), WIDTH_WIDTH);
        out.put(self.count_width.into(), WIDTH_WIDTH);
        out.put(self.kinds.into(), MODE_WIDTH);
        out.put(self.family_width.into(), WIDTH_WIDTH);
        out.put(self.layer_width.into(), WIDTH_WIDTH);
        out.put(self.places.into(), MODE_WIDTH);
        out.put(self.segment_width.into(), WIDTH_WIDTH);
        out.put(self.slot_width.into(), SLOT_WIDTH_WIDTH);
        if self.beside != 0 {
            out.put(self.beside.into(), self.count as u32);
        }
        let apart = |at: &usize| self.beside >> at & 1 == 0;
        if self.family_width > 0 {
            (1..self.count).filter(apart).for_each(|at| {
                out.put(stretches[at].family.0 - stretches[at - 1].family.0, self.family_width);
            });
        }
        if self.gap_width > 0 {
            let gap = |at: usize| gap(&stretches[at - 1], &stretches[at]);
            (1..self.count).filter(apart).for_each(|at| out.put(gap(at), self.gap_width));
        }
        if self.count_width > 0 {
            (0..self.count).filter(apart).for_each(|at| out.put(stretches[at].count - 1, self.count_width));
        }
        if self.layer_width > 0 {
            stretches.iter().for_each(|stretch| out.put(stretch.layer.0 - self.layer, self.layer_width));
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
        let count = field(COUNT_WIDTH) as usize + 1;
        let versions = field(VERSIONS_WIDTH) == 1;
        Self {
            count,
            beside: if versions { read_bits(page, at + HEADER_WIDTH as usize, count as u32) as u32 } else { 0 },
            versions,
            gap_width: field(WIDTH_WIDTH),
            count_width: field(WIDTH_WIDTH),
            kinds: field(MODE_WIDTH),
            family_width: field(WIDTH_WIDTH),
            layer_width: field(WIDTH_WIDTH),
            places: field(MODE_WIDTH),
            segment_width: field(WIDTH_WIDTH),
            slot_width: field(SLOT_WIDTH_WIDTH),
            placed: 0,
            layer: 0,
            segment: None,
        }
    }

    fn is_possible(&self) -> bool {
        // The first of a group has none before it in the group.
        self.beside & 1 == 0
            && self.family_width <= WIDTH_MAX
            && self.gap_width <= WIDTH_MAX
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

/// Where the columns of a group begin, in bits of the page; in a cursor, where their next fields are.
#[derive(Clone, Copy, Default)]
struct Columns {
    families: usize,
    gaps: usize,
    counts: usize,
    layers: usize,
    kinds: usize,
    flags: usize,
    places: usize,
}

impl Columns {
    fn new(shape: &Shape, header_end: usize) -> Self {
        let families = header_end + if shape.versions { shape.count } else { 0 };
        let apart = shape.count - (shape.beside.count_ones() as usize).min(shape.count - 1);
        let gaps = families + (apart - 1) * shape.family_width as usize;
        let counts = gaps + (apart - 1) * shape.gap_width as usize;
        let layers = counts + apart * shape.count_width as usize;
        let kinds = layers + shape.count * shape.layer_width as usize;
        let flags = kinds + if shape.kinds == KINDS_MIXED { shape.count * MODE_WIDTH as usize } else { 0 };
        let places = flags + if shape.places == PLACES_FLAGGED { shape.count } else { 0 };
        Self { families, gaps, counts, layers, kinds, flags, places }
    }
}

/// The field at `at`, which goes on to the next.
#[inline]
fn next_field(page: &[u8; PAGE_BYTES], at: &mut usize, width: u32) -> u64 {
    let field = read_bits(page, *at, width);
    *at += width as usize;
    field
}

/// Walks the stretches of a page, group by group.
pub(in crate::map) struct Cursor<'a> {
    page: Page<'a>,
    next_group: usize,
    shape: Shape,
    columns: Columns,
    flags: u32,
    at: usize,
    /// All stretches are data with places of their own.
    plain: bool,
    family: u64,
    first: u64,
    count: u64,
    layer_base: u64,
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
            plain: false,
            family: 0,
            first: 0,
            count: 0,
            layer_base: 0,
            segment_base: 0,
            place: (0, 0),
            malformed: false,
        }
    }

    /// The group that comes next.
    pub(in crate::map) fn group(&self) -> usize {
        self.next_group
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
        self.at = 0;
        self.plain = self.shape.kinds == KIND_DATA && self.shape.places == PLACES_ALL;
        (self.family, self.first, self.count) = (anchor.family, anchor.block, 0);
        self.layer_base = anchor.layer;
        self.segment_base = anchor.segment;
        // No segment has this slot: the first data stretch must bring its own place.
        self.place = (0, u32::MAX);
        self.malformed |= !self.shape.is_possible() || self.columns.places > super::BODY_END * 8;
        self.shape.beside &= !1;
    }

    /// Goes to the blocks behind those of the stretch before.
    #[inline]
    fn next_blocks(&mut self) {
        let page = self.page.bytes;
        if self.at > 0 {
            self.first = self.first.wrapping_add(self.count);
            if self.shape.family_width > 0 {
                let delta = next_field(page, &mut self.columns.families, self.shape.family_width);
                if delta > 0 {
                    self.family = self.family.wrapping_add(delta);
                    self.first = 0;
                }
            }
            let gap = next_field(page, &mut self.columns.gaps, self.shape.gap_width);
            self.first = self.first.wrapping_add(gap);
        }
        self.count = match self.shape.count_width {
            0 => 1,
            width => 1 + next_field(page, &mut self.columns.counts, width),
        };
    }

    /// Layer of the stretch at hand, or at the beginning of a group of its first.
    #[inline]
    fn layer(&self) -> u64 {
        match self.shape.layer_width {
            0 => self.layer_base,
            width => self.layer_base.wrapping_add(read_bits(self.page.bytes, self.columns.layers, width)),
        }
    }

    /// Layer of the next stretch; 0 if there is none.
    pub(super) fn next_layer(&mut self) -> u64 {
        if self.enter_next() { self.layer() } else { 0 }
    }

    /// True if the group at hand is used up, and the next begins with versions of the same blocks.
    #[inline]
    pub(in crate::map) fn breaks_off(&self, stretch: &Stretch) -> bool {
        self.at == self.shape.count && self.next_group_begins_with(stretch)
    }

    fn next_group_begins_with(&self, stretch: &Stretch) -> bool {
        self.next_group < self.page.groups
            && self.page.anchor_key(self.next_group) == (stretch.family.0, stretch.first.0)
    }

    /// Goes on with the last group that begins at or before `place`, but not back.
    pub(in crate::map) fn skip_to(&mut self, place: Place) {
        if self.next_group < self.page.groups {
            *self = Self::new(self.page, self.page.group_near(place, self.next_group));
        }
    }

    /// Enters the next group if the one at hand is used up; false if there is none.
    #[inline]
    fn enter_next(&mut self) -> bool {
        if self.at < self.shape.count {
            return true;
        }
        let is_there = self.next_group < self.page.groups;
        if is_there {
            self.enter(self.page.anchor(self.next_group));
        }
        is_there
    }

    /// Finds out which blocks the next stretch covers; false if there is none.
    #[inline]
    fn next_apart(&mut self) -> bool {
        let is_there = self.enter_next();
        if is_there && self.shape.beside >> self.at & 1 == 0 {
            self.next_blocks();
        }
        is_there
    }

    /// The stretch of which the blocks are known.
    #[inline]
    fn stretch(&mut self) -> Stretch {
        let layer = LayerId(self.layer());
        self.columns.layers += self.shape.layer_width as usize;
        let target = if self.plain { Target::Data(self.own_place()) } else { self.target() };
        self.at += 1;
        Stretch { family: FamilyId(self.family), layer, first: BlockIndex(self.first), count: self.count, target }
    }

    /// The next stretch that reaches `key` or lies behind it, and whether there was one before it.
    #[inline]
    pub(in crate::map) fn next_reaching(&mut self, key: Key) -> Option<(Stretch, bool)> {
        let mut passed = false;
        while self.next_apart() {
            if (self.family, self.first + (self.count - 1)) >= (key.family.0, key.block.0) {
                return Some((self.stretch(), passed));
            }
            passed = true;
            // Where every stretch has a place of its own, nothing of what is passed by needs to be read.
            if self.plain {
                self.columns.places += (self.shape.segment_width + self.shape.slot_width) as usize;
                self.columns.layers += self.shape.layer_width as usize;
                self.at += 1;
            } else {
                self.stretch();
            }
        }
        None
    }

    #[inline]
    fn target(&mut self) -> Target {
        let kind = match self.shape.kinds {
            KINDS_MIXED => next_field(self.page.bytes, &mut self.columns.kinds, MODE_WIDTH) as u32,
            kind => kind,
        };
        match kind {
            KIND_DATA => Target::Data(self.data_place(self.count)),
            KIND_ZERO => Target::Zero,
            kind => {
                self.malformed |= kind != KIND_HOLE;
                Target::Hole
            }
        }
    }

    /// The place of a data stretch that has one of its own.
    #[inline]
    fn own_place(&mut self) -> Location {
        let width = self.shape.segment_width + self.shape.slot_width;
        let field = next_field(self.page.bytes, &mut self.columns.places, width);
        let delta = (field & ((1 << self.shape.segment_width) - 1)) as u32;
        let first = (field >> self.shape.segment_width) as u32;
        Location { segment: SegmentId(self.segment_base.wrapping_add(delta)), slot: slot(first) }
    }

    #[inline]
    fn data_place(&mut self, count: u64) -> Location {
        if self.flags >> self.at & 1 == 1 || self.place.1 == u32::MAX {
            let Location { segment, slot } = self.own_place();
            self.place = (segment.0, slot.0.into());
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
        self.next_apart().then(|| self.stretch())
    }
}

const _: () = assert!(GROUP_MAX == 1 << COUNT_WIDTH);
