//! A frame of a log: its stored form, encoding and checked decoding. No I/O.
//!
//! Its header names the frame before by checksum and covers the body by another one, so that whether a frame was ever
//! written somewhere can be told from its 64 bytes. `docs/disk-format.md`, "Replica logs".

use bytes::Bytes;
use lsm_store::checksum::Seal;
use net::id::{Epoch, Lsn};
use net::replication::{Body, Record, Standing};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::header::{decode_standing, encode_standing};
use super::place::{FileNumber, Place};
use super::state::Change;

/// Frames start at multiples of this.
pub(super) const FRAME_ALIGNMENT: usize = 64;

/// Bytes of a frame before its body.
pub(super) const FRAME_HEADER_BYTES: usize = size_of::<LogFrameV1>();

/// More records than this do not go into one frame.
const RECORDS_MAX: usize = 1024;

const HEADER_KIND: [u8; 4] = *b"RLGF";
const BODY_KIND: [u8; 4] = *b"RLGB";

const RECORD_BYTES: usize = size_of::<LogRecordV1>();
const _: () = assert!(FRAME_HEADER_BYTES == FRAME_ALIGNMENT && RECORD_BYTES == 16);

/// Position in the order of all frames of a log, from 1. It never goes back, as LSNs do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Sequence(pub(super) u64);

impl Sequence {
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Where a frame stands in the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) sequence: Sequence,
    /// Checksum of the frame before; in the first of a file, of the file's header.
    pub(super) previous: u32,
    /// Every frame up to here was on stable storage when this one was placed.
    pub(super) synced: Sequence,
}

/// What a frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content<'a> {
    /// Records with consecutive LSNs, at least one.
    Records { first: Lsn, records: &'a [Record] },
    /// Records beyond are no longer of the log.
    Truncate { beyond: Lsn },
    /// The replica's standing.
    Note(Standing),
    /// The content below has everything up to here.
    Checkpoint { floor: Lsn },
    /// The content below is being replaced.
    Tear,
}

/// The seals of a file's frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seals {
    header: Seal,
    body: Seal,
}

impl Seals {
    pub(super) fn new(place: &Place, number: FileNumber) -> Self {
        Self { header: place.seal(HEADER_KIND, number), body: place.seal(BODY_KIND, number) }
    }
}

/// `checksum` covers the header behind itself.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct LogFrameV1 {
    checksum: U32,
    previous: U32,
    sequence: U64,
    synced: U64,
    lsn: U64,
    standing_epoch: U64,
    kind: u8,
    standing: u8,
    reserved: [u8; 2],
    record_count: U32,
    body_bytes: U32,
    body_checksum: U32,
    reserved_end: [u8; 8],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct LogRecordV1 {
    epoch: U64,
    payload_bytes: U32,
    kind: u8,
    reserved: [u8; 3],
}

/// A frame as bytes, in pieces that are written one after the other.
pub(super) struct Encoded {
    pub(super) pieces: Vec<Bytes>,
    pub(super) bytes: u64,
    pub(super) body_bytes: u32,
    /// What the next frame names.
    pub(super) checksum: u32,
}

/// How many of the records go into the next frame, and how long it is. The body of a frame with more than one is at most
/// `body_bytes_max` long.
pub(super) fn first_frame(records: &[Record], body_bytes_max: u64) -> (usize, u64) {
    let mut body_bytes = 0;
    let mut count = 0;
    for record in records.iter().take(RECORDS_MAX) {
        let more = body_bytes + RECORD_BYTES as u64 + record.bytes();
        if count > 0 && more > body_bytes_max {
            break;
        }
        (body_bytes, count) = (more, count + 1);
    }
    (count, (FRAME_HEADER_BYTES as u64 + body_bytes).next_multiple_of(FRAME_ALIGNMENT as u64))
}

