//! What can go wrong with named volumes.

use lsm_store::ErrorKind;

use crate::catalog::InvalidRecord;
use crate::name::{InvalidName, VolumeName};

/// A failed operation of a node.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The name means nothing here.
    #[error("no volume is named {0}")]
    NoSuchVolume(String),
    /// The name means something already.
    #[error("a volume named {0} exists already")]
    NameTaken(VolumeName),
    /// The name cannot be one.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The volume's content is not complete yet.
    #[error("volume {0} is still being imported")]
    Importing(VolumeName),
    /// Clients have the volume open.
    #[error("volume {name} is in use by {connections} connections")]
    InUse {
        /// The volume.
        name: VolumeName,
        /// How many clients.
        connections: u64,
    },
    /// The new size is smaller, and nobody said that data may be lost.
    #[error("volume {name} would shrink from {from_bytes} to {to_bytes} bytes and lose what lies beyond")]
    WouldShrink {
        /// The volume.
        name: VolumeName,
        /// Its size.
        from_bytes: u64,
        /// The size asked for.
        to_bytes: u64,
    },
    /// The catalog's records are not what was written.
    #[error("the catalog is damaged")]
    Catalog(#[from] InvalidRecord),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] lsm_store::Error),
}

/// Result of a node's operations.
pub type Result<T, E = NodeError> = std::result::Result<T, E>;

impl NodeError {
    /// What the caller should do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchVolume(_) => ErrorKind::NotFound,
            Self::NameTaken(_) => ErrorKind::Exists,
            Self::InvalidName(_) | Self::WouldShrink { .. } => ErrorKind::Invalid,
            Self::Importing(_) | Self::InUse { .. } => ErrorKind::Busy,
            Self::Catalog(InvalidRecord::Version(_)) => ErrorKind::Unsupported,
            Self::Catalog(_) => ErrorKind::Corrupt,
            Self::Store(error) => error.kind(),
        }
    }
}
