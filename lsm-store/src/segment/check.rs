//! Full verification of one segment: every page, every frame, every block against its fingerprint.
//!
//! A check reports what it finds and goes on; it neither panics nor stops at the first damage.

use std::ops::Range;

use super::directory::Directory;
use super::frame::{FRAME_BYTES_MAX, FramePlace};
use super::open::{Segment, page_of};
use super::set::Segments;
use super::trailer;
use crate::checksum::PAGE_BYTES;
use crate::codec::Decompressor;
use crate::device::AlignedBuffer;
use crate::error::{Error, Result};
use crate::fingerprint::{Fingerprint, fingerprint_blocks};
use crate::id::{BLOCK_BYTES, SegmentId, Slot};

/// Bytes read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// Blocks hashed at once, beside those of the frame that fills the batch up.
const BATCH_BLOCKS: usize = 16;

/// What does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DamageKind {
    /// The header. Nothing is lost: the footer repeats it.
    Header,
    /// The footer, or the whole file: nothing of the segment can be found.
    Footer,
    /// A page of the slot table: its slots cannot be found.
    SlotTable,
    /// A page of fingerprints: its slots can be read, but not be deduplicated against.
    Fingerprints,
    /// The directory as a whole contradicts the footer.
    Directory,
    /// A frame: its slots cannot be read.
    Frame,
    /// A block that is not the one its fingerprint names, in an intact frame.
    Content,
    /// The device did not give the bytes.
    Unreadable,
}

/// One damaged place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// First damaged byte of the file.
    pub offset: u32,
    /// How many bytes; 0 if that is not known.
    pub bytes: u32,
    /// The slots it touches: none if nothing is lost, all that a segment can have if nothing of it can be read.
    pub slots: Range<u32>,
    /// What does not hold.
    pub kind: DamageKind,
}

/// The result of a check.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Check {
    /// Blocks that were read, decoded and compared with their fingerprint, without a finding.
    pub blocks_good: u32,
    /// What was found, by offset within each kind.
    pub damages: Vec<Damage>,
}

/// Verifies all of segment `id`. Reads it whole, in pieces of 1 MiB, past all caches.
///
/// # Errors
/// [`Error::Unsupported`] if this version cannot judge the segment, and I/O errors of opening it. Everything else is
/// damage.
pub fn check(segments: &Segments, id: SegmentId) -> Result<Check> {
    check_paced(segments, id, &mut |_| Ok(()))
}

/// As [`check`]; `go_on` hears of the bytes it goes through, a frame or a directory at a time, and may take its time over it.
///
/// # Errors
/// As [`check`], and those of `go_on`, which end it.
pub fn check_paced(segments: &Segments, id: SegmentId, go_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<Check> {
    let all = 0..super::SLOTS_MAX;
    let whole = |kind| Check { damages: vec![Damage { offset: 0, bytes: 0, slots: all, kind }], ..Check::default() };
    let summary = match segments.summary(id) {
        Ok(summary) => summary,
        Err(Error::Corrupt { .. }) => return Ok(whole(DamageKind::Footer)),
        Err(error) => return Err(error),
    };
    let segment = segments.segment(id)?;
    if *segment.geometry() != summary.geometry {
        return Ok(whole(DamageKind::Footer));
    }
    go_on(u64::from(summary.geometry.file_bytes() - summary.geometry.frames_end()))?;
    let directory = match Directory::read(&segment) {
        Ok(directory) => directory,
        Err(_) => return Ok(whole(DamageKind::Unreadable)),
    };
    let mut checker = Checker::new(&segment, &directory);
    checker.check_header()?;
    checker.check_directory(&segment.footer()?.directory_digest);
    for page in directory.slot_pages() {
        for place in page.frames(Slot(page.slots().start as u16), Slot(u16::MAX)) {
            go_on(place.len.into())?;
            checker.check_frame(&place);
        }
    }
    checker.compare_batch();
    if checker.blocks_seen != summary.blocks && directory.damages().is_empty() {
        let offset = summary.geometry.slot_table_offset();
        checker.report(offset, 0, 0..0, DamageKind::Directory);
    }
    Ok(checker.check)
}

struct Checker<'a> {
    segment: &'a Segment,
    directory: &'a Directory,
    decompressor: Decompressor,
    window: Option<(u64, AlignedBuffer)>,
    /// Decoded blocks that wait to be hashed together, and where they are.
    batch: Vec<u8>,
    batch_slots: Vec<(Slot, FramePlace)>,
    blocks_seen: u32,
    check: Check,
}

