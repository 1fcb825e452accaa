//! Reads records back from a log, beside its owner.
//!
//! Nothing is ever written over, so a frame that was in the log when a read began is there to the end of it, though it may
//! have been truncated meanwhile or its file removed.

use std::sync::Arc;

use bytes::Bytes;
use net::id::Lsn;
use net::replication::Record;

use super::error::{LogError, Result};
use super::frame::{FRAME_HEADER_BYTES, FrameHeader, Seals};
use super::index::Part;
use super::place::Place;
use super::shared::{LogFile, Shared};

/// Reads records back, from any thread, while the log's owner appends and truncates.
#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Consecutive records from the one behind `after` on, as the log had them at one moment of the call: at least one, and
    /// beyond that at most `count_max` with at most `bytes_max` bytes of payload. None if that record is not there, or not
    /// any more.
    ///
    /// # Errors
    /// [`LogError::Io`]; [`LogError::Corrupt`] if a record is not what was written; [`LogError::Failed`].
    pub fn read(&self, after: Lsn, count_max: usize, bytes_max: u64) -> std::result::Result<Vec<Record>, LogError> {
        let parts = self.shared.with(|contents| {
            let parts = contents.index.plan(after, count_max, bytes_max).into_iter();
            let file = |part: &Part| contents.file(part.frame.file).expect("the index knows files of the log only");
            parts.map(|part| (Arc::clone(file(&part)), part)).collect::<Vec<_>>()
        })?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        for (file, part) in &parts {
            for record in read_part(&self.shared.place, file, part)? {
                bytes += record.bytes();
                if bytes > bytes_max && !records.is_empty() {
                    return Ok(records);
                }
                records.push(record);
            }
        }
        Ok(records)
    }
}

fn read_part(place: &Place, file: &LogFile, part: &Part) -> Result<Vec<Record>> {
    let offset = part.frame.offset;
    let mut bytes = vec![0; FRAME_HEADER_BYTES + part.frame.body_bytes as usize];
    file.file.read_at(&mut bytes, offset).map_err(|error| LogError::io("reading", &file.path, error))?;
    let bytes = Bytes::from(bytes);
    let decoded = decode(&Seals::new(place, file.number), offset, &bytes, part);
    decoded.ok_or_else(|| LogError::corrupt(&file.path, offset, "records are not what was written"))
}

fn decode(seals: &Seals, offset: u64, bytes: &Bytes, part: &Part) -> Option<Vec<Record>> {
    let header = FrameHeader::decode(seals, offset, bytes)?;
    let body = bytes.slice(FRAME_HEADER_BYTES..);
    if !header.is_whole(seals, offset, &body) {
        return None;
    }
    let (first, mut records) = header.records(&body).filter(|(first, _)| *first == part.frame.first)?;
    let (start, end) = ((part.first.0 - first.0) as usize, (part.last.0 + 1 - first.0) as usize);
    if records.len() < end {
        return None;
    }
    records.truncate(end);
    Some(records.split_off(start))
}
