//! What can go wrong, by what the caller should do about it.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

#[cfg(feature = "connect")]
use blockdev::frontend::nbd::ClientError;
#[cfg(feature = "connect")]
use blockdev::frontend::nbd::wire::{Errno, OptionReply};
use blockdev::lsm_store;
use blockdev::name::{InvalidName, ObjectName};
#[cfg(feature = "connect")]
use blockdev::net::control;
use blockdev::node::NodeError;
use blockdev::object::InvalidMetadata;
use blockdev::root::InvalidRoot;
use blockdev::span::InvalidSpan;
use blockdev::transfer::TransferError;

/// What a caller should do about an [`Error`]. Kinds are only ever added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing named does not exist: check the name.
    NotFound,
    /// The thing named exists already: choose another name.
    Exists,
    /// Somebody else uses it: end that use, or try again later.
    Busy,
    /// No room for new data: free or add space; everything but new data still works.
    OutOfSpace,
    /// What is on disk is not what was written: restore it from a backup.
    Corrupt,
    /// The request makes no sense: correct it.
    Invalid,
    /// It can only be read.
    ReadOnly,
    /// The store was closed, or its daemon is gone: open it, or connect to it, again.
    Unavailable,
    /// The other side, or what wrote the store, is newer: use the newer version. Or a replicated volume cannot do it yet, of
    /// which often a snapshot can.
    Unsupported,
    /// The caller's own watch ended it; what was done until then stays done.
    Cancelled,
    /// The store met an I/O error it must not retry, and has stopped: close it and open it again. What was not flushed may
    /// be lost.
    Stopped,
    /// The machine failed to do an I/O, or the caller's own reader or writer did. Through a daemon also where an embedded store
    /// would say [`ErrorKind::Corrupt`] or [`ErrorKind::Stopped`]: its log and `silt status` say which.
    Io,
    /// None of these: the message says more. It may be a defect.
    Other,
}

/// A failed operation: a message for people, its causes as [`std::error::Error::source`], and a kind for programs. `{:#}` shows the
/// message and its causes in one line.
#[derive(Debug)]
pub struct Error(Box<Cause>);

/// Result of the library's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(cause) = self;
        write!(f, "{cause}")?;
        let mut source = cause.source().filter(|_| f.alternate());
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl From<Error> for io::Error {
    /// With the error inside, for what reads by [`io::Read`].
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::Corrupt => io::ErrorKind::InvalidData,
            ErrorKind::Unavailable => io::ErrorKind::NotConnected,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        Self(Box::new(cause))
    }
}

