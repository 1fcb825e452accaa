//! Requests of clients that reach a node which cannot answer them, on their way to the one that can.
//!
//! Specified in `docs/protocol.md`, "Forwarding". A question asks for one thing of one volume; whoever gets it and is not the
//! volume's primary refuses. Questions that change something carry the asker's session and which attempt of that this is: once
//! a later attempt of a session was seen, earlier ones are refused, so that no request takes effect behind one that was made
//! after it had been given up.

use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};

use crate::envelope::{Error, Kind, Message, decode_body, encode_body};
use crate::id::{Epoch, NodeId, VolumeId};

/// A question.
pub const FORWARD: Kind = Kind::journal(0x40);
/// Its answer.
pub const FORWARDED: Kind = Kind::journal(0x41);

/// Most bytes of a read's answer, and of a write's records.
pub const BYTES_MAX: usize = 1 << 20;

/// Who asks, and how often it has had to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct Attempt {
    /// A client's session, by chance.
    pub session: u64,
    /// Grows whenever the session gives a request up.
    pub number: u64,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Records are to be ordered, as replicas apply them.
    Write(Attempt, Vec<Bytes>),
    /// What was answered is to be durable on every member.
    Flush,
    /// Bytes, of the volume or of a snapshot of it.
    Read {
        /// The snapshot's name.
        snapshot: Option<String>,
        /// First byte.
        offset: u64,
        /// At most [`BYTES_MAX`].
        len: u32,
    },
    /// The states of a range.
    Status {
        /// The snapshot's name.
        snapshot: Option<String>,
        /// First byte.
        offset: u64,
        /// How many.
        len: u64,
        /// Most extents of the answer.
        extents_max: u32,
    },
    /// The snapshots of the volume.
    Snapshots,
    /// The volume's size in bytes behind all that was ordered.
    Size,
    /// The asker's node has clients of the volume and a replica of it: it is to be the primary.
    HandOver,
    /// Where the volume, or a snapshot of it, differs from a snapshot of it.
    Changes {
        /// The snapshot's name.
        from: String,
        /// The other one's; the volume itself if there is none.
        to: Option<String>,
        /// First byte.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// Changes are to be held back for a moment, if no snapshot has this name.
    Pause {
        /// Which pause.
        pause: u64,
        /// The name that a snapshot is to get in it.
        snapshot: String,
    },
    /// A record is to be ordered in a pause, or not at all.
    PausedWrite {
        /// Which pause.
        pause: u64,
        /// The record.
        record: Bytes,
    },
    /// A pause is over.
    Resume(u64),
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Of which volume.
    pub volume: VolumeId,
    /// What is asked.
    pub asked: Asked,
}

/// A snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct SnapshotEntry {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// Where two things differ.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct ChangedExtents {
    /// What numbers the answering node knows the two by; others mean that it is another node, or they are others by now.
    pub ids: (u64, u64),
    /// Their sizes in bytes.
    pub sizes_bytes: (u64, u64),
    /// Length, and whether they differ; from the start of the range, and perhaps not to its end.
    pub extents: Vec<(u64, bool)>,
}

/// What an answer brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Brought {
    /// It was done.
    Nothing,
    /// Bytes.
    Bytes(Bytes),
    /// Extents: length, and 0 for data, 1 for zeros, 2 for a hole.
    Extents(Vec<(u64, u8)>),
    /// Snapshots, from the oldest.
    Snapshots(Vec<SnapshotEntry>),
    /// What differs.
    Changes(Box<ChangedExtents>),
    /// A size in bytes.
    Size(u64),
}

/// Why a question was not answered as wished.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub enum Refused {
    /// Another node is the primary, perhaps this one.
    NotPrimary(Option<NodeId>),
    /// Not now: ask again.
    NotReady,
    /// A write may or may not have been carried out.
    Unknown,
    /// A later attempt of the session was seen.
    Overtaken,
    /// There is no such snapshot.
    NotFound,
    /// The store has no room.
    OutOfSpace,
    /// It failed, and will again.
    Failed(String),
    /// There is such a snapshot already. Told only to who asks for a pause.
    Exists,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The epoch in which the volume was served, and the last one that began with a loss.
    pub served: (Epoch, Epoch),
    /// What it brings.
    pub result: Result<Brought, Refused>,
}