impl Content<'_> {
    /// What it does to the log's state.
    pub(super) fn change(&self) -> Change {
        match self {
            Self::Records { first, records } => {
                Change::Records { first: *first, runs: runs(records.iter().map(|record| record.epoch)) }
            }
            Self::Truncate { beyond } => Change::Truncate { beyond: *beyond },
            Self::Note(standing) => Change::Note(*standing),
            Self::Checkpoint { floor } => Change::Checkpoint { floor: *floor },
            Self::Tear => Change::Tear,
        }
    }

    fn records(&self) -> &[Record] {
        match self {
            Self::Records { records, .. } => records,
            _ => &[],
        }
    }

    /// The frame for the place `offset` of the file that `seals` belong to.
    pub(super) fn encode(&self, seals: &Seals, offset: u64, link: &Link) -> Encoded {
        let records = self.records();
        let table: Vec<_> = records.iter().map(LogRecordV1::from).collect();
        let payloads = records.iter().filter_map(|record| match &record.body {
            Body::Write(payload) if !payload.is_empty() => Some(payload.clone()),
            _ => None,
        });
        let mut pieces = vec![Bytes::new()];
        pieces.extend(payloads);
        let mut body: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
        body[0] = table.as_bytes();
        let body_bytes: usize = body.iter().map(|part| part.len()).sum();
        let body_bytes = u32::try_from(body_bytes).expect("a frame is shorter than its file");

        let mut header = LogFrameV1::new_zeroed();
        header.previous = link.previous.into();
        header.sequence = link.sequence.0.into();
        header.synced = link.synced.0.into();
        header.put_content(self);
        header.body_bytes = body_bytes.into();
        header.body_checksum = seals.body.checksum(offset, &body).into();
        header.checksum = seals.header.checksum(offset, &[&header.as_bytes()[4..]]).into();

        pieces[0] = [header.as_bytes(), table.as_bytes()].concat().into();
        let written = FRAME_HEADER_BYTES as u64 + u64::from(body_bytes);
        let bytes = written.next_multiple_of(FRAME_ALIGNMENT as u64);
        pieces.push(Bytes::from_static(&[0; FRAME_ALIGNMENT][..(bytes - written) as usize]));
        Encoded { pieces, bytes, body_bytes, checksum: header.checksum.get() }
    }
}

/// Epochs of adjacent records with how many there are of each.
fn runs(epochs: impl Iterator<Item = Epoch>) -> Vec<(Epoch, u64)> {
    let mut runs: Vec<(Epoch, u64)> = Vec::new();
    for epoch in epochs {
        match runs.last_mut() {
            Some((last, count)) if *last == epoch => *count += 1,
            _ => runs.push((epoch, 1)),
        }
    }
    runs
}

/// The header of a frame that was written to its place; what it says has still to be looked at.
#[derive(Clone, Copy)]
pub(super) struct FrameHeader(LogFrameV1);

impl FrameHeader {
    /// The header at the start of `bytes`, which are those at `offset` of the file that `seals` belong to; `None` if no
    /// frame was written there. Whether it follows its predecessor is for the caller to decide.
    pub(super) fn decode(seals: &Seals, offset: u64, bytes: &[u8]) -> Option<Self> {
        let (header, _) = LogFrameV1::ref_from_prefix(bytes).ok()?;
        let checksum = seals.header.checksum(offset, &[&header.as_bytes()[4..]]);
        // A file may be full of what was there before, in which a checksum alone would be found by chance one day.
        let is_plain = header.reserved == [0; 2] && header.reserved_end == [0; 8];
        (is_plain && header.checksum.get() == checksum).then_some(Self(*header))
    }

    pub(super) fn link(&self) -> Link {
        Link {
            sequence: Sequence(self.0.sequence.get()),
            previous: self.0.previous.get(),
            synced: Sequence(self.0.synced.get()),
        }
    }

    pub(super) fn checksum(&self) -> u32 {
        self.0.checksum.get()
    }

