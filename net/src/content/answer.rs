//! What a receiver answers.

use rkyv::{Archive, Deserialize, Serialize};

use super::{BEGUN, ENDED, PAGE_ENTRIES_MAX, REFUSED, TOOK, WANTED};
use crate::envelope::{Error, Message, decode_body, encode_body};

#[derive(Archive, Serialize, Deserialize)]
struct WantedV1 {
    places: Vec<u16>,
}

#[derive(Archive, Serialize, Deserialize)]
struct EndedV1 {
    matches: bool,
}

#[derive(Archive, Serialize, Deserialize)]
struct RefusedV1 {
    reason: u8,
}

/// Why a question was refused, and what the asker does about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The transfer is not under way here, or it is over: begin one.
    #[error("no such transfer is under way")]
    UnknownTransfer,
    /// The volume that gets the content has another size: resize it first.
    #[error("the receiving volume has another size")]
    OtherSize,
    /// The question makes no sense for the volume: a defect, or damage on the way.
    #[error("the question makes no sense")]
    Senseless,
    /// A block is not what its fingerprint says: look at the sender's store.
    #[error("a block is not what its fingerprint says")]
    DamagedBlock,
    /// No room, or the volume's quota is reached: free or add space, then begin again.
    #[error("the receiving store is full")]
    OutOfSpace,
    /// The receiver's store failed; its log says how.
    #[error("the receiving store failed")]
    StoreFailed,
}

const REFUSALS: [(u8, Refusal); 6] = [
    (1, Refusal::UnknownTransfer),
    (2, Refusal::OtherSize),
    (3, Refusal::Senseless),
    (4, Refusal::DamagedBlock),
    (5, Refusal::OutOfSpace),
    (6, Refusal::StoreFailed),
];

/// A receiver's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The transfer has begun.
    Begun,
    /// Of a page's blocks with data, counted from 0 in their order, these have to be sent; ascending.
    Wanted(Vec<u16>),
    /// The blocks were taken.
    Took,
    /// The transfer is over.
    Ended {
        /// The receiver has the content that the root is of, durably. If not, nothing is to be relied on.
        matches: bool,
    },
    /// It was not done.
    Refused(Refusal),
}

impl Answer {
    /// The message.
    #[must_use]
    pub fn encode(self) -> Message {
        match self {
            Self::Begun => Message::new(BEGUN, Vec::new()),
            Self::Wanted(places) => Message::new(WANTED, encode_body(&WantedV1 { places })),
            Self::Took => Message::new(TOOK, Vec::new()),
            Self::Ended { matches } => Message::new(ENDED, encode_body(&EndedV1 { matches })),
            Self::Refused(refusal) => Message::new(REFUSED, encode_body(&RefusedV1 { reason: refusal.number() })),
        }
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Error::Misplaced`] if it is no answer to a sender, [`Error::Body`] if it is not within its bounds.
    pub fn decode(message: &Message) -> Result<Self, Error> {
        match message.kind {
            BEGUN => without_body(message, Self::Begun),
            TOOK => without_body(message, Self::Took),
            WANTED => {
                let WantedV1 { places } = decode_body(&message.body)?;
                let is_within = places.last().is_none_or(|last| usize::from(*last) < PAGE_ENTRIES_MAX);
                let ascends = places.is_sorted_by(|one, next| one < next);
                if is_within && ascends { Ok(Self::Wanted(places)) } else { Err(Error::Body) }
            }
            ENDED => {
                let EndedV1 { matches } = decode_body(&message.body)?;
                Ok(Self::Ended { matches })
            }
            REFUSED => {
                let RefusedV1 { reason } = decode_body(&message.body)?;
                Refusal::of_number(reason).map(Self::Refused).ok_or(Error::Body)
            }
            kind => Err(Error::Misplaced(kind.0)),
        }
    }
}

impl Refusal {
    fn number(self) -> u8 {
        let found = REFUSALS.iter().find(|(_, refusal)| *refusal == self);
        found.map(|(number, _)| *number).expect("every refusal has a number")
    }

    fn of_number(number: u8) -> Option<Self> {
        REFUSALS.iter().find(|(of, _)| *of == number).map(|(_, refusal)| *refusal)
    }
}

fn without_body(message: &Message, answer: Answer) -> Result<Answer, Error> {
    if message.body.is_empty() { Ok(answer) } else { Err(Error::Body) }
}
