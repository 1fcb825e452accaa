//! Takes a stream apart: bytes in, records out, in whatever pieces the bytes come. No I/O.
//!
//! A record comes out only when its checksum and its place in the chain hold and it goes on where the one before ended, so a
//! receiver sees a beginning of what was sent or an error. Memory is bounded: whoever pushes takes the records before pushing
//! more, and then less than one record is kept.

#[cfg(test)]
mod tests;

use lsm_store::checksum::crc32c;
use lsm_store::id::BLOCK_BYTES;
use zerocopy::FromBytes;

use super::error::StreamError;
use super::format::{self, BadPreamble, End, HEADER_BYTES, PREAMBLE_BYTES, Record, RecordHeaderV1};

/// A stream being taken apart.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    buffer: Vec<u8>,
    /// How much of the buffer has been taken.
    taken: usize,
    place: Place,
    previous: u32,
    /// Records that came out.
    records: u64,
    /// Blocks of the snapshot.
    blocks: u64,
    /// The first block that may come next.
    next_block: u64,
    data_blocks: u64,
    zero_blocks: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Place {
    #[default]
    Preamble,
    Begin,
    Content,
    Over,
}

impl StreamDecoder {
    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next record; `None` if more bytes are needed.
    ///
    /// # Errors
    /// If what has come cannot be a stream. Nothing more is to be taken from it then.
    pub fn next_record(&mut self) -> Result<Option<Record>, StreamError> {
        if self.place == Place::Preamble {
            let Some(preamble) = self.buffer[self.taken..].first_chunk::<PREAMBLE_BYTES>() else { return Ok(None) };
            self.previous = format::decode_preamble(preamble).map_err(|bad| match bad {
                BadPreamble::Magic => StreamError::NotAStream,
                BadPreamble::Version(found) => StreamError::Unsupported { what: "version", found },
                BadPreamble::Features(found) => StreamError::Unsupported { what: "set of features", found },
            })?;
            self.taken += PREAMBLE_BYTES;
            self.place = Place::Begin;
        }
        if self.place == Place::Over {
            return if self.taken < self.buffer.len() { Err(StreamError::Trailing) } else { Ok(None) };
        }
        let Some((header, record_bytes)) = self.whole_record()? else { return Ok(None) };
        let bytes = &self.buffer[self.taken..self.taken + record_bytes];
        if crc32c(&bytes[4..]) != header.checksum.get() {
            return Err(self.damaged("its checksum does not match"));
        }
        if header.previous.get() != self.previous {
            return Err(self.damaged("it does not follow the record before"));
        }
        let record = format::decode_body(&header, &bytes[HEADER_BYTES..]);
        let record = record.ok_or_else(|| self.damaged("it is not a record"))?;
        self.check(&record)?;
        self.taken += record_bytes;
        self.previous = header.checksum.get();
        self.records += 1;
        Ok(Some(record))
    }

    /// The header of the next record and the length of all of it, once all of it is there.
    fn whole_record(&self) -> Result<Option<(RecordHeaderV1, usize)>, StreamError> {
        let rest = &self.buffer[self.taken..];
        let Ok((header, _)) = RecordHeaderV1::read_from_prefix(rest) else { return Ok(None) };
        let body_bytes = header.body_bytes.get() as usize;
        if format::body_bytes_max(&header).is_none_or(|most| body_bytes > most) {
            return Err(self.damaged("no record begins so"));
        }
        let record_bytes = HEADER_BYTES + body_bytes;
        Ok((rest.len() >= record_bytes).then_some((header, record_bytes)))
    }

    /// Checks that the record may come here.
    fn check(&mut self, record: &Record) -> Result<(), StreamError> {
        match (self.place, record) {
            (Place::Begin, Record::Begin(begin)) => {
                self.blocks = begin.size_bytes.div_ceil(BLOCK_BYTES as u64);
                self.place = Place::Content;
            }
            (Place::Content, Record::Zeros { first, count }) => {
                self.advance(first.0, *count)?;
                self.zero_blocks += count;
            }
            (Place::Content, Record::Blocks { first, blocks }) => {
                self.advance(first.0, blocks.len() as u64)?;
                self.data_blocks += blocks.len() as u64;
            }
            (Place::Content, Record::End(end)) => {
                let End { data_blocks, zero_blocks, records, .. } = *end;
                if (data_blocks, zero_blocks, records) != (self.data_blocks, self.zero_blocks, self.records) {
                    return Err(self.damaged("it counts other records than have come"));
                }
                self.place = Place::Over;
            }
            _ => return Err(self.damaged("it is out of order")),
        }
        Ok(())
    }

    fn advance(&mut self, first: u64, count: u64) -> Result<(), StreamError> {
        match first.checked_add(count) {
            Some(end) if count > 0 && first >= self.next_block && end <= self.blocks => {
                self.next_block = end;
                Ok(())
            }
            _ => Err(self.damaged("its blocks are not where the next may be")),
        }
    }

    /// The block behind the last that has come.
    #[must_use]
    pub fn next_block(&self) -> u64 {
        self.next_block
    }

    /// Checks that the stream has come to its end.
    ///
    /// # Errors
    /// [`StreamError::Truncated`] if it has not, [`StreamError::Trailing`] if something follows.
    pub fn finish(&self) -> Result<(), StreamError> {
        match self.place {
            Place::Over if self.taken == self.buffer.len() => Ok(()),
            Place::Over => Err(StreamError::Trailing),
            _ => Err(StreamError::Truncated { record: self.records }),
        }
    }

    fn damaged(&self, why: &'static str) -> StreamError {
        StreamError::Damaged { record: self.records, why }
    }
}
