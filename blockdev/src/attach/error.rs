//! What can go wrong with attaching a volume, by what the user should do about it.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use lsm_store::ErrorKind;
use serde::{Deserialize, Serialize};

/// A failed attach, detach or list.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The name is not one a volume or snapshot can have.
    #[error("{0:?} is not the name of a volume or snapshot")]
    BadName(String),
    /// The daemon serves no volume or snapshot of this name.
    #[error("there is no volume or snapshot {0}")]
    NoSuchVolume(String),
    /// Nothing is attached under this name or device.
    #[error("{0} is not attached")]
    NotAttached(String),
    /// The volume has a device already, or the remains of one that `detach` has to clear.
    #[error("{name} is attached already")]
    AlreadyAttached {
        /// The volume.
        name: String,
    },
    /// The device is mounted, or something holds it.
    #[error("{} is in use: unmount it first", .device.display())]
    InUse {
        /// The device.
        device: PathBuf,
    },
    /// The machine lacks what the method needs.
    #[error("this machine has no {0}")]
    NoDriver(&'static str),
    /// Making devices, and reading what is attached, takes privileges the caller lacks.
    #[error("only root can attach, detach and list devices")]
    NotPermitted,
    /// No daemon answers for this data directory.
    #[error("no daemon answers at {}", .socket.display())]
    NoDaemon {
        /// The socket that was tried.
        socket: PathBuf,
        /// Why it did not answer.
        #[source]
        source: io::Error,
    },
    /// The device is gone, but what was written last may not be on the volume.
    #[error("{} was detached, but its last writes could not be flushed", .device.display())]
    Unflushed {
        /// The device that was.
        device: PathBuf,
        /// The failed flush.
        #[source]
        source: io::Error,
    },
    /// The background process could not serve the device.
    #[error("{message}")]
    Helper {
        /// What kind of failure it reported.
        failure: Failure,
        /// Its error, in words.
        message: String,
    },
    /// A program this needs did not do its work.
    #[error("{program} failed: {stderr}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What it said.
        stderr: String,
    },
    /// The kernel's NBD driver refused.
    #[error("{action} by the kernel's NBD driver failed")]
    Netlink {
        /// What was asked of it.
        action: &'static str,
        /// Its answer.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The machine reported an I/O error.
    #[error("{action} {} failed", .path.display())]
    Io {
        /// What was being done: "reading", "mounting", ...
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The machine's error.
        #[source]
        source: io::Error,
    },
}

/// Result of attaching and detaching.
pub type Result<T, E = AttachError> = std::result::Result<T, E>;

/// An [`ErrorKind`] as the helper tells it to the process that started it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// [`ErrorKind::NotFound`].
    NotFound,
    /// [`ErrorKind::Exists`].
    Exists,
    /// [`ErrorKind::Busy`].
    Busy,
    /// [`ErrorKind::Unsupported`].
    Unsupported,
    /// [`ErrorKind::Io`], and everything that has no kind of its own here.
    Io,
}

impl AttachError {
    /// What the caller should do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadName(_) => ErrorKind::Invalid,
            Self::NoSuchVolume(_) | Self::NotAttached(_) => ErrorKind::NotFound,
            Self::AlreadyAttached { .. } => ErrorKind::Exists,
            Self::InUse { .. } => ErrorKind::Busy,
            Self::NoDriver(_) | Self::NotPermitted => ErrorKind::Unsupported,
            Self::Helper { failure, .. } => failure.kind(),
            Self::NoDaemon { .. }
            | Self::Unflushed { .. }
            | Self::Program { .. }
            | Self::Netlink { .. }
            | Self::Io { .. } => ErrorKind::Io,
        }
    }

    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.into(), source: source.into() }
    }
}

impl Failure {
    fn kind(self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Exists => ErrorKind::Exists,
            Self::Busy => ErrorKind::Busy,
            Self::Unsupported => ErrorKind::Unsupported,
            Self::Io => ErrorKind::Io,
        }
    }
}

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Exists => Self::Exists,
            ErrorKind::Busy => Self::Busy,
            ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Io,
        }
    }
}
