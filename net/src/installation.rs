//! What surrounds the content of a replica on its way (`crate::content`): the receiver gets ready, freezes what it has received
//! as a snapshot, and at last takes over the log that the content is of.
//!
//! Specified in `docs/protocol.md`, "Installation". The sender asks; each question has one answer.

use rkyv::{Archive, Deserialize, Serialize};

use crate::envelope::{Error, Kind, Message, decode_body, encode_body};
use crate::id::{Epoch, Lsn, VolumeId};
use crate::replication::wire::{check_history, check_lsn};
use crate::replication::{History, TransferId};

/// A question.
pub const INSTALLATION: Kind = Kind::bulk(0x20);
/// Its answer.
pub const INSTALLED: Kind = Kind::bulk(0x21);

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A transfer begins: the receiver gives up what it has, but for the content as of the base.
    Begin {
        /// What follows differs from the content as of there, which the receiver's log reaches; `None` if it is everything.
        base: Option<Lsn>,
    },
    /// Content of a volume of this size follows.
    Prepare {
        /// The size.
        size_bytes: u64,
    },
    /// The content that was received is that of a snapshot.
    Freeze {
        /// Its name.
        snapshot: String,
    },
    /// The content that was received is that of a log with this history.
    Install {
        /// Which epochs wrote it, and where it ends.
        history: History,
    },
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The volume.
    pub volume: VolumeId,
    /// The transfer.
    pub transfer: TransferId,
    /// What is to be done.
    pub step: Step,
}

/// An answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It was done.
    Done,
    /// It was not done, and the transfer is over.
    Refused,
}

#[derive(Archive, Serialize, Deserialize)]
enum StepV1 {
    Begin { base: Option<Lsn> },
    Prepare { size_bytes: u64 },
    Freeze { snapshot: String },
    Install { starts: Vec<(Epoch, Lsn)>, end: Lsn },
}

#[derive(Archive, Serialize, Deserialize)]
struct QuestionV1 {
    volume: VolumeId,
    transfer: u64,
    step: StepV1,
}

#[derive(Archive, Serialize, Deserialize)]
enum AnswerV1 {
    Done,
    Refused,
}

impl Question {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Message {
        let step = match &self.step {
            Step::Begin { base } => StepV1::Begin { base: *base },
            Step::Prepare { size_bytes } => StepV1::Prepare { size_bytes: *size_bytes },
            Step::Freeze { snapshot } => StepV1::Freeze { snapshot: snapshot.clone() },
            Step::Install { history } => StepV1::Install { starts: history.starts().to_vec(), end: history.end().lsn },
        };
        let body = QuestionV1 { volume: self.volume, transfer: self.transfer.0, step };
        Message::new(INSTALLATION, encode_body(&body))
    }

    /// Reads the message; [`Error::Misplaced`] or [`Error::Body`] if it is another.
    pub fn decode(message: &Message) -> Result<Self, Error> {
        if message.kind != INSTALLATION {
            return Err(Error::Misplaced(message.kind.0));
        }
        let QuestionV1 { volume, transfer, step } = decode_body(&message.body)?;
        let step = match step {
            StepV1::Begin { base } => Step::Begin { base: base.map(check_lsn).transpose()? },
            StepV1::Prepare { size_bytes } => Step::Prepare { size_bytes },
            StepV1::Freeze { snapshot } => Step::Freeze { snapshot },
            StepV1::Install { starts, end } => Step::Install { history: check_history(starts, end)? },
        };
        Ok(Self { volume, transfer: TransferId(transfer), step })
    }
}

impl Answer {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Message {
        let body = match self {
            Self::Done => AnswerV1::Done,
            Self::Refused => AnswerV1::Refused,
        };
        Message::new(INSTALLED, encode_body(&body))
    }

    /// Reads the message; [`Error::Misplaced`] or [`Error::Body`] if it is another.
    pub fn decode(message: &Message) -> Result<Self, Error> {
        if message.kind != INSTALLED {
            return Err(Error::Misplaced(message.kind.0));
        }
        Ok(match decode_body(&message.body)? {
            AnswerV1::Done => Self::Done,
            AnswerV1::Refused => Self::Refused,
        })
    }
}

#[cfg(test)]
mod tests;