impl<'a> Checker<'a> {
    fn new(segment: &'a Segment, directory: &'a Directory) -> Self {
        let check = Check { blocks_good: 0, damages: directory.damages().to_vec() };
        let decompressor = Decompressor::new();
        let (batch, batch_slots) = (Vec::new(), Vec::new());
        Self { segment, directory, decompressor, window: None, batch, batch_slots, blocks_seen: 0, check }
    }

    fn check_header(&mut self) -> Result<()> {
        let page = self.segment.read(0, PAGE_BYTES);
        let header =
            page.and_then(|page| trailer::decode_header(self.segment.store(), self.segment.id(), page_of(&page, 0)));
        match header {
            Ok(_) => {}
            Err(Error::Corrupt { .. }) => self.report(0, PAGE_BYTES as u32, 0..0, DamageKind::Header),
            Err(error @ Error::Unsupported { .. }) => return Err(error),
            Err(_) => self.report(0, PAGE_BYTES as u32, 0..0, DamageKind::Unreadable),
        }
        Ok(())
    }

    fn check_directory(&mut self, digest: &[u8; 32]) {
        if self.directory.damages().is_empty() && self.directory.digest() != digest {
            let geometry = self.segment.geometry();
            let bytes = geometry.footer_offset() - geometry.slot_table_offset();
            self.report(geometry.slot_table_offset(), bytes, 0..geometry.slots(), DamageKind::Directory);
        }
    }

    fn check_frame(&mut self, place: &FramePlace) {
        self.blocks_seen += u32::from(place.blocks);
        let start = self.batch.len();
        self.batch.resize(start + place.decoded_bytes(), 0);
        let decoded = match self.read_frame(place) {
            Err(_) => Err(DamageKind::Unreadable),
            Ok(()) => {
                let (offset, window) = self.window.as_ref().expect("the frame was read");
                let at = (u64::from(place.offset) - offset) as usize;
                let bytes = &window[at..at + place.len as usize];
                let out = &mut self.batch[start..];
                self.segment.decode(place, bytes, &mut self.decompressor, out).map_err(|_| DamageKind::Frame)
            }
        };
        match decoded {
            Ok(()) => {
                let slots = (0..u16::from(place.blocks)).map(|index| (Slot(place.first.0 + index), *place));
                self.batch_slots.extend(slots);
            }
            Err(kind) => {
                self.batch.truncate(start);
                self.report_frame(place, kind);
            }
        }
        if self.batch_slots.len() >= BATCH_BLOCKS {
            self.compare_batch();
        }
    }

    /// Makes the window hold the frame.
    fn read_frame(&mut self, place: &FramePlace) -> Result<()> {
        let end = u64::from(place.offset + place.len);
        let holds = |(offset, window): &(u64, AlignedBuffer)| {
            *offset <= u64::from(place.offset) && end <= offset + window.len() as u64
        };
        if self.window.as_ref().is_some_and(holds) {
            return Ok(());
        }
        let (offset, len) = place.aligned_range(PAGE_BYTES);
        let file_bytes = u64::from(self.segment.geometry().file_bytes());
        let wide = WINDOW_BYTES.min((file_bytes - offset) as usize);
        // A bad sector must not cost its neighbours: what cannot be read with them is read alone.
        let window = self.segment.read(offset, wide).or_else(|_| self.segment.read(offset, len))?;
        self.window = Some((offset, window));
        Ok(())
    }

    fn compare_batch(&mut self) {
        let (blocks, _) = self.batch.as_chunks::<BLOCK_BYTES>();
        let blocks: Vec<_> = blocks.iter().collect();
        let mut found = vec![Fingerprint([0; 32]); blocks.len()];
        fingerprint_blocks(&blocks, &mut found);
        for ((slot, place), found) in std::mem::take(&mut self.batch_slots).into_iter().zip(found) {
            match self.directory.fingerprint(slot) {
                Some(expected) if expected != found => {
                    let slots = u32::from(slot.0)..u32::from(slot.0) + 1;
                    self.report(place.offset, place.len, slots, DamageKind::Content);
                }
                // Without its fingerprint a block cannot be judged; the missing page is damage already.
                None => {}
                Some(_) => self.check.blocks_good += 1,
            }
        }
        self.batch.clear();
    }

    fn report_frame(&mut self, place: &FramePlace, kind: DamageKind) {
        let first = u32::from(place.first.0);
        self.report(place.offset, place.len, first..first + u32::from(place.blocks), kind);
    }

    fn report(&mut self, offset: u32, bytes: u32, slots: Range<u32>, kind: DamageKind) {
        self.check.damages.push(Damage { offset, bytes, slots, kind });
    }
}

const _: () = assert!(WINDOW_BYTES >= FRAME_BYTES_MAX + 2 * PAGE_BYTES);
