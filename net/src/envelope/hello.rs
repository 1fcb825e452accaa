//! The transport's own messages. They precede every agreement: these types never change.

use super::Message;
use super::body::{Checked, decode_body, encode_body};
use super::error::Error;
use super::kind::Kind;
use super::version::Versions;

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct HelloV0 {
    versions_min: u16,
    versions_max: u16,
    session: u64,
    index: u8,
    count: u8,
    program: String,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct WelcomeV0 {
    version: u16,
    program: String,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct OpeningV0 {
    class: u8,
    id: u64,
}

/// The dialler's first message on each of a session's connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// What the dialler speaks.
    pub versions: Versions,
    /// Drawn by the dialler; the same on all connections of a session.
    pub session: u64,
    /// Which of the session's connections this is.
    pub index: u8,
    /// How many the session has.
    pub count: u8,
    /// The dialler's name and version, for the log.
    pub program: String,
}

/// The answer to a hello.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The version both use from here on.
    pub version: u16,
    /// The listener's name and version, for the log.
    pub program: String,
}

/// The first message of a channel's stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening {
    /// The channel's class, by number.
    pub class: u8,
    /// The channel within its class.
    pub id: u64,
}

impl Hello {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Message {
        let body = HelloV0 {
            versions_min: self.versions.min,
            versions_max: self.versions.max,
            session: self.session,
            index: self.index,
            count: self.count,
            program: self.program.clone(),
        };
        Message::new(Kind::HELLO, encode_body(&body))
    }

    /// Reads the message; [`Error::Misplaced`] or [`Error::Body`] if it is another.
    pub fn decode(message: &Message) -> Result<Self, Error> {
        let hello: HelloV0 = of_kind(message, Kind::HELLO)?;
        Ok(Self {
            versions: Versions { min: hello.versions_min, max: hello.versions_max },
            session: hello.session,
            index: hello.index,
            count: hello.count,
            program: hello.program,
        })
    }
}

impl Welcome {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Message {
        let body = WelcomeV0 { version: self.version, program: self.program.clone() };
        Message::new(Kind::WELCOME, encode_body(&body))
    }

    /// Reads the message; [`Error::Misplaced`] or [`Error::Body`] if it is another.
    pub fn decode(message: &Message) -> Result<Self, Error> {
        let WelcomeV0 { version, program } = of_kind(message, Kind::WELCOME)?;
        Ok(Self { version, program })
    }
}

impl Opening {
    /// The message.
    #[must_use]
    pub fn encode(self) -> Message {
        Message::new(Kind::OPENING, encode_body(&OpeningV0 { class: self.class, id: self.id }))
    }

    /// Reads the message; [`Error::Misplaced`] or [`Error::Body`] if it is another.
    pub fn decode(message: &Message) -> Result<Self, Error> {
        let OpeningV0 { class, id } = of_kind(message, Kind::OPENING)?;
        Ok(Self { class, id })
    }
}

fn of_kind<T>(message: &Message, kind: Kind) -> Result<T, Error>
where
    T: rkyv::Archive,
    T::Archived: Checked<T>,
{
    if message.kind != kind {
        return Err(Error::Misplaced(message.kind.0));
    }
    decode_body(&message.body)
}
