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
    /// Its sender waits for answers.
    #[error("the stream asks what is here and waits for an answer: `silt recv --serve` gives it")]
    Asks,
    /// Its sender listens to no answers.
    #[error("the stream asks nothing: `silt recv` without --serve takes it")]
    AsksNothing,
}

impl StreamError {
    /// What the caller should do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAStream | Self::Asks | Self::AsksNothing => ErrorKind::Invalid,
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
    /// A sender that may not open the volume.
    #[error("the sender is not on the list of volume {0}: `silt set {0} allow=NAME,...` at the receiver says who is")]
    NotAdmitted(VolumeName),
    /// A volume of a cluster.
    #[error("volume {0} is replicated, and exchanges go into volumes of one node: send to another name")]
    Replicated(VolumeName),
    /// There are as many senders as may be.
    #[error("{0} senders are at work already: try again later")]
    TooMany(usize),
    /// Whoever asked for the transfer wants no more of it.
    #[error("the transfer was stopped")]
    Stopped,
    /// The other end of an exchange is something else.
    #[error("the other end does not answer as `silt recv --serve` does: it says {begins:?}")]
    Stranger {
        /// What it says first, as far as it is text.
        begins: String,
    },
    /// The receiver takes no stream that this program can write.
    #[error(
        "the receiver takes streams of versions {version_min} to {version_max} and this program writes version {ours}: update the \
         older one"
    )]
    NoCommonVersion {
        /// The oldest version that the receiver takes.
        version_min: u32,
        /// The newest.
        version_max: u32,
        /// The version that this program writes.
        ours: u32,
    },
    /// What the receiver says cannot be made sense of.
    #[error("the receiver's answers make no sense")]
    Answer(#[source] StreamError),
    /// The receiver has ended, and did not say why.
    #[error("the receiver ended before it had received everything")]
    ReceiverGone,
    /// The receiver has failed.
    #[error("the receiver says: {message}")]
    Receiver {
        /// What to do about it, at the receiver.
        kind: ErrorKind,
        /// What happened there.
        message: String,
    },
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
            Self::NotAdmitted(_) => ErrorKind::Invalid,
            Self::TooMany(_) => ErrorKind::Busy,
            Self::Replicated(_) | Self::UnknownDomain(_) | Self::NoCommonVersion { .. } => ErrorKind::Unsupported,
            Self::Stopped | Self::ReceiverGone => ErrorKind::Io,
            Self::Stranger { .. } => ErrorKind::Invalid,
            Self::Answer(error) => error.kind(),
            Self::Receiver { kind, .. } => *kind,
        }
    }
}

impl From<lsm_store::Error> for TransferError {
    fn from(error: lsm_store::Error) -> Self {
        Self::Node(error.into())
    }
}
