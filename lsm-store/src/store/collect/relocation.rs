//! Copies living blocks out of condemned segments, in the order of the map, so that what is read together lies together.
//!
//! A frame is verified before it moves. If all of its blocks live it moves as it is; otherwise those that live are
//! compressed again, the way they were. What lives in cold segments is compressed in groups ([`group`]). Fingerprints come
//! from the directory, all 256 bits, and are kept.

mod group;
mod reads;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::cold::Packing;
use super::mark::Mark;
use super::survivors::Survivors;
use crate::codec::{Codec, Compressor, Decompressor};
use crate::error::{Error, Result};
use crate::id::{FamilyId, LayerId, Location, SegmentId, Slot};
use crate::map::rewrite::Moves;
use crate::map::version::VisiblePieces;
use crate::map::{Stretch, Target};
use crate::segment::{Class, FramePlace, Segment};
use crate::store::inner::Inner;
use group::Part;
use reads::{Reads, Unread};

/// Bytes of frames that are read together, while those before them are written in the order of the map.
const WINDOW_BYTES: usize = 1 << 20;

/// Bytes of one device read at most.
const READ_BYTES_MAX: u64 = 256 << 10;

/// Frames this near to each other are read in one go.
const GAP_BYTES_MAX: u64 = 8 << 10;

/// Segments whose frames are read together at most, each an open file.
const WINDOW_SEGMENTS_MAX: usize = 128;

/// A frame to move.
struct Wanted {
    segment: Arc<Segment>,
    place: FramePlace,
    /// Whose data it is, or, if it is shared, that of one of them.
    family: FamilyId,
    layer: LayerId,
    /// Which of the window's reads it is part of, and where.
    at: (usize, usize),
}

/// Frames that are being read.
struct Window {
    frames: Vec<Wanted>,
    reads: Vec<u64>,
}

/// Blocks on their way from condemned segments into new ones.
pub(super) struct Relocation<'a> {
    mark: &'a Mark,
    packing: &'a Packing,
    /// Of the layers met so far.
    codecs: FxHashMap<LayerId, Codec>,
    /// Those of the window's frames.
    segments: FxHashMap<SegmentId, Arc<Segment>>,
    pub(super) survivors: Survivors<'a>,
    window: Vec<Wanted>,
    window_bytes: usize,
    reads: Reads,
    under_way: Option<Window>,
    compressor: Compressor,
    decompressor: Decompressor,
    pub(super) reading: Reading,
}

/// Which segment is being read: if that fails, it is the one that is damaged.
#[derive(Default)]
pub(super) struct Reading(pub(super) Option<SegmentId>);

impl Reading {
    fn of<T>(&mut self, id: SegmentId, read: impl FnOnce() -> Result<T>) -> Result<T> {
        self.0 = Some(id);
        let found = read()?;
        self.0 = None;
        Ok(found)
    }

    fn failed(&mut self, Unread { segment, error }: Unread) -> Error {
        self.0 = segment;
        error
    }
}

impl<'a> Relocation<'a> {
    /// A relocation of what `mark` says lives in the segments it was taken of.
    ///
    /// # Errors
    /// `Io` if the machine gives no read queue.
    pub(super) fn new(inner: &'a Inner, mark: &'a Mark, packing: &'a Packing) -> Result<Self> {
        Ok(Self {
            mark,
            packing,
            codecs: FxHashMap::default(),
            segments: FxHashMap::default(),
            survivors: Survivors::new(inner),
            window: Vec::new(),
            window_bytes: 0,
            reads: Reads::new(&*inner.device)?,
            under_way: None,
            compressor: Compressor::new(),
            decompressor: Decompressor::new(),
            reading: Reading::default(),
        })
    }

    /// Moves what `visible` refers to, everything that any root sees, in order, out of `victims`. On success the new
    /// segments are sealed and durable, and no commit names them yet.
    pub(super) fn run(&mut self, victims: &[SegmentId], visible: VisiblePieces) -> Result<()> {
        for (id, slots) in self.survivors.inner.slots_of(victims) {
            self.survivors.table.add(id, slots);
        }
        visible.visit(|stretch| {
            let Target::Data(first) = stretch.target else { return Ok(()) };
            if !self.survivors.table.concerns(first.segment) {
                return Ok(());
            }
            let slots = (0..stretch.count).map(|step| Slot(first.slot.0 + step as u16));
            slots.map(|slot| Location { slot, ..first }).try_for_each(|location| self.want(stretch, location))
        })?;
        self.turn_window()?;
        self.turn_window()?;
        self.survivors.finish()
    }

