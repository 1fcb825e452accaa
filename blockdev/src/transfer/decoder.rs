//! Takes a stream apart: bytes in, records out, in whatever pieces the bytes come. No I/O.
//!
//! A record comes out only when its checksum and its place in the chain hold and it goes on where the one before ended, so a
//! receiver sees a beginning of what was sent or an error. Memory is bounded: whoever pushes takes the records before pushing
//! more, and then less than one record is kept.

#[cfg(test)]
mod tests;

use lsm_store::id::BLOCK_BYTES;

use super::chain::ChainReader;
use super::error::StreamError;
use super::format::{self, BadPreamble, End, PREAMBLE_BYTES, Record, StreamRecords};

/// A stream being taken apart.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    chain: ChainReader,
    /// The stream has to be one that asks; else it has to be one that does not.
    asking: bool,
    place: Place,
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
    /// Takes apart a stream that asks what the receiver lacks.
    #[must_use]
    pub fn asking() -> Self {
        Self { asking: true, ..Self::default() }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.chain.push(bytes);
    }

    /// The next record; `None` if more bytes are needed.
    ///
    /// # Errors
    /// If what has come cannot be a stream. Nothing more is to be taken from it then.
    pub fn next_record(&mut self) -> Result<Option<Record>, StreamError> {
        if self.place == Place::Preamble && !self.take_preamble()? {
            return Ok(None);
        }
        if self.place == Place::Over {
            return if self.chain.rest().is_empty() { Ok(None) } else { Err(StreamError::Trailing) };
        }
        let Some(record) = self.chain.next_record::<StreamRecords>()? else { return Ok(None) };
        self.check(&record)?;
        Ok(Some(record))
    }

    /// `false` if more bytes are needed.
    fn take_preamble(&mut self) -> Result<bool, StreamError> {
        let Some(preamble) = self.chain.rest().first_chunk::<PREAMBLE_BYTES>() else { return Ok(false) };
        let preamble = format::decode_preamble(preamble).map_err(|bad| match bad {
            BadPreamble::Magic => StreamError::NotAStream,
            BadPreamble::Version(found) => StreamError::Unsupported { what: "version", found },
            BadPreamble::Features(found) => StreamError::Unsupported { what: "set of features", found },
        })?;
        match (preamble.asks, self.asking) {
            (true, false) => return Err(StreamError::Asks),
            (false, true) => return Err(StreamError::AsksNothing),
            _ => self.chain.begin(PREAMBLE_BYTES, preamble.checksum, preamble.asks),
        }
        self.place = Place::Begin;
        Ok(true)
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
            (Place::Content, Record::Offer { first, fingerprints }) if self.asking => {
                self.advance(first.0, fingerprints.len() as u64)?;
            }
            (Place::Content, Record::Blocks { first, blocks }) => {
                let count = blocks.len() as u64;
                match self.asking {
                    true => self.check_offered(first.0, count)?,
                    false => self.advance(first.0, count)?,
                }
                self.data_blocks += count;
            }
            (Place::Content, Record::End(end)) => {
                let End { data_blocks, zero_blocks, records, .. } = *end;
                let records_before = self.chain.records() - 1;
                if (data_blocks, zero_blocks, records) != (self.data_blocks, self.zero_blocks, records_before) {
                    return Err(self.chain.last_damaged("it counts other records than have come"));
                }
                self.place = Place::Over;
            }
            _ => return Err(self.chain.last_damaged("it is out of order")),
        }
        Ok(())
    }

    fn advance(&mut self, first: u64, count: u64) -> Result<(), StreamError> {
        match first.checked_add(count) {
            Some(end) if count > 0 && first >= self.next_block && end <= self.blocks => {
                self.next_block = end;
                Ok(())
            }
            _ => Err(self.chain.last_damaged("its blocks are not where the next may be")),
        }
    }

    fn check_offered(&self, first: u64, count: u64) -> Result<(), StreamError> {
        match first.checked_add(count) {
            Some(end) if end <= self.next_block => Ok(()),
            _ => Err(self.chain.last_damaged("its blocks were not offered")),
        }
    }

    /// The block behind the last that has come.
    #[must_use]
    pub fn next_block(&self) -> u64 {
        self.next_block
    }

    /// True once the end has come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    /// What is wrong with the record that came last, as whoever took it found.
    pub(crate) fn last_damaged(&self, why: &'static str) -> StreamError {
        self.chain.last_damaged(why)
    }

    /// Checks that the stream has come to its end.
    ///
    /// # Errors
    /// [`StreamError::Truncated`] if it has not, [`StreamError::Trailing`] if something follows.
    pub fn finish(&self) -> Result<(), StreamError> {
        match self.place {
            Place::Over if self.chain.rest().is_empty() => Ok(()),
            Place::Over => Err(StreamError::Trailing),
            _ => Err(StreamError::Truncated { record: self.chain.records() }),
        }
    }
}
