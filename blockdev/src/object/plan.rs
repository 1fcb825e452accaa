//! Which bytes of the volume hold a stretch of the stream: adjacent chunks are read together, and what pads them is dropped.

use std::ops::Range;

use lsm_store::Result;
use lsm_store::id::BLOCK_BYTES;
use lsm_store::read::ReadData;

use super::index::{IndexPage, Place};
use super::reader::ObjectReader;
use super::{Chunker, PIECE_BYTES, byte_of};

/// A stretch of the volume to read, and which of it is the stream's.
pub(super) struct Run {
    pub(super) offset: u64,
    pub(super) len: usize,
    keep: Vec<Range<usize>>,
}

impl Run {
    fn of(offset: u64, len: usize) -> Self {
        Self { offset, len, keep: std::iter::once(0..len).collect() }
    }

    /// Appends what the stream has of `data`, the run's content.
    pub(super) fn take(&self, data: &ReadData, stream: &mut Vec<u8>) {
        let start = stream.len();
        stream.resize(start + self.len, 0);
        data.copy_to(&mut stream[start..]);
        let mut end = start;
        for kept in &self.keep {
            stream.copy_within(start + kept.start..start + kept.end, end);
            end += kept.len();
        }
        stream.truncate(end);
    }
}

/// What is still to read.
pub(super) struct Plan {
    position: u64,
    end: u64,
    at: Option<Cursor>,
}

/// A chunk in the index.
struct Cursor {
    page: IndexPage,
    chunk: usize,
    place: Place,
}

impl Plan {
    /// From `offset` to `end`, or the object's end.
    pub(super) fn new(reader: &ObjectReader, offset: u64, end: u64) -> Self {
        Self { position: offset, end: end.min(reader.length()), at: None }
    }

    /// The next stretch, of at most 1 MiB.
    pub(super) fn next(&mut self, reader: &ObjectReader) -> Result<Option<Run>> {
        if self.position >= self.end {
            return Ok(None);
        }
        match reader.chunker() {
            Chunker::Fixed => Ok(Some(self.next_fixed())),
            Chunker::FastCdcV1 => self.next_chunks(reader).map(Some),
        }
    }

    fn next_fixed(&mut self) -> Run {
        let piece = PIECE_BYTES as u64;
        let end = (self.position / piece + 1).saturating_mul(piece).min(self.end);
        let run = Run::of(self.position, (end - self.position) as usize);
        self.position = end;
        run
    }

    fn next_chunks(&mut self, reader: &ObjectReader) -> Result<Run> {
        let mut at = match self.at.take() {
            Some(at) => at,
            None => Cursor::find(reader, self.position)?,
        };
        let first = at.place.block;
        let mut run = Run { offset: byte_of(first), len: 0, keep: Vec::new() };
        while self.position < self.end {
            let len = at.len(reader)?;
            let end = at.end(reader, len)?;
            if byte_of(end.block - first) > PIECE_BYTES as u64 {
                break;
            }
            let start = byte_of(at.place.block - first) as usize;
            let skipped = (self.position - at.place.offset) as usize;
            let taken = (self.end - at.place.offset).min(len as u64) as usize;
            run.keep.push(start + skipped..start + taken);
            self.position = at.place.offset + taken as u64;
            at.chunk += 1;
            at.place = end;
        }
        self.at = Some(at);
        Ok(run.trimmed())
    }
}

impl Run {
    /// The same without what lies before and behind what is kept.
    fn trimmed(mut self) -> Self {
        let start = self.keep.first().map_or(0, |kept| kept.start);
        let end = self.keep.last().map_or(0, |kept| kept.end);
        for kept in &mut self.keep {
            *kept = kept.start - start..kept.end - start;
        }
        Self { offset: self.offset + start as u64, len: end - start, ..self }
    }
}

impl Cursor {
    /// The chunk that holds the byte at `offset`.
    fn find(reader: &ObjectReader, offset: u64) -> Result<Self> {
        let page = reader.page_of(offset)?;
        let mut at = Self { chunk: 0, place: page.start, page };
        loop {
            let len = at.len(reader)?;
            if offset - at.place.offset < len as u64 {
                return Ok(at);
            }
            at.place = at.end(reader, len)?;
            at.chunk += 1;
        }
    }

    /// Its length; goes on to the next page where this one ends.
    fn len(&mut self, reader: &ObjectReader) -> Result<usize> {
        loop {
            if let Some(len) = self.page.chunk(self.chunk) {
                return Ok(len);
            }
            self.page = reader.page_after(&self.page)?;
            self.chunk = 0;
        }
    }

    /// Where it ends.
    fn end(&self, reader: &ObjectReader, len: usize) -> Result<Place> {
        let end = self.place.after(len).filter(|end| end.block <= reader.index_byte() / BLOCK_BYTES as u64);
        end.ok_or_else(|| reader.corrupt(self.page.number, "a chunk lies beyond the end of its object's volume"))
    }
}