    /// Puts the frame of a living block of `stretch` into the window, unless it is there or has moved.
    fn want(&mut self, stretch: &Stretch, location: Location) -> Result<()> {
        if !self.survivors.table.is_unmoved(location) {
            return Ok(());
        }
        let Location { segment: id, slot } = location;
        let segment = self.segment(id)?;
        let place = self.reading.of(id, || segment.locate(slot))?;
        for slot in living(self.mark, id, place) {
            self.survivors.table.wait(Location { segment: id, slot });
        }
        assert!(!self.survivors.table.is_unmoved(location), "what is seen now was seen when {location:?} was marked");
        self.window_bytes += place.len as usize;
        let Stretch { family, layer, .. } = *stretch;
        self.window.push(Wanted { segment, place, family, layer, at: (0, 0) });
        let is_full = self.window_bytes >= WINDOW_BYTES || self.segments.len() >= WINDOW_SEGMENTS_MAX;
        if is_full { self.turn_window() } else { Ok(()) }
    }

    /// A victim, opened if the window has no frame of it yet.
    fn segment(&mut self, id: SegmentId) -> Result<Arc<Segment>> {
        if let Some(segment) = self.segments.get(&id) {
            return Ok(Arc::clone(segment));
        }
        let segment = self.reading.of(id, || self.survivors.inner.segments.segment(id))?;
        self.segments.insert(id, Arc::clone(&segment));
        Ok(segment)
    }

    /// Begins to read the frames that were found, and moves those that were found before them.
    fn turn_window(&mut self) -> Result<()> {
        self.survivors.inner.go_on_collecting()?;
        let next = self.begin_window()?;
        match self.under_way.replace(next) {
            Some(window) => self.move_window(&window),
            None => Ok(()),
        }
    }

    fn move_window(&mut self, window: &Window) -> Result<()> {
        let mut buffers = Vec::with_capacity(window.reads.len());
        for read in &window.reads {
            buffers.push(self.reads.take(*read).map_err(|unread| self.reading.failed(unread))?);
        }
        let mut group: Vec<Part<'_>> = Vec::new();
        for wanted in &window.frames {
            let (buffer, start) = wanted.at;
            let part = self.part(wanted, &buffers[buffer][start..start + wanted.place.len as usize])?;
            match self.is_to_be_packed(wanted) {
                true => self.pack(&mut group, part)?,
                false => self.move_part(&part)?,
            }
        }
        self.move_group(&group)?;
        drop(group);
        buffers.into_iter().for_each(|buffer| self.reads.recycle(buffer));
        Ok(())
    }

    /// Reads the frames that were found, in the order in which they lie on disk.
    fn begin_window(&mut self) -> Result<Window> {
        let mut frames = std::mem::take(&mut self.window);
        self.window_bytes = 0;
        self.segments.clear();
        let mut order: Vec<_> = (0..frames.len()).collect();
        order.sort_by_key(|index| (frames[*index].segment.id(), frames[*index].place.offset));
        let mut extracts: Vec<(Arc<Segment>, u64, u64)> = Vec::new();
        for index in order {
            let Wanted { segment, place, at, .. } = &mut frames[index];
            let (offset, len) = place.aligned_range(segment.file().alignment().max(1));
            let end = offset + len as u64;
            let near = extracts.last_mut().filter(|(before, from, to)| {
                before.id() == segment.id() && offset <= *to + GAP_BYTES_MAX && end - *from <= READ_BYTES_MAX
            });
            let from = match near {
                Some((_, from, to)) => {
                    *to = (*to).max(end);
                    *from
                }
                None => {
                    extracts.push((Arc::clone(segment), offset, end));
                    offset
                }
            };
            *at = (extracts.len() - 1, (u64::from(place.offset) - from) as usize);
        }
        let begin =
            |(segment, from, to): &(Arc<Segment>, u64, u64)| self.reads.begin(segment, *from, (to - from) as usize);
        let reads = extracts.iter().map(begin).collect();
        self.reads.settle().map_err(|unread| self.reading.failed(unread))?;
        Ok(Window { frames, reads })
    }

    /// True if the frame goes into a group: its segment is cold, and its volume lets its data be compressed.
    fn is_to_be_packed(&mut self, wanted: &Wanted) -> bool {
        self.class_of(wanted.segment.id()) == Class::Cold && self.codec_of(wanted.layer) != Codec::None
    }

    /// What kind of segment takes what lives in a victim.
    fn class_of(&self, victim: SegmentId) -> Class {
        if self.packing.segments.contains(&victim) { Class::Cold } else { Class::Survivor }
    }

    fn codec_of(&mut self, layer: LayerId) -> Codec {
        *self.codecs.entry(layer).or_insert_with(|| self.survivors.inner.codec_of(layer))
    }
}

/// The slots of a frame that somebody sees.
fn living(mark: &Mark, id: SegmentId, place: FramePlace) -> impl Iterator<Item = Slot> {
    let live = mark.slots(id).expect("victims are marked");
    let slots = (0..u16::from(place.blocks)).map(move |step| Slot(place.first.0 + step));
    slots.filter(|slot| live.contains(*slot))
}
