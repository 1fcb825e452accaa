//! Records one after the other, each with a checksum of its own and that of the one before: how both directions of a transfer
//! look. No I/O.
//!
//! Memory is bounded: whoever pushes takes the records before pushing more, and then less than one record is kept.
//!
//! Where both ends wait for each other a damaged length would have them wait for ever. So in an exchange a header is checked
//! before what it announces is waited for.

use lsm_store::checksum::crc32c;
use zerocopy::{FromBytes, IntoBytes};

use super::error::StreamError;
use super::format::{HEADER_BYTES, RecordHeaderV1};

/// Records being taken out of bytes.
#[derive(Debug, Default)]
pub(super) struct ChainReader {
    buffer: Vec<u8>,
    /// How much of the buffer has been taken.
    taken: usize,
    previous: u32,
    /// Headers have a check of their own.
    is_exchange: bool,
    /// Records that came out.
    records: u64,
}

/// The records of one direction.
pub(super) trait Records {
    /// A record.
    type Record;

    /// The most bytes that a body can have; `None` if no record begins so.
    fn body_bytes_max(header: &RecordHeaderV1) -> Option<usize>;

    /// The record with this body; `None` if it is not one, whatever its checksum says.
    fn decode(header: &RecordHeaderV1, body: &[u8]) -> Option<Self::Record>;
}

impl ChainReader {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// What has come and was not taken.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Takes what stands before the first record, which names `checksum` as the one before it.
    pub(super) fn begin(&mut self, head_bytes: usize, checksum: u32, is_exchange: bool) {
        self.taken += head_bytes;
        self.previous = checksum;
        self.is_exchange = is_exchange;
    }

    /// Records that came out.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// The next record; `None` if more bytes are needed.
    pub(super) fn next_record<R: Records>(&mut self) -> Result<Option<R::Record>, StreamError> {
        let Some((header, record_bytes)) = self.whole_record::<R>()? else { return Ok(None) };
        let bytes = &self.rest()[..record_bytes];
        if crc32c(&bytes[4..]) != header.checksum.get() {
            return Err(self.damaged("its checksum does not match"));
        }
        if header.previous.get() != self.previous {
            return Err(self.damaged("it does not follow the record before"));
        }
        let record = R::decode(&header, &bytes[HEADER_BYTES..]);
        let record = record.ok_or_else(|| self.damaged("it is not a record"))?;
        self.taken += record_bytes;
        self.previous = header.checksum.get();
        self.records += 1;
        Ok(Some(record))
    }

    /// The header of the next record and the length of all of it, once all of it is there.
    fn whole_record<R: Records>(&self) -> Result<Option<(RecordHeaderV1, usize)>, StreamError> {
        let Ok((header, _)) = RecordHeaderV1::read_from_prefix(self.rest()) else { return Ok(None) };
        let body_bytes = header.body_bytes.get() as usize;
        if header.check != check_of(&header, self.is_exchange) {
            return Err(self.damaged("its header is not as it was written"));
        }
        if R::body_bytes_max(&header).is_none_or(|most| body_bytes > most) {
            return Err(self.damaged("no record begins so"));
        }
        let record_bytes = HEADER_BYTES + body_bytes;
        Ok((self.rest().len() >= record_bytes).then_some((header, record_bytes)))
    }

    /// What is wrong with the record that comes next.
    fn damaged(&self, why: &'static str) -> StreamError {
        StreamError::Damaged { record: self.records, why }
    }

    /// What is wrong with the record that came out last.
    pub(super) fn last_damaged(&self, why: &'static str) -> StreamError {
        StreamError::Damaged { record: self.records - 1, why }
    }
}

/// What a header has as its check.
fn check_of(header: &RecordHeaderV1, is_exchange: bool) -> [u8; 3] {
    if !is_exchange {
        return [0; 3];
    }
    let mut checked = [0; 9];
    checked[..4].copy_from_slice(header.previous.as_bytes());
    checked[4] = header.kind;
    checked[5..].copy_from_slice(header.body_bytes.as_bytes());
    let [a, b, c, _] = crc32c(&checked).to_le_bytes();
    [a, b, c]
}

/// Where the records of one direction are written to.
#[derive(Clone, Debug, Default)]
pub(super) struct ChainWriter {
    previous: u32,
    is_exchange: bool,
}

impl ChainWriter {
    /// The first record names `checksum` as the one before it.
    pub(super) fn begin(&mut self, checksum: u32, is_exchange: bool) {
        *self = Self { previous: checksum, is_exchange };
    }

    /// Appends a record to `out` whose body `encode_body` appends.
    pub(super) fn append(&mut self, kind: u8, out: &mut Vec<u8>, encode_body: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        encode_body(out);
        let body_bytes = (out.len() - start - HEADER_BYTES) as u32;
        let mut header = RecordHeaderV1::new(kind, self.previous, body_bytes);
        header.check = check_of(&header, self.is_exchange);
        out[start..start + HEADER_BYTES].copy_from_slice(header.as_bytes());
        self.previous = crc32c(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&self.previous.to_le_bytes());
    }
}
