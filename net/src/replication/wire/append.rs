//! The body of an append: the length of its head in 4 bytes, the head, and the payloads back to back. Payloads are no
//! part of the archive, so that what comes is cut out of the body as it is.

use bytes::Bytes;

use super::super::history::Position;
use super::super::id::{Epoch, Incarnation, Lsn, Tick};
use super::super::message::{Append, Body, Record};
use super::{PAYLOAD_BYTES_MAX, RECORDS_MAX, check_epoch, check_lsn, check_position};
use crate::envelope::{Error, decode_body, encode_body};

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct AppendV1 {
    epoch: Epoch,
    to: Incarnation,
    sent: Tick,
    as_member: bool,
    prev_epoch: Epoch,
    prev_lsn: Lsn,
    records: Vec<RecordV1>,
    committed: Lsn,
    flushable: Lsn,
    sync: Lsn,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct RecordV1 {
    epoch: Epoch,
    /// Bytes of its payload; `None` for an opening.
    payload: Option<u32>,
}

/// # Panics
/// If there is more in it than any policy lets through.
pub(super) fn encode(append: &Append) -> Vec<u8> {
    let payload_bytes = append.records.iter().map(Record::bytes).sum::<u64>();
    assert!(
        append.records.len() <= RECORDS_MAX && payload_bytes <= PAYLOAD_BYTES_MAX,
        "a policy that was checked keeps batches below the limits, and a write is no longer than them"
    );
    let head = encode_body(&head(append));
    let mut body = Vec::with_capacity(4 + head.len() + payload_bytes as usize);
    body.extend_from_slice(&(head.len() as u32).to_le_bytes());
    body.extend_from_slice(&head);
    for record in &append.records {
        if let Body::Write(payload) = &record.body {
            body.extend_from_slice(payload);
        }
    }
    body
}

fn head(append: &Append) -> AppendV1 {
    let record = |record: &Record| {
        let is_write = matches!(record.body, Body::Write(_));
        RecordV1 { epoch: record.epoch, payload: is_write.then_some(record.bytes() as u32) }
    };
    AppendV1 {
        epoch: append.epoch,
        to: append.to,
        sent: append.sent,
        as_member: append.as_member,
        prev_epoch: append.prev.epoch,
        prev_lsn: append.prev.lsn,
        records: append.records.iter().map(record).collect(),
        committed: append.committed,
        flushable: append.flushable,
        sync: append.sync,
    }
}

pub(super) fn decode(body: &Bytes) -> Result<Append, Error> {
    let (length, rest) = body.split_first_chunk::<4>().ok_or(Error::Body)?;
    let (head, payloads) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(Error::Body)?;
    let head: AppendV1 = decode_body(head)?;
    let records = cut(&head.records, body.slice(body.len() - payloads.len()..))?;
    let append = Append {
        epoch: check_epoch(head.epoch)?,
        to: head.to,
        sent: head.sent,
        as_member: head.as_member,
        prev: check_position(Position { epoch: head.prev_epoch, lsn: head.prev_lsn })?,
        records,
        committed: check_lsn(head.committed)?,
        flushable: check_lsn(head.flushable)?,
        sync: check_lsn(head.sync)?,
    };
    if go_on_from_each_other(&append) { Ok(append) } else { Err(Error::Body) }
}

/// The records, whose payloads are all of `payloads`.
fn cut(records: &[RecordV1], mut payloads: Bytes) -> Result<Vec<Record>, Error> {
    if records.len() > RECORDS_MAX || payloads.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(Error::Body);
    }
    let mut take = |record: &RecordV1| {
        let body = match record.payload {
            None => Body::Opening,
            Some(length) if length as usize <= payloads.len() => Body::Write(payloads.split_to(length as usize)),
            Some(_) => return Err(Error::Body),
        };
        Ok(Record { epoch: record.epoch, body })
    };
    let records = records.iter().map(&mut take).collect::<Result<Vec<_>, _>>()?;
    if payloads.is_empty() { Ok(records) } else { Err(Error::Body) }
}

/// No record is of an older epoch than the one before it, or of a newer one than the sender's.
fn go_on_from_each_other(append: &Append) -> bool {
    let epochs = || append.records.iter().map(|record| record.epoch);
    let ascends = epochs().is_sorted() && epochs().next().is_none_or(|first| first >= append.prev.epoch.max(Epoch(1)));
    ascends && append.prev.epoch <= append.epoch && epochs().next_back().is_none_or(|last| last <= append.epoch)
}
