//! A sealed segment, open for reading.
//!
//! Slot-table and fingerprint pages come through the page cache; frames are read by the caller, who knows what to read
//! together and must not block: [`Segment::frame`] and [`Segment::decode`] only compute.

use std::sync::Arc;

use super::fingerprint_page::{self, FINGERPRINTS_KIND};
use super::frame::{self, FRAME_KIND, Frame, FramePlace};
use super::geometry::Geometry;
use super::heat::Heat;
use super::path;
use super::slot_table::{self, SLOT_TABLE_KIND, SlotPage};
use super::trailer::{self, Footer};
use crate::checksum::{PAGE_BYTES, Seal};
use crate::codec::Decompressor;
use crate::device::{Access, AlignedBuffer, Device, File};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::id::{SegmentId, Slot, StoreId};
use crate::page_cache::{Page, PageCache, PageKey};

/// Pages read at once where a stream of duplicates is expected: 64 KiB, 2,032 fingerprints.
const READAHEAD_PAGES: u32 = 16;

/// How much to read when a fingerprint is not in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readahead {
    /// Its page: nothing is known about the next one.
    Page,
    /// 64 KiB from its page on: the slots behind it are likely next.
    Stream,
}

/// A sealed segment, open for reading by any number of threads.
pub struct Segment {
    id: SegmentId,
    store: StoreId,
    file: Arc<dyn File>,
    geometry: Geometry,
    cache: Arc<PageCache>,
    frame_seal: Seal,
    slot_seal: Seal,
    fingerprint_seal: Seal,
    heat: Arc<Heat>,
}