#[derive(Archive, Serialize, Deserialize)]
enum AskedV1 {
    Write { attempt: Attempt, lengths: Vec<u32> },
    Flush,
    Read { snapshot: Option<String>, offset: u64, len: u32 },
    Status { snapshot: Option<String>, offset: u64, len: u64, extents_max: u32 },
    Snapshots,
    HandOver,
    Size,
    // Boxed, so that the others take the room that they took before.
    Changes(Box<ChangesV1>),
    Pause { pause: u64, snapshot: String },
    PausedWrite(u64),
    Resume(u64),
}

#[derive(Archive, Serialize, Deserialize)]
struct ChangesV1 {
    from: String,
    to: Option<String>,
    offset: u64,
    len: u64,
}

#[derive(Archive, Serialize, Deserialize)]
struct QuestionV1 {
    volume: VolumeId,
    asked: AskedV1,
}

#[derive(Archive, Serialize, Deserialize)]
enum BroughtV1 {
    Nothing,
    Bytes,
    Extents(Vec<(u64, u8)>),
    Snapshots(Vec<SnapshotEntry>),
    Size(u64),
    // Boxed, so that the others take the room that they took before.
    Changes(Box<ChangedExtents>),
}

#[derive(Archive, Serialize, Deserialize)]
struct AnswerV1 {
    served: (Epoch, Epoch),
    result: Result<BroughtV1, Refused>,
}

/// A body: the length of the head, the head, and raw bytes behind it.
fn join(head: &[u8], payloads: &[Bytes]) -> Bytes {
    let bytes = 4 + head.len() + payloads.iter().map(Bytes::len).sum::<usize>();
    let mut body = Vec::with_capacity(bytes);
    body.extend_from_slice(&(head.len() as u32).to_le_bytes());
    body.extend_from_slice(head);
    payloads.iter().for_each(|payload| body.extend_from_slice(payload));
    body.into()
}

fn part(body: &Bytes) -> Result<(&[u8], Bytes), Error> {
    let (len, rest) = body.split_first_chunk::<4>().ok_or(Error::Body)?;
    let len = u32::from_le_bytes(*len) as usize;
    let (head, _) = rest.split_at_checked(len).ok_or(Error::Body)?;
    Ok((head, body.slice(4 + len..)))
}

/// The message of a question.
#[must_use]
pub fn encode_question(question: &Question) -> Message {
    let (asked, payloads) = match &question.asked {
        Asked::Write(attempt, records) => {
            let lengths = records.iter().map(|record| record.len() as u32).collect();
            (AskedV1::Write { attempt: *attempt, lengths }, &records[..])
        }
        Asked::Flush => (AskedV1::Flush, &[][..]),
        Asked::Read { snapshot, offset, len } => {
            (AskedV1::Read { snapshot: snapshot.clone(), offset: *offset, len: *len }, &[][..])
        }
        Asked::Status { snapshot, offset, len, extents_max } => {
            let (snapshot, extents_max) = (snapshot.clone(), *extents_max);
            (AskedV1::Status { snapshot, offset: *offset, len: *len, extents_max }, &[][..])
        }
        Asked::Snapshots => (AskedV1::Snapshots, &[][..]),
        Asked::HandOver => (AskedV1::HandOver, &[][..]),
        Asked::Changes { from, to, offset, len } => {
            let changes = ChangesV1 { from: from.clone(), to: to.clone(), offset: *offset, len: *len };
            (AskedV1::Changes(Box::new(changes)), &[][..])
        }
        Asked::Size => (AskedV1::Size, &[][..]),
        Asked::Pause { pause, snapshot } => (AskedV1::Pause { pause: *pause, snapshot: snapshot.clone() }, &[][..]),
        Asked::PausedWrite { pause, record } => (AskedV1::PausedWrite(*pause), std::slice::from_ref(record)),
        Asked::Resume(pause) => (AskedV1::Resume(*pause), &[][..]),
    };
    let head = encode_body(&QuestionV1 { volume: question.volume, asked });
    Message::new(FORWARD, join(&head, payloads))
}

