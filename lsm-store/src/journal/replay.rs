//! Reading a generation back: batches in order, up to the first that does not follow its predecessor.
//!
//! Reads go past the page cache: after a failed sync the cache holds what the disk does not.

use std::io;
use std::sync::Arc;

use super::JOURNAL_DIRECTORY;
use super::batch::{self, BATCH_ALIGNMENT, Batch, BatchMarks};
use super::generation::{self, GENERATION_HEADER_BYTES, GenerationHeader};
use crate::checksum::Seal;
use crate::device::{Access, AlignedBuffer, DIRECT_ALIGNMENT, Device, File};
use crate::error::{Error, Result};
use crate::id::{Generation, Sequence, StoreId};

/// Bytes read at a time; longer than any batch.
const WINDOW_BYTES: usize = 8 << 20;

/// The generations that have files, in order.
pub(crate) fn list(device: &dyn Device) -> Result<Vec<Generation>> {
    let names = device.list(JOURNAL_DIRECTORY).map_err(|error| Error::io("listing", JOURNAL_DIRECTORY, error))?;
    let mut generations: Vec<_> = names.iter().filter_map(|name| parse_name(name)).collect();
    generations.sort_unstable();
    Ok(generations)
}

/// The generation whose file has this name; `None` for what somebody else has put there.
fn parse_name(name: &str) -> Option<Generation> {
    let generation = u64::from_str_radix(name, 16).ok().map(Generation)?;
    (format!("{:016x}", generation.0) == name).then_some(generation)
}

/// How far a chain of batches goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ChainEnd {
    /// Sequence the next record must have.
    pub(crate) next: Sequence,
    /// Checksum the next batch must name as its predecessor's.
    pub(crate) previous: u32,
    /// Where in the file the chain ends.
    pub(crate) offset: u64,
}

/// A generation's file, open for replay.
pub(crate) struct Reader {
    path: String,
    file: Arc<dyn File>,
    file_bytes: u64,
    seal: Seal,
    window: AlignedBuffer,
    window_start: u64,
    window_bytes: usize,
}

impl Reader {
    /// Opens a generation; `None` in place of the header if it was prepared but never begun, or its header is damaged.
    pub(crate) fn open(
        device: &dyn Device,
        store: StoreId,
        generation: Generation,
    ) -> Result<(Option<GenerationHeader>, Self)> {
        let path = generation::path(generation);
        let file =
            device.open(&path, Access::Direct).map_err(|error| Error::io("opening the journal", &path, error))?;
        let file_bytes = file.len().map_err(|error| Error::io("reading", &path, error))?;
        let seal = generation::seal(store, generation);
        let window = AlignedBuffer::zeroed(WINDOW_BYTES);
        let mut reader = Self { path, file, file_bytes, seal, window, window_start: 0, window_bytes: 0 };
        let page = reader.bytes_at(0)?;
        let header = GenerationHeader::decode(store, generation, page)?;
        if header.is_some_and(|header| file_bytes < header.file_bytes) {
            return Err(Error::corrupt(&reader.path, file_bytes, "the file was cut short"));
        }
        Ok((header, reader))
    }

    /// True if the file is too short for a generation's header. A file that was prepared is not.
    pub(crate) fn is_stump(&self) -> bool {
        self.file_bytes < GENERATION_HEADER_BYTES as u64
    }

    /// The end of the chain that starts with the generation itself.
    pub(crate) fn start(header: &GenerationHeader) -> ChainEnd {
        ChainEnd { next: header.first, previous: header.previous, offset: GENERATION_HEADER_BYTES as u64 }
    }

    /// The batch at the end of the chain and its payload bytes, if a valid one follows there; moves the end behind it.
    pub(crate) fn next_batch(&mut self, end: &mut ChainEnd) -> Result<Option<(Batch, &[u8])>> {
        let (seal, offset) = (self.seal, end.offset);
        let bytes = self.bytes_at(offset)?;
        let Some(batch) = batch::decode(&seal, offset, bytes) else { return Ok(None) };
        let follows = batch.previous == end.previous && batch.marks.first == end.next;
        if !follows || batch.verified_payloads(bytes).is_none() {
            return Ok(None);
        }
        end.offset += batch.file_bytes();
        end.previous = batch.checksum;
        end.next = batch.last().next();
        Ok(Some((batch, bytes)))
    }

    /// The furthest marks of any valid batch header at or behind `offset`, whether or not a chain leads there.
    pub(crate) fn marks_beyond(&mut self, offset: u64) -> Result<Option<BatchMarks>> {
        let mut furthest: Option<BatchMarks> = None;
        let mut offset = offset.next_multiple_of(BATCH_ALIGNMENT);
        while offset < self.file_bytes {
            let seal = self.seal;
            let bytes = self.bytes_at(offset)?;
            let mut step = BATCH_ALIGNMENT;
            if let Some(batch) = batch::decode(&seal, offset, bytes) {
                step = batch.file_bytes();
                let before = furthest.unwrap_or(batch.marks);
                furthest = Some(BatchMarks {
                    synced: before.synced.max(batch.marks.synced),
                    manifest: before.manifest.max(batch.marks.manifest),
                    ..batch.marks
                });
            }
            offset += step;
        }
        Ok(furthest)
    }

    /// The bytes from `offset` on: all of the rest of the file, or at least as many as a batch can have.
    fn bytes_at(&mut self, offset: u64) -> Result<&[u8]> {
        let end = self.window_start + self.window_bytes as u64;
        let enough = (WINDOW_BYTES / 2) as u64;
        let have = offset >= self.window_start && (offset + enough <= end || end == self.file_bytes);
        if !have {
            self.fill_window(offset)?;
        }
        let start = (offset - self.window_start).min(self.window_bytes as u64) as usize;
        Ok(&self.window[start..self.window_bytes])
    }

    fn fill_window(&mut self, offset: u64) -> Result<()> {
        let alignment = DIRECT_ALIGNMENT as u64;
        let start = (offset / alignment * alignment).min(self.file_bytes);
        let len = (self.file_bytes - start).min(WINDOW_BYTES as u64) as usize;
        // A file that was cut at an odd length is damaged; what is left of it is read up to the last whole page.
        let len = len / DIRECT_ALIGNMENT * DIRECT_ALIGNMENT;
        match self.file.read_at(&mut self.window[..len], start) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Error::corrupt(&self.path, start, "the file is shorter than it was"));
            }
            Err(error) => return Err(Error::io("reading", &self.path, error)),
        }
        (self.window_start, self.window_bytes) = (start, len);
        if start + (len as u64) < self.file_bytes && len < WINDOW_BYTES {
            self.file_bytes = start + len as u64;
        }
        Ok(())
    }
}
