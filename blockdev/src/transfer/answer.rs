//! What the receiver of a stream that asks says, as bytes: `docs/stream-format.md`, "Exchange". No I/O.

#[cfg(test)]
pub(super) mod tests;

use lsm_store::ErrorKind;
use lsm_store::checksum::crc32c;
use lsm_store::id::BlockIndex;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::chain::{ChainReader, ChainWriter, Records};
use super::error::StreamError;
use super::format::{ASKS, OFFER_BLOCKS_MAX, RecordHeaderV1, VERSION};
use crate::name::NAME_BYTES_MAX;

/// What a receiver's side begins with.
const MAGIC: [u8; 8] = *b"SiltBack";

/// The longest message of a failure.
pub(super) const MESSAGE_BYTES_MAX: usize = 1024;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct GreetingV1 {
    magic: [u8; 8],
    version_min: U32,
    version_max: U32,
    features: U32,
    reserved: U32,
}

/// Then a bit for each block, from the lowest of the first byte on, set for those that are wanted.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct WantedV1 {
    first: U64,
    count: U32,
    reserved: U32,
}

/// Then the snapshot's name.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct ReceivedV1 {
    root: [u8; 32],
    snapshot: U64,
    name_bytes: U16,
    reserved: [u8; 6],
}

/// Then the message.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct FailedV1 {
    kind: U16,
    message_bytes: U16,
    reserved: U32,
}

const GREETING_BYTES: usize = size_of::<GreetingV1>();
const WANTED_BYTES_MAX: usize = size_of::<WantedV1>() + OFFER_BLOCKS_MAX / 8;
const NAMES_BYTES_MAX: usize = 2 * NAME_BYTES_MAX + 1;
const RECEIVED_BYTES_MAX: usize = size_of::<ReceivedV1>() + NAMES_BYTES_MAX;
const FAILED_BYTES_MAX: usize = size_of::<FailedV1>() + MESSAGE_BYTES_MAX;

const WANTED: u8 = 0x81;
const RECEIVED: u8 = 0x82;
const FAILED: u8 = 0x83;

const KINDS: [(u16, ErrorKind); 10] = [
    (1, ErrorKind::NotFound),
    (2, ErrorKind::Exists),
    (3, ErrorKind::Busy),
    (4, ErrorKind::OutOfSpace),
    (5, ErrorKind::Corrupt),
    (6, ErrorKind::Poisoned),
    (7, ErrorKind::Unsupported),
    (8, ErrorKind::Invalid),
    (9, ErrorKind::ReadOnly),
    (10, ErrorKind::Io),
];

/// What a receiver can make sense of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Greeting {
    /// The oldest version of streams that it takes.
    pub(super) version_min: u32,
    /// The newest.
    pub(super) version_max: u32,
    /// The features that it knows.
    pub(super) features: u32,
}

impl Greeting {
    /// That of this program.
    pub(super) const OURS: Self = Self { version_min: VERSION, version_max: VERSION, features: ASKS };
}

/// A receiver's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// To an offer: what of it is to be sent.
    Wanted(Wanted),
    /// The last: all has come, was proved, and has its name.
    Received {
        /// The root of what is stored.
        root: [u8; 32],
        /// The snapshot's id there.
        snapshot: u64,
        /// Its name there, as `VOLUME@NAME`.
        name: String,
    },
    /// The last: nothing was received.
    Failed {
        /// What to do about it.
        kind: ErrorKind,
        /// What happened, for people; at most [`MESSAGE_BYTES_MAX`].
        message: String,
    },
}

/// Which of the blocks of an offer are to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    /// The first block of the offer.
    pub(super) first: BlockIndex,
    /// For each of its blocks, 1 to [`OFFER_BLOCKS_MAX`].
    pub(super) wanted: Vec<bool>,
}

/// Writes answers, each with its place in the chain of checksums.
#[derive(Debug, Default)]
pub(super) struct AnswerEncoder {
    chain: ChainWriter,
}

impl AnswerEncoder {
    /// Appends what comes before all answers.
    pub(super) fn greet(&mut self, greeting: Greeting, out: &mut Vec<u8>) {
        let greeting = GreetingV1 {
            magic: MAGIC,
            version_min: greeting.version_min.into(),
            version_max: greeting.version_max.into(),
            features: greeting.features.into(),
            reserved: 0.into(),
        };
        out.extend_from_slice(greeting.as_bytes());
        self.chain.begin(crc32c(greeting.as_bytes()), true);
    }

    /// Appends an answer.
    ///
    /// # Panics
    /// If the answer breaks the bounds that its type names.
    pub(super) fn encode(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        let kind = match answer {
            Answer::Wanted(_) => WANTED,
            Answer::Received { .. } => RECEIVED,
            Answer::Failed { .. } => FAILED,
        };
        self.chain.append(kind, out, |out| encode_body(answer, out));
    }
}

