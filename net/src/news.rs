//! What nodes ask each other so that somebody at any of them sees all of the cluster: copies that are being made, and events.
//!
//! Specified in `docs/protocol.md`, "News". An answer is what its node knows at that moment; nothing is decided by it.

use rkyv::{Archive, Deserialize, Serialize};

use crate::envelope::{Error, Kind, Message, decode_body, encode_body};
use crate::id::{NodeId, VolumeId};

/// A question.
pub const NEWS: Kind = Kind::control(4);

/// Its answer.
const TOLD: Kind = Kind::control(5);

/// Bytes of texts in an answer with events at most; the newest are in it.
const TEXT_BYTES_MAX: usize = 512 << 10;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Which copies the node is making.
    Copying,
    /// What happened from this time on, in milliseconds since the Unix epoch.
    Events(u64),
}

/// A copy that is being made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct Copying {
    /// Of which volume.
    pub volume: VolumeId,
    /// On which node.
    pub to: NodeId,
    /// How much of it is done, in bytes.
    pub done_bytes: u64,
    /// How much there is to do in all, as far as that is known now.
    pub total_bytes: u64,
    /// How much is being done in a second, once that is known.
    pub rate_bytes: Option<u64>,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What, as a word.
    pub kind: String,
    /// To which node or volume, by name; empty for the node that says so.
    pub subject: String,
    /// In words.
    pub text: String,
}

/// What is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// The copies the node is making.
    Copying(Vec<Copying>),
    /// What happened, from the oldest.
    Events(Vec<Event>),
}

#[derive(Archive, Serialize, Deserialize)]
enum AskedV1 {
    Copying,
    Events { since_ms: u64 },
}

#[derive(Archive, Serialize, Deserialize)]
enum ToldV1 {
    Copying(Vec<Copying>),
    Events(Vec<Event>),
}

impl Asked {
    /// The message.
    #[must_use]
    pub fn encode(self) -> Message {
        let body = match self {
            Self::Copying => AskedV1::Copying,
            Self::Events(since_ms) => AskedV1::Events { since_ms },
        };
        Message::new(NEWS, encode_body(&body))
    }

    /// The question in a message.
    ///
    /// # Errors
    /// [`Error::Misplaced`] or [`Error::Body`] if it is another.
    pub fn decode(message: &Message) -> Result<Self, Error> {
        if message.kind != NEWS {
            return Err(Error::Misplaced(message.kind.0));
        }
        Ok(match decode_body(&message.body)? {
            AskedV1::Copying => Self::Copying,
            AskedV1::Events { since_ms } => Self::Events(since_ms),
        })
    }
}

impl Told {
    /// The message. Of too many events the oldest are left out.
    #[must_use]
    pub fn encode(self) -> Message {
        let body = match self {
            Self::Copying(copying) => ToldV1::Copying(copying),
            Self::Events(events) => ToldV1::Events(newest(events)),
        };
        Message::new(TOLD, encode_body(&body))
    }

    /// The answer in a message.
    ///
    /// # Errors
    /// [`Error::Misplaced`] or [`Error::Body`] if it is another.
    pub fn decode(message: &Message) -> Result<Self, Error> {
        if message.kind != TOLD {
            return Err(Error::Misplaced(message.kind.0));
        }
        Ok(match decode_body(&message.body)? {
            ToldV1::Copying(copying) => Self::Copying(copying),
            ToldV1::Events(events) => Self::Events(events),
        })
    }
}

fn newest(mut events: Vec<Event>) -> Vec<Event> {
    // Beside its texts an event has less than this.
    let bytes_of = |event: &Event| 64 + event.kind.len() + event.subject.len() + event.text.len();
    let mut bytes = 0;
    let fits = |event: &&Event| {
        bytes += bytes_of(event);
        bytes <= TEXT_BYTES_MAX
    };
    let count = events.iter().rev().take_while(fits).count();
    events.split_off(events.len() - count)
}

#[cfg(test)]
mod tests;
