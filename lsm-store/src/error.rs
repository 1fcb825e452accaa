//! What can go wrong in the store, by what the caller should do about it.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use crate::id::{BlockIndex, VolumeId};

/// What a caller should do about an [`Error`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing named does not exist: check the name.
    NotFound,
    /// The thing named exists already: choose another name.
    Exists,
    /// Somebody else uses it: try again later.
    Busy,
    /// No room for new data: free or add space; everything but new data still works.
    OutOfSpace,
    /// What is on disk is not what was written: restore it from a replica or a backup.
    Corrupt,
    /// The store met an I/O error it must not retry: restart it.
    Poisoned,
    /// The store was written by a newer version, or with a feature this version lacks: use the newer version.
    Unsupported,
    /// The request makes no sense: correct it.
    Invalid,
    /// The store was opened for reading only.
    ReadOnly,
    /// The machine failed to do an I/O that may be tried again.
    Io,
}

/// A failed operation of the store.
///
/// Cloneable, because one failed sync fails every write that was waiting for it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such volume.
    #[error("no volume {0} in this store")]
    NoSuchVolume(VolumeId),
    /// A request beyond the end of a volume.
    #[error("bytes {offset}+{len} are beyond the end of the volume at {size}")]
    BeyondEnd {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        len: u64,
        /// The volume's size in bytes.
        size: u64,
    },
    /// An argument out of its bounds.
    #[error("{what} must be {must}")]
    Invalid {
        /// The argument.
        what: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// There is no store here.
    #[error("there is no store here")]
    NoStore,
    /// There is a store here already.
    #[error("there is a store here already")]
    StoreExists,
    /// Another process has the store open.
    #[error("the store is in use by another process")]
    Locked,
    /// A background thread of the store met a broken invariant.
    #[error("a background thread of the store panicked; its message is in the log")]
    Panicked,
    /// The store was closed.
    #[error("the store was closed")]
    Closed,
    /// The store was opened for reading only.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The store is full.
    #[error("the store is full")]
    OutOfSpace,
    /// The volume maps as much as it may.
    #[error("the volume has reached its quota: trim, or raise the quota")]
    QuotaReached,
    /// There is no room for what is to be reserved.
    #[error(
        "{reserve_bytes} bytes cannot be reserved: there are {missing_bytes} too few; free or add space, or reserve less"
    )]
    NotBacked {
        /// The reservation.
        reserve_bytes: u64,
        /// What is missing, in bytes.
        missing_bytes: u64,
    },
    /// An I/O error stopped the store; it has to be opened again.
    #[error("the store stopped after an I/O error")]
    Poisoned(#[source] Arc<Error>),
    /// A format or feature this version does not know.
    #[error("{what} {found} is newer than this version of Siltstone understands")]
    Unsupported {
        /// What was newer.
        what: &'static str,
        /// The value found.
        found: u64,
    },
    /// A store opened for reading only has no other place for the journal than memory.
    #[error(
        "the journal holds more than the {limit} bytes of memory there are for it; open the store for writing once \
         (`silt serve`), which empties the journal, or allow more memory"
    )]
    JournalTooLong {
        /// The memory, in bytes.
        limit: u64,
    },
    /// Bytes on disk that are not what was written.
    #[error("{file} is damaged at byte {offset}: {why}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What does not hold.
        why: &'static str,
    },
    /// A block that another store gave is not what it says it is.
    #[error("block {block} is not what its fingerprint says: {why}")]
    ForeignBlock {
        /// The block.
        block: BlockIndex,
        /// What does not hold.
        why: &'static str,
    },
    /// The machine reported an I/O error.
    #[error("{action} {file} failed")]
    Io {
        /// What was being done: "reading", "writing", "syncing", ...
        action: &'static str,
        /// The file.
        file: String,
        /// The machine's error.
        #[source]
        source: Arc<io::Error>,
    },
}

/// Result of the store's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An I/O error with what was being done to which file. A full disk becomes [`Error::OutOfSpace`], which may be tried
    /// again, unless a sync met it: nobody knows what a failed sync left behind, so it is final whatever its reason.
    pub(crate) fn io(action: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        let is_full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if is_full && action != "syncing" {
            return Self::OutOfSpace;
        }
        Self::Io { action, file: file.into(), source: Arc::new(source) }
    }

    /// Damage found in `file` at byte `offset`.
    pub(crate) fn corrupt(file: impl Into<String>, offset: u64, why: &'static str) -> Self {
        Self::Corrupt { file: file.into(), offset, why }
    }

    /// True if the machine had no descriptor, memory or thread for what was to begin: nothing was done, and it may be tried
    /// again.
    pub(crate) fn is_shortage(&self) -> bool {
        let Self::Io { action: "opening" | "creating" | "making a queue for", source, .. } = self else { return false };
        let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
        source.raw_os_error().is_some_and(|errno| shortages.contains(&Errno::from_raw_os_error(errno)))
    }

    /// What the caller should do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchVolume(_) | Self::NoStore => ErrorKind::NotFound,
            Self::BeyondEnd { .. } | Self::Invalid { .. } | Self::JournalTooLong { .. } => ErrorKind::Invalid,
            Self::StoreExists => ErrorKind::Exists,
            Self::Locked | Self::Closed => ErrorKind::Busy,
            Self::ReadOnly => ErrorKind::ReadOnly,
            Self::OutOfSpace | Self::QuotaReached | Self::NotBacked { .. } => ErrorKind::OutOfSpace,
            Self::Poisoned(_) | Self::Panicked => ErrorKind::Poisoned,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Corrupt { .. } | Self::ForeignBlock { .. } => ErrorKind::Corrupt,
            Self::Io { .. } => ErrorKind::Io,
        }
    }
}