fn encode_body(answer: &Answer, out: &mut Vec<u8>) {
    match answer {
        Answer::Wanted(Wanted { first, wanted }) => {
            assert!((1..=OFFER_BLOCKS_MAX).contains(&wanted.len()), "an offer has 1 to {OFFER_BLOCKS_MAX} blocks");
            let head = WantedV1 { first: first.0.into(), count: (wanted.len() as u32).into(), reserved: 0.into() };
            out.extend_from_slice(head.as_bytes());
            let bits = |eight: &[bool]| eight.iter().rev().fold(0, |byte, wanted| byte << 1 | u8::from(*wanted));
            out.extend(wanted.chunks(8).map(bits));
        }
        Answer::Received { root, snapshot, name } => {
            assert!(name.len() <= NAMES_BYTES_MAX, "names are short");
            let name_bytes = (name.len() as u16).into();
            let head = ReceivedV1 { root: *root, snapshot: (*snapshot).into(), name_bytes, reserved: [0; 6] };
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(name.as_bytes());
        }
        Answer::Failed { kind, message } => {
            assert!(message.len() <= MESSAGE_BYTES_MAX, "a message is cut to what fits");
            let kind = KINDS.iter().find(|(_, known)| known == kind).map_or(0, |(number, _)| *number);
            let message_bytes = (message.len() as u16).into();
            let head = FailedV1 { kind: kind.into(), message_bytes, reserved: 0.into() };
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(message.as_bytes());
        }
    }
}

/// Why a receiver's side does not begin as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum BadGreeting {
    /// It begins with these bytes.
    Stranger(Vec<u8>),
    /// A reserved field is set: it is damaged.
    Damaged,
}

/// Answers being taken out of bytes.
#[derive(Debug, Default)]
pub(super) struct AnswerDecoder {
    chain: ChainReader,
}

impl AnswerDecoder {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.chain.push(bytes);
    }

    /// What the receiver says first; `None` if more bytes are needed. To be taken before any answer.
    pub(super) fn greeting(&mut self) -> Result<Option<Greeting>, BadGreeting> {
        let rest = self.chain.rest();
        let len = rest.len().min(MAGIC.len());
        if rest[..len] != MAGIC[..len] {
            return Err(BadGreeting::Stranger(rest.to_vec()));
        }
        let Ok((greeting, _)) = GreetingV1::read_from_prefix(rest) else { return Ok(None) };
        let checksum = crc32c(&rest[..GREETING_BYTES]);
        let (version_min, version_max) = (greeting.version_min.get(), greeting.version_max.get());
        if greeting.reserved.get() != 0 || version_min > version_max {
            return Err(BadGreeting::Damaged);
        }
        self.chain.begin(GREETING_BYTES, checksum, true);
        Ok(Some(Greeting { version_min, version_max, features: greeting.features.get() }))
    }

    /// The next answer; `None` if more bytes are needed.
    pub(super) fn next_answer(&mut self) -> Result<Option<Answer>, StreamError> {
        self.chain.next_record::<Answers>()
    }

    /// What is wrong with the answer that came last, as whoever took it found.
    pub(super) fn last_damaged(&self, why: &'static str) -> StreamError {
        self.chain.last_damaged(why)
    }
}

enum Answers {}

impl Records for Answers {
    type Record = Answer;

    fn body_bytes_max(header: &RecordHeaderV1) -> Option<usize> {
        match header.kind {
            WANTED => Some(WANTED_BYTES_MAX),
            RECEIVED => Some(RECEIVED_BYTES_MAX),
            FAILED => Some(FAILED_BYTES_MAX),
            _ => None,
        }
    }

    fn decode(header: &RecordHeaderV1, body: &[u8]) -> Option<Answer> {
        match header.kind {
            WANTED => decode_wanted(body).map(Answer::Wanted),
            RECEIVED => {
                let (head, name) = ReceivedV1::read_from_prefix(body).ok()?;
                let is_whole = head.reserved == [0; 6] && usize::from(head.name_bytes.get()) == name.len();
                let name = std::str::from_utf8(name).ok().filter(|_| is_whole)?.to_owned();
                Some(Answer::Received { root: head.root, snapshot: head.snapshot.get(), name })
            }
            FAILED => {
                let (head, message) = FailedV1::read_from_prefix(body).ok()?;
                let is_whole = head.reserved.get() == 0 && usize::from(head.message_bytes.get()) == message.len();
                let message = std::str::from_utf8(message).ok().filter(|_| is_whole)?.to_owned();
                // One that this program does not know is a failure all the same.
                let known = KINDS.iter().find(|(number, _)| *number == head.kind.get());
                Some(Answer::Failed { kind: known.map_or(ErrorKind::Io, |(_, kind)| *kind), message })
            }
            _ => None,
        }
    }
}

fn decode_wanted(body: &[u8]) -> Option<Wanted> {
    let (head, bits) = WantedV1::read_from_prefix(body).ok()?;
    let count = head.count.get() as usize;
    if !(1..=OFFER_BLOCKS_MAX).contains(&count) || head.reserved.get() != 0 || bits.len() != count.div_ceil(8) {
        return None;
    }
    let is_set = |index: usize| bits[index / 8] >> (index % 8) & 1 == 1;
    if (count..8 * bits.len()).any(is_set) {
        return None;
    }
    Some(Wanted { first: BlockIndex(head.first.get()), wanted: (0..count).map(is_set).collect() })
}
