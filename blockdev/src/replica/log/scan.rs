//! Reading a file of a log at its opening.
//!
//! Reads go past the page cache: after a failed sync the cache holds what the disk does not.

use std::io;
use std::sync::Arc;

use lsm_store::device::{Access, AlignedBuffer, DIRECT_ALIGNMENT, Device, File};

use super::error::{LogError, Result};
use super::frame::{FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FrameHeader, Link, Seals, Sequence};
use super::header::{HEADER_BYTES, Header};
use super::place::{FileNumber, Place};

/// Bytes read at a time, unless a frame is longer.
const WINDOW_BYTES: usize = 1 << 20;

/// A file as its opening reads it.
pub(super) struct Scan {
    pub(super) number: FileNumber,
    pub(super) path: String,
    /// With its checksum; `None` if the file was never begun as a whole, or its header is damaged.
    pub(super) header: Option<(Header, u32)>,
    file: Arc<dyn File>,
    seals: Seals,
    /// Whole pages.
    file_bytes: u64,
    window: AlignedBuffer,
    window_start: u64,
    window_bytes: usize,
}

/// A frame that was written as a whole.
pub(super) struct WholeFrame<'a> {
    pub(super) header: FrameHeader,
    pub(super) body: &'a [u8],
}

impl Scan {
    /// Opens a file and reads its header.
    pub(super) fn open(device: &dyn Device, place: &Place, number: FileNumber) -> Result<Self> {
        let path = place.path(number);
        let file = device.open(&path, Access::Direct).map_err(|error| LogError::io("opening", &path, error))?;
        let file_bytes = file.len().map_err(|error| LogError::io("reading", &path, error))?;
        let mut scan = Self {
            number,
            path,
            header: None,
            file,
            seals: Seals::new(place, number),
            file_bytes: file_bytes - file_bytes % DIRECT_ALIGNMENT as u64,
            window: AlignedBuffer::zeroed(0),
            window_start: 0,
            window_bytes: 0,
        };
        scan.header = Header::decode(place, number, scan.bytes_at(0, HEADER_BYTES)?)?;
        scan.forget_window();
        Ok(scan)
    }

    /// Gives back the memory that reading took.
    pub(super) fn forget_window(&mut self) {
        (self.window, self.window_bytes) = (AlignedBuffer::zeroed(0), 0);
    }

    /// The frame at `offset`, if a whole one is there that comes next in the chain.
    pub(super) fn frame(&mut self, offset: u64, next: Sequence, previous: u32) -> Result<Option<WholeFrame<'_>>> {
        let Some(header) = self.frame_header(offset)? else { return Ok(None) };
        let Link { sequence, previous: named, .. } = header.link();
        if sequence != next || named != previous {
            return Ok(None);
        }
        let seals = self.seals;
        let frame = self.bytes_at(offset, FRAME_HEADER_BYTES + header.body_bytes())?;
        let body = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        Ok(header.is_whole(&seals, offset, body).then_some(WholeFrame { header, body }))
    }

    /// How far frames were known to be durable when any of those at or behind `offset` was placed, whether or not a chain
    /// leads there.
    pub(super) fn synced_beyond(&mut self, mut offset: u64) -> Result<Option<Sequence>> {
        let mut synced = None;
        while offset < self.file_bytes {
            let mut step = FRAME_ALIGNMENT as u64;
            if let Some(header) = self.frame_header(offset)? {
                step = header.file_bytes();
                synced = synced.max(Some(header.link().synced));
            }
            offset += step;
        }
        Ok(synced)
    }

    /// The header of the frame at `offset`, if one was written there.
    fn frame_header(&mut self, offset: u64) -> Result<Option<FrameHeader>> {
        let seals = self.seals;
        let bytes = self.bytes_at(offset, FRAME_HEADER_BYTES)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        Ok(FrameHeader::decode(&seals, offset, bytes))
    }

    /// The `len` bytes from `offset` on; fewer at the file's end.
    fn bytes_at(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let end = self.file_bytes.min(offset.saturating_add(len as u64)).max(offset);
        let is_there = offset >= self.window_start && end <= self.window_start + self.window_bytes as u64;
        if !is_there && end > offset {
            self.fill_window(offset, end)?;
        }
        let start = offset.wrapping_sub(self.window_start) as usize;
        Ok(self.window.get(start..start.wrapping_add((end - offset) as usize)).unwrap_or_default())
    }

    /// Reads from `offset` on, at least up to `end`, both within the file.
    fn fill_window(&mut self, offset: u64, end: u64) -> Result<()> {
        let alignment = DIRECT_ALIGNMENT as u64;
        let start = offset - offset % alignment;
        let end = end.next_multiple_of(alignment).max(self.file_bytes.min(start + WINDOW_BYTES as u64));
        let len = (end - start) as usize;
        if self.window.capacity() < len {
            self.window = AlignedBuffer::zeroed(len.max(WINDOW_BYTES.min(self.file_bytes as usize)));
        }
        self.window.set_len(len);
        match self.file.read_at(&mut self.window, start) {
            Ok(()) => (self.window_start, self.window_bytes) = (start, len),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(LogError::corrupt(&self.path, start, "the file is shorter than it was"));
            }
            Err(error) => return Err(LogError::io("reading", &self.path, error)),
        }
        Ok(())
    }
}