impl Segment {
    /// Opens a segment's file; reads its footer if its geometry is not `known`.
    pub(super) fn open(
        device: &dyn Device,
        cache: Arc<PageCache>,
        store: StoreId,
        id: SegmentId,
        known: Option<Geometry>,
    ) -> Result<Self> {
        let path = path(id);
        let file = device.open(&path, Access::Direct).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::corrupt(&path, 0, "the segment is missing"),
            _ => Error::io("opening", &path, error),
        })?;
        let geometry = match known {
            Some(geometry) => geometry,
            None => read_footer(&*file, store, id)?.geometry,
        };
        Ok(Self {
            id,
            store,
            file,
            geometry,
            cache,
            frame_seal: Seal::new(store, FRAME_KIND, id.0.into()),
            slot_seal: slot_table::seal(store, id),
            fingerprint_seal: fingerprint_page::seal(store, id),
            heat: Arc::default(),
        })
    }

    /// Shares the count of reads with who keeps it while the segment is not open.
    pub(super) fn with_heat(self, heat: Arc<Heat>) -> Self {
        Self { heat, ..self }
    }

    /// How much is read of it.
    pub(crate) fn heat(&self) -> &Heat {
        &self.heat
    }

    /// The segment's id.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.id
    }

    pub(super) fn store(&self) -> StoreId {
        self.store
    }

    /// The file, for reads of frames.
    #[must_use]
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Where its parts are.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Where in the file the slot-table page for `slot` is; it is [`PAGE_BYTES`] long. For callers that must not block:
    /// read it and hand it to [`Segment::admit_slot_page`].
    pub fn slot_page_offset(&self, slot: Slot) -> Result<u64> {
        if u32::from(slot.0) >= self.geometry.slots() {
            return Err(self.corrupt(self.geometry.slot_table_offset(), "a slot beyond the last is referred to"));
        }
        let (number, _) = SlotPage::position(slot);
        Ok(u64::from(self.geometry.slot_table_offset() + number * PAGE_BYTES as u32))
    }

    /// The slot-table page for `slot`, if it is in memory.
    #[must_use]
    pub fn cached_slot_page(&self, slot: Slot) -> Option<SlotPage> {
        let (number, _) = SlotPage::position(slot);
        let page = self.cache.page(&self.slot_page_key(number))?;
        Some(SlotPage::new(page, number, self.geometry.frames_end()))
    }

    /// Verifies the slot-table page for `slot` that the caller has read, and keeps it in memory.
    pub fn admit_slot_page(&self, slot: Slot, bytes: &[u8; PAGE_BYTES]) -> Result<SlotPage> {
        let offset = self.slot_page_offset(slot)?;
        let (number, _) = SlotPage::position(slot);
        let page = self.verified(&self.slot_seal, offset, bytes)?;
        self.cache.insert(self.slot_page_key(number), page.clone());
        Ok(SlotPage::new(page, number, self.geometry.frames_end()))
    }

    /// The slot-table page for `slot`, read (blocking) if it is not in memory.
    pub fn slot_page(&self, slot: Slot) -> Result<SlotPage> {
        let offset = self.slot_page_offset(slot)?;
        let (number, _) = SlotPage::position(slot);
        let page = self.cache.page_or_read(self.slot_page_key(number), || {
            let buffer = self.read(offset, PAGE_BYTES)?;
            self.verified(&self.slot_seal, offset, page_of(&buffer, 0))
        })?;
        Ok(SlotPage::new(page, number, self.geometry.frames_end()))
    }

    /// The frame that holds `slot`. May block for one page.
    ///
    /// # Errors
    /// [`Error::Corrupt`] also for a slot that holds nothing: whoever asks has a reference that must not exist.
    pub fn locate(&self, slot: Slot) -> Result<FramePlace> {
        let why = "a slot that holds nothing is referred to";
        self.slot_page(slot)?.locate(slot).ok_or_else(|| self.corrupt(self.geometry.slot_table_offset(), why))
    }

    /// Verifies the bytes of a frame, all of them and no more. Its payload can then be decoded, or moved as it is.
    pub fn frame<'a>(&self, place: &FramePlace, bytes: &'a [u8]) -> Result<Frame<'a>> {
        frame::decode(&self.frame_seal, place, bytes).map_err(|why| self.corrupt(place.offset, why))
    }

    /// Verifies the bytes of a frame and decodes its blocks into `out`.
    ///
    /// # Panics
    /// If `out` is not [`FramePlace::decoded_bytes`] long.
    pub fn decode(&self, place: &FramePlace, bytes: &[u8], with: &mut Decompressor, out: &mut [u8]) -> Result<()> {
        assert_eq!(out.len(), place.decoded_bytes(), "a frame is decoded whole");
        let frame = self.frame(place, bytes)?;
        with.decode(frame.stored, out).map_err(|_| self.corrupt(place.offset, "the frame does not decode"))
    }

    /// The fingerprint of the block in `slot`, all zeros for an unused slot. May block for one read.
    pub fn fingerprint(&self, slot: Slot, readahead: Readahead) -> Result<Fingerprint> {
        if u32::from(slot.0) >= self.geometry.slots() {
            return Err(self.corrupt(self.geometry.fingerprints_offset(), "a slot beyond the last is referred to"));
        }
        let (number, position) = fingerprint_page::position(slot);
        let page = self.cache.page_or_read(fingerprint_page_key(self.id, number), || match readahead {
            Readahead::Page => self.read_fingerprint_pages(number, 1),
            Readahead::Stream => {
                self.read_fingerprint_pages(number, READAHEAD_PAGES.min(self.geometry.fingerprint_pages() - number))
            }
        })?;
        Ok(fingerprint_page::decode(&page)[position])
    }

    /// Reads `count` pages from `number` on; gives that one and caches those of the others that verify.
    fn read_fingerprint_pages(&self, number: u32, count: u32) -> Result<Page> {
        let offset = |number: u32| u64::from(self.geometry.fingerprints_offset() + number * PAGE_BYTES as u32);
        let buffer = self.read(offset(number), count as usize * PAGE_BYTES)?;
        for ahead in 1..count {
            let bytes = page_of(&buffer, ahead as usize);
            if self.fingerprint_seal.is_sealed(offset(number + ahead), bytes) {
                self.cache.insert(fingerprint_page_key(self.id, number + ahead), Page::verified(bytes));
            }
        }
        self.verified(&self.fingerprint_seal, offset(number), page_of(&buffer, 0))
    }

    /// Puts a page of fingerprints that was verified into the cache.
    pub(super) fn keep_fingerprint_page(&self, number: u32, page: &Page) {
        self.cache.insert(fingerprint_page_key(self.id, number), page.clone());
    }

    fn slot_page_key(&self, page: u32) -> PageKey {
        PageKey { kind: SLOT_TABLE_KIND, file: self.id.0.into(), page }
    }

    fn verified(&self, seal: &Seal, offset: u64, bytes: &[u8; PAGE_BYTES]) -> Result<Page> {
        if !seal.is_sealed(offset, bytes) {
            return Err(self.corrupt(offset as u32, "the page's checksum does not match"));
        }
        Ok(Page::verified(bytes))
    }

    pub(super) fn seals(&self) -> (&Seal, &Seal) {
        (&self.slot_seal, &self.fingerprint_seal)
    }

    pub(super) fn footer(&self) -> Result<Footer> {
        read_footer(&*self.file, self.store, self.id)
    }

    /// Reads an aligned range of the file, past the cache.
    pub(super) fn read(&self, offset: u64, len: usize) -> Result<AlignedBuffer> {
        read(&*self.file, self.id, offset, len)
    }

    fn corrupt(&self, offset: u32, why: &'static str) -> Error {
        Error::corrupt(path(self.id), offset.into(), why)
    }
}

/// Names a page of fingerprints; the page can be in memory although its segment is not open.
pub(super) fn fingerprint_page_key(id: SegmentId, page: u32) -> PageKey {
    PageKey { kind: FINGERPRINTS_KIND, file: id.0.into(), page }
}

/// The `index`th page of a buffer of whole pages.
pub(super) fn page_of(buffer: &AlignedBuffer, index: usize) -> &[u8; PAGE_BYTES] {
    &buffer.as_chunks().0[index]
}

fn read(file: &dyn File, id: SegmentId, offset: u64, len: usize) -> Result<AlignedBuffer> {
    let mut buffer = AlignedBuffer::zeroed(len);
    file.read_at(&mut buffer, offset).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::corrupt(path(id), offset, "the segment is cut short"),
        _ => Error::io("reading", path(id), error),
    })?;
    Ok(buffer)
}

fn read_footer(file: &dyn File, store: StoreId, id: SegmentId) -> Result<Footer> {
    let len = file.len().map_err(|error| Error::io("measuring", path(id), error))?;
    let pages = len / PAGE_BYTES as u64;
    if len % PAGE_BYTES as u64 != 0 || pages < 2 || len > super::SEGMENT_BYTES_MAX {
        return Err(Error::corrupt(path(id), len, "no sealed segment has this length"));
    }
    let offset = len - PAGE_BYTES as u64;
    let buffer = read(file, id, offset, PAGE_BYTES)?;
    trailer::decode_footer(store, id, offset, page_of(&buffer, 0))
}
