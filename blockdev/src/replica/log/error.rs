//! What can go wrong with the log of a replica.

use std::io;

/// A failed operation on the log of a replica.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The device failed. Of a write or a sync: the log takes nothing more, and has to be opened again.
    #[error("{doing} {path} failed")]
    Io {
        /// What was done.
        doing: &'static str,
        /// To which file or directory.
        path: String,
        /// What the device said.
        source: io::Error,
    },
    /// The disk has no room. What was asked for was not done, unless the operation says so, and the log goes on: try again when
    /// there is room.
    #[error("there is no room on the disk for {path}")]
    Full {
        /// Which file.
        path: String,
        /// What the device said.
        source: io::Error,
    },
    /// Something that was synced is not there: the replica has to start anew, from another one's content.
    #[error("{file} is damaged at {offset}: {what}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What does not hold.
        what: &'static str,
    },
    /// A newer version wrote it: use that one. Nothing was changed.
    #[error("{file} has {what} {found}, which this version does not know")]
    Unsupported {
        /// The file.
        file: String,
        /// What is not known.
        what: &'static str,
        /// Its number, or the bits.
        found: u64,
    },
    /// There is a log of this volume already: open it, or remove it first.
    #[error("there is a log in {0} already")]
    Exists(String),
    /// There is no log of this volume.
    #[error("there is no log in {0}")]
    Missing(String),
    /// What was asked for makes no sense, and nothing was done.
    #[error("{what} must be {must}")]
    Invalid {
        /// What was given.
        what: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// An earlier write or sync failed, so nothing is known of what came before it: open the log again.
    #[error("the log has failed before")]
    Failed,
}

pub(super) type Result<T> = std::result::Result<T, LogError>;

impl LogError {
    pub(super) fn io(doing: &'static str, path: &str, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    /// A failure to get room, which is no failure of the log.
    pub(super) fn growing(path: &str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned(), source },
            _ => Self::io("growing", path, source),
        }
    }

    /// True if it is no failure: there is no room at the moment.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    pub(super) fn corrupt(file: &str, offset: u64, what: &'static str) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, what }
    }
}
