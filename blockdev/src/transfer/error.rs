//! What can go wrong on the way.

use lsm_store::ErrorKind;

use crate::name::{SnapshotName, VolumeName};
use crate::node::NodeError;
use crate::root::Root;

/// Why bytes are not a stream that can be received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// It does not begin as one.
    #[error("this is no stream of `silt send`")]
    NotAStream,
    /// A newer program wrote it.
    #[error("the stream's {what} {found} is newer than this program")]
    Unsupported {
        /// What was newer.
        what: &'static str,
        /// The value found.
        found: u32,
    },
    /// Something is not as it was sent.
    #[error("the stream is damaged in record {record}: {why}")]
    Damaged {
        /// Which record, from 0.
        record: u64,
        /// What does not hold.
        why: &'static str,
    },
    /// It ends before its end.
    #[error("the stream ends early, in record {record}")]
    Truncated {
        /// The record that is missing or cut, from 0.
        record: u64,
    },
    /// Something follows its end.
    #[error("more bytes follow the end of the stream")]
    Trailing,
}

impl StreamError {
    /// What the caller should do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAStream => ErrorKind::Invalid,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Damaged { .. } | Self::Truncated { .. } | Self::Trailing => ErrorKind::Corrupt,
        }
    }
}

/// A failed transfer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The stream is not one, or not whole.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// What the stream goes on from is not here.
    #[error("the stream goes on from {0}, which is not here: receive that snapshot first, or a full stream")]
    NoBase(SnapshotName),
    /// What the stream goes on from holds something else here.
    #[error(
        "the stream goes on from a snapshot with the root {expected}, and {name} has {found}: receive a full stream"
    )]
    OtherBase {
        /// The snapshot of this name that is here.
        name: SnapshotName,
        /// The root it should have.
        expected: Root,
        /// The root it has.
        found: Root,
    },
    /// The volume holds something else than the snapshot the stream goes on from.
    #[error("volume {volume} was changed since {base}, and receiving would lose that")]
    Changed {
        /// The volume.
        volume: VolumeName,
        /// The snapshot.
        base: SnapshotName,
    },
    /// What has come is not what was sent.
    #[error("what was received has the root {found}, and was sent with {expected}")]
    OtherRoot {
        /// The root that the sender gave.
        expected: Root,
        /// The root of what has come.
        found: Root,
    },
    /// Blocks of a domain that this node does not have.
    #[error("the stream is of dedupe domain {0}, which this node does not have")]
    UnknownDomain(u32),
    /// Whoever asked for the transfer wants no more of it.
    #[error("the transfer was stopped")]
    Stopped,
}

/// Result of transfers.
pub type Result<T, E = TransferError> = std::result::Result<T, E>;

impl TransferError {
    /// What the caller should do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Node(error) => error.kind(),
            Self::Stream(error) => error.kind(),
            Self::NoBase(_) => ErrorKind::NotFound,
            Self::OtherBase { .. } | Self::Changed { .. } => ErrorKind::Invalid,
            Self::OtherRoot { .. } => ErrorKind::Corrupt,
            Self::UnknownDomain(_) => ErrorKind::Unsupported,
            Self::Stopped => ErrorKind::Io,
        }
    }
}

impl From<lsm_store::Error> for TransferError {
    fn from(error: lsm_store::Error) -> Self {
        Self::Node(error.into())
    }
}