/// What happened. Not public, because its sources are not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Store(#[from] lsm_store::Error),
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Metadata(#[from] InvalidMetadata),
    #[error("an object cannot be kept for that time")]
    Keep(#[source] InvalidSpan),
    #[error(transparent)]
    Root(#[from] InvalidRoot),
    #[error("there is no store in {}", .0.display())]
    NoStore(PathBuf),
    #[error("there is a store in {} already", .0.display())]
    StoreExists(PathBuf),
    #[error("the store in {} is in use by another process: if that is its daemon, `Store::connect` shares it", .0.display())]
    InUse(PathBuf),
    #[error("{action} the data directory {} failed", path.display())]
    Directory { action: &'static str, path: PathBuf, source: io::Error },
    #[error("bytes {offset}+{len} are beyond the end of {name} at {size_bytes}")]
    BeyondEnd { name: String, offset: u64, len: u64, size_bytes: u64 },
    #[error("{earlier} and {later} are not of one store")]
    OtherStore { earlier: String, later: String },
    #[error("{0} is not open: reopening it after it was resized has failed")]
    NotOpen(String),
    #[error("the upload of {name} goes on at byte {found}, not {asked}: ask again with `Store::find_upload`")]
    UploadMoved { name: ObjectName, found: u64, asked: u64 },
    #[error("the content is not what was broken off of {name} at byte {offset}: `Store::remove_upload` forgets that")]
    OtherContent { name: ObjectName, offset: u64 },
    #[error("reading what is to be stored failed")]
    Input(#[source] io::Error),
    #[error("writing what was read failed")]
    Output(#[source] io::Error),
    #[error("cancelled")]
    Cancelled,
    #[error("a thread could not be started")]
    Thread(#[source] io::Error),
    #[cfg(feature = "async")]
    #[error("the operation did not come to an end: it panicked, or no thread could be started for it")]
    NotRun,
    #[cfg(feature = "connect")]
    #[error("no daemon answers for {}: if none runs, `Store::open` opens the store", dir.display())]
    NoDaemon { dir: PathBuf, source: io::Error },
    #[cfg(feature = "connect")]
    #[error(transparent)]
    Control(#[from] control::Error),
    #[cfg(feature = "connect")]
    #[error(transparent)]
    Nbd(#[from] ClientError),
    #[cfg(feature = "connect")]
    #[error("the daemon's answer is not one to the question: are both of one version?")]
    Answer,
}

/// Result with a cause that is not yet an [`Error`].
pub(crate) type Caused<T> = std::result::Result<T, Cause>;

impl Cause {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Node(NodeError::Store(error)) | Self::Store(error) => of_store(error),
            Self::Node(error) => of_kind(error.kind()),
            Self::Transfer(TransferError::Node(NodeError::Store(error))) => of_store(error),
            Self::Transfer(error) => of_kind(error.kind()),
            Self::Name(_) | Self::BeyondEnd { .. } | Self::OtherStore { .. } => ErrorKind::Invalid,
            Self::Metadata(_) | Self::Keep(_) | Self::Root(_) => ErrorKind::Invalid,
            Self::UploadMoved { .. } | Self::OtherContent { .. } => ErrorKind::Invalid,
            Self::NoStore(_) => ErrorKind::NotFound,
            Self::StoreExists(_) => ErrorKind::Exists,
            Self::InUse(_) => ErrorKind::Busy,
            Self::NotOpen(_) => ErrorKind::Unavailable,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Directory { .. } | Self::Thread(_) | Self::Input(_) | Self::Output(_) => ErrorKind::Io,
            #[cfg(feature = "async")]
            Self::NotRun => ErrorKind::Other,
            #[cfg(feature = "connect")]
            Self::NoDaemon { .. } => ErrorKind::Unavailable,
            #[cfg(feature = "connect")]
            Self::Control(error) => of_answer(error.kind()),
            #[cfg(feature = "connect")]
            Self::Nbd(error) => of_nbd(error),
            #[cfg(feature = "connect")]
            Self::Answer => ErrorKind::Unsupported,
        }
    }
}

fn of_store(error: &lsm_store::Error) -> ErrorKind {
    match error {
        lsm_store::Error::Closed => ErrorKind::Unavailable,
        other => of_kind(other.kind()),
    }
}

fn of_kind(kind: lsm_store::ErrorKind) -> ErrorKind {
    match kind {
        lsm_store::ErrorKind::NotFound => ErrorKind::NotFound,
        lsm_store::ErrorKind::Exists => ErrorKind::Exists,
        lsm_store::ErrorKind::Busy => ErrorKind::Busy,
        lsm_store::ErrorKind::OutOfSpace => ErrorKind::OutOfSpace,
        lsm_store::ErrorKind::Corrupt => ErrorKind::Corrupt,
        lsm_store::ErrorKind::Poisoned => ErrorKind::Stopped,
        lsm_store::ErrorKind::Unsupported => ErrorKind::Unsupported,
        lsm_store::ErrorKind::Invalid => ErrorKind::Invalid,
        lsm_store::ErrorKind::ReadOnly => ErrorKind::ReadOnly,
        lsm_store::ErrorKind::Io => ErrorKind::Io,
        _ => ErrorKind::Other,
    }
}

#[cfg(feature = "connect")]
fn of_answer(kind: control::Kind) -> ErrorKind {
    match kind {
        control::Kind::NotFound => ErrorKind::NotFound,
        control::Kind::Exists => ErrorKind::Exists,
        control::Kind::Busy => ErrorKind::Busy,
        control::Kind::OutOfSpace => ErrorKind::OutOfSpace,
        control::Kind::Corrupt => ErrorKind::Corrupt,
        control::Kind::Poisoned => ErrorKind::Stopped,
        control::Kind::Unsupported => ErrorKind::Unsupported,
        control::Kind::Invalid => ErrorKind::Invalid,
        control::Kind::ReadOnly => ErrorKind::ReadOnly,
        control::Kind::Io => ErrorKind::Io,
        control::Kind::Unavailable => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

#[cfg(feature = "connect")]
fn of_nbd(error: &ClientError) -> ErrorKind {
    match error {
        ClientError::Connect { .. } | ClientError::Disconnected(_) => ErrorKind::Unavailable,
        ClientError::Refused { reply, .. } => of_refusal(*reply),
        ClientError::Unsupported { .. } => ErrorKind::Unsupported,
        ClientError::Server { error: Errno::NOSPC } => ErrorKind::OutOfSpace,
        ClientError::Server { error: Errno::PERM } => ErrorKind::ReadOnly,
        ClientError::Server { error: Errno::INVAL } => ErrorKind::Invalid,
        ClientError::Server { error: Errno::SHUTDOWN } => ErrorKind::Unavailable,
        ClientError::Server { .. } => ErrorKind::Io,
        _ => ErrorKind::Other,
    }
}

#[cfg(feature = "connect")]
fn of_refusal(reply: OptionReply) -> ErrorKind {
    match reply {
        OptionReply::ERR_UNKNOWN => ErrorKind::NotFound,
        // It has as many connections as it takes.
        OptionReply::ERR_POLICY => ErrorKind::Busy,
        OptionReply::ERR_SHUTDOWN => ErrorKind::Unavailable,
        OptionReply::ERR_TLS_REQD => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests;