/// The question in a message.
///
/// # Errors
/// [`Error::Misplaced`] or [`Error::Body`] if it is another.
pub fn decode_question(message: &Message) -> Result<Question, Error> {
    if message.kind != FORWARD {
        return Err(Error::Misplaced(message.kind.0));
    }
    let (head, mut payloads) = part(&message.body)?;
    let QuestionV1 { volume, asked } = decode_body(head)?;
    let asked = match asked {
        AskedV1::Write { attempt, lengths } => {
            let mut record = |length: u32| {
                let length = length as usize;
                if length <= payloads.len() { Ok(payloads.split_to(length)) } else { Err(Error::Body) }
            };
            Asked::Write(attempt, lengths.into_iter().map(&mut record).collect::<Result<_, _>>()?)
        }
        AskedV1::Flush => Asked::Flush,
        AskedV1::Read { snapshot, offset, len } if len as usize <= BYTES_MAX => Asked::Read { snapshot, offset, len },
        AskedV1::Read { .. } => return Err(Error::Body),
        AskedV1::Status { snapshot, offset, len, extents_max } => Asked::Status { snapshot, offset, len, extents_max },
        AskedV1::Snapshots => Asked::Snapshots,
        AskedV1::HandOver => Asked::HandOver,
        AskedV1::Changes(changes) => {
            let ChangesV1 { from, to, offset, len } = *changes;
            Asked::Changes { from, to, offset, len }
        }
        AskedV1::Size => Asked::Size,
        AskedV1::Pause { pause, snapshot } => Asked::Pause { pause, snapshot },
        AskedV1::PausedWrite(pause) => Asked::PausedWrite { pause, record: std::mem::take(&mut payloads) },
        AskedV1::Resume(pause) => Asked::Resume(pause),
    };
    if payloads.is_empty() { Ok(Question { volume, asked }) } else { Err(Error::Body) }
}

/// The message of an answer.
#[must_use]
pub fn encode_answer(answer: &Answer) -> Message {
    let mut payload = Bytes::new();
    let result = match &answer.result {
        Err(refused) => Err(refused.clone()),
        Ok(Brought::Nothing) => Ok(BroughtV1::Nothing),
        Ok(Brought::Bytes(bytes)) => {
            payload = bytes.clone();
            Ok(BroughtV1::Bytes)
        }
        Ok(Brought::Extents(extents)) => Ok(BroughtV1::Extents(extents.clone())),
        Ok(Brought::Snapshots(snapshots)) => Ok(BroughtV1::Snapshots(snapshots.clone())),
        Ok(Brought::Changes(changes)) => Ok(BroughtV1::Changes(changes.clone())),
        Ok(Brought::Size(size_bytes)) => Ok(BroughtV1::Size(*size_bytes)),
    };
    let head = encode_body(&AnswerV1 { served: answer.served, result });
    Message::new(FORWARDED, join(&head, &[payload]))
}

/// The answer in a message.
///
/// # Errors
/// [`Error::Misplaced`] or [`Error::Body`] if it is another.
pub fn decode_answer(message: &Message) -> Result<Answer, Error> {
    if message.kind != FORWARDED {
        return Err(Error::Misplaced(message.kind.0));
    }
    let (head, payload) = part(&message.body)?;
    let AnswerV1 { served, result } = decode_body(head)?;
    let result = match result {
        Err(refused) => Err(refused),
        Ok(BroughtV1::Bytes) => return Ok(Answer { served, result: Ok(Brought::Bytes(payload)) }),
        Ok(BroughtV1::Nothing) => Ok(Brought::Nothing),
        Ok(BroughtV1::Extents(extents)) => Ok(Brought::Extents(extents)),
        Ok(BroughtV1::Snapshots(snapshots)) => Ok(Brought::Snapshots(snapshots)),
        Ok(BroughtV1::Changes(changes)) => Ok(Brought::Changes(changes)),
        Ok(BroughtV1::Size(size_bytes)) => Ok(Brought::Size(size_bytes)),
    };
    if payload.is_empty() { Ok(Answer { served, result }) } else { Err(Error::Body) }
}

#[cfg(test)]
mod tests;
