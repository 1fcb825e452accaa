//! What can go wrong in a conversation, by what the asker should do about it.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

/// What the asker should do about a [`Failure`]. Values are only ever added; an unknown one reads as [`Kind::Other`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// The thing named does not exist: check the name.
    NotFound,
    /// The thing named exists already: choose another name.
    Exists,
    /// Somebody else uses it: try again later, or end that use.
    Busy,
    /// No room for new data: free or add space.
    OutOfSpace,
    /// What is on disk is not what was written: restore it.
    Corrupt,
    /// The store met an I/O error it must not retry: restart the node.
    Poisoned,
    /// The other side does not know this: use the newer version on both sides.
    Unsupported,
    /// The request makes no sense: correct it.
    Invalid,
    /// The store is open for reading only.
    ReadOnly,
    /// An I/O error that may be tried again.
    Io,
    /// The connection to the node is gone: see whether the node still runs.
    Unavailable,
    /// The other side broke the protocol: this is a defect, report it.
    Protocol,
    /// A kind this version does not know.
    #[serde(other)]
    Other,
}

/// An error as it travels: what to do, and a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// What the asker should do.
    pub kind: Kind,
    /// What happened, in one line.
    pub message: String,
}

impl Failure {
    /// A failure with its message.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A failure whose message is `error` and its sources, joined by colons.
    #[must_use]
    pub fn from_chain(kind: Kind, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { kind, message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

impl std::error::Error for Failure {}

/// Why a call got no answer, or not the one hoped for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request was understood and refused, or failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The byte stream failed or ended too early; the connection is of no further use.
    #[error("the connection to the node failed")]
    Stream(#[from] io::Error),
    /// The peer sent something the protocol does not allow; the connection is of no further use.
    #[error("the peer broke the control protocol: {0}")]
    Protocol(&'static str),
    /// The peer speaks no version of the protocol that this side does.
    #[error("the peer speaks control protocol {min} to {max}, this program {}", super::VERSION)]
    Version {
        /// The oldest version the peer speaks.
        min: u32,
        /// The newest version the peer speaks.
        max: u32,
    },
}

impl Error {
    /// What the asker should do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Failed(failure) => failure.kind,
            Self::Stream(_) => Kind::Unavailable,
            Self::Protocol(_) => Kind::Protocol,
            Self::Version { .. } => Kind::Unsupported,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Failed(failure) => failure,
            other => Self::from_chain(other.kind(), &other),
        }
    }
}