    /// Bytes of the body, which follows the header.
    pub(super) fn body_bytes(&self) -> usize {
        self.0.body_bytes.get() as usize
    }

    /// Bytes the frame takes in the file.
    pub(super) fn file_bytes(&self) -> u64 {
        (FRAME_HEADER_BYTES as u64 + u64::from(self.0.body_bytes.get())).next_multiple_of(FRAME_ALIGNMENT as u64)
    }

    /// True if `body` is what was written behind the header.
    pub(super) fn is_whole(&self, seals: &Seals, offset: u64, body: &[u8]) -> bool {
        body.len() == self.body_bytes() && seals.body.checksum(offset, &[body]) == self.0.body_checksum.get()
    }

    /// What the frame does; `None` if it says what no program writes.
    pub(super) fn change(&self, body: &[u8]) -> Option<Change> {
        let lsn = Lsn(self.0.lsn.get());
        match self.0.kind {
            1 => Some(Change::Records { first: lsn, runs: runs(self.table(body)?.iter().map(LogRecordV1::epoch)) }),
            2 => Some(Change::Truncate { beyond: lsn }),
            3 => decode_standing(self.0.standing, Epoch(self.0.standing_epoch.get())).map(Change::Note),
            4 => Some(Change::Checkpoint { floor: lsn }),
            5 => Some(Change::Tear),
            _ => None,
        }
    }

    /// The records of a frame that has some, with the LSN of the first.
    pub(super) fn records(&self, body: &Bytes) -> Option<(Lsn, Vec<Record>)> {
        let table = self.table(body).filter(|_| self.0.kind == 1)?;
        let mut start = table.len() * RECORD_BYTES;
        let records = table.iter().map(|record| {
            let payload = start..start + record.payload_bytes.get() as usize;
            start = payload.end;
            let body = if record.kind == 1 { Body::Opening } else { Body::Write(body.slice(payload)) };
            Record { epoch: record.epoch(), body }
        });
        Some((Lsn(self.0.lsn.get()), records.collect()))
    }

    /// What the body says of each record; `None` if it does not fit the body.
    fn table<'a>(&self, body: &'a [u8]) -> Option<&'a [LogRecordV1]> {
        let (table, payloads) =
            <[LogRecordV1]>::ref_from_prefix_with_elems(body, self.0.record_count.get() as usize).ok()?;
        let mut bytes = 0usize;
        for record in table {
            bytes = bytes.checked_add(record.payload_bytes.get() as usize)?;
            if !matches!((record.kind, record.payload_bytes.get()), (1, 0) | (2, _)) {
                return None;
            }
        }
        (!table.is_empty() && bytes == payloads.len()).then_some(table)
    }
}

impl LogFrameV1 {
    fn put_content(&mut self, content: &Content<'_>) {
        self.record_count = (content.records().len() as u32).into();
        let (kind, lsn) = match *content {
            Content::Records { first, .. } => (1, first),
            Content::Truncate { beyond } => (2, beyond),
            Content::Note(standing) => {
                let (standing, epoch) = encode_standing(standing);
                (self.standing, self.standing_epoch) = (standing, epoch.0.into());
                (3, Lsn(0))
            }
            Content::Checkpoint { floor } => (4, floor),
            Content::Tear => (5, Lsn(0)),
        };
        (self.kind, self.lsn) = (kind, lsn.0.into());
    }
}

impl From<&Record> for LogRecordV1 {
    fn from(record: &Record) -> Self {
        Self {
            epoch: record.epoch.0.into(),
            payload_bytes: (record.bytes() as u32).into(),
            kind: match record.body {
                Body::Opening => 1,
                Body::Write(_) => 2,
            },
            reserved: [0; 3],
        }
    }
}

impl LogRecordV1 {
    fn epoch(&self) -> Epoch {
        Epoch(self.epoch.get())
    }
}

#[cfg(test)]
mod tests;
