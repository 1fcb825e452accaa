//! What can go wrong with named volumes.

use lsm_store::ErrorKind;
use lsm_store::id::VolumeId;

use crate::catalog::InvalidRecord;
use crate::name::{ExportName, InvalidName, ObjectName, SnapshotName, VolumeName};
use crate::object::InvalidMetadata;

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
    /// The volume has no snapshot of this name.
    #[error("volume {} has no snapshot named {}", .0.volume, .0.snapshot)]
    NoSuchSnapshot(SnapshotName),
    /// The volume has a snapshot of this name already.
    #[error("a snapshot named {0} exists already")]
    SnapshotNameTaken(SnapshotName),
    /// One request for a snapshot names the volume twice.
    #[error("volume {0} is named twice")]
    NamedTwice(VolumeName),
    /// The name cannot be one.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The volume's content is not complete yet.
    #[error("volume {0} is still being imported")]
    Importing(VolumeName),
    /// The volume is this node's copy of one of the cluster's.
    #[error("volume {0} is a replica: the cluster's volume is what can be used and changed")]
    IsReplica(VolumeName),
    /// Clients have the volume or snapshot open.
    #[error("{} {name} is in use by {connections} connections", .name.noun())]
    InUse {
        /// What they have open.
        name: ExportName,
        /// How many clients.
        connections: u64,
    },
    /// The volume has snapshots, and nobody said that they may go too.
    #[error("{name} has {count} snapshot{}", if *.count == 1 { "" } else { "s" })]
    HasSnapshots {
        /// The volume.
        name: VolumeName,
        /// How many.
        count: u64,
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
    /// Nothing of this name is in the trash.
    #[error("no volume in the trash was named {0}")]
    NotInTrash(VolumeName),
    /// The name does not say which volume in the trash is meant.
    #[error("{} volumes in the trash were named {name}: those with the ids {}", .ids.len(), list(.ids))]
    SeveralInTrash {
        /// Their name.
        name: VolumeName,
        /// Their ids.
        ids: Vec<VolumeId>,
    },
    /// The volume has no snapshot from the time asked for, nor from before.
    #[error("volume {0} has no snapshot from that time or before")]
    NoneSoOld(VolumeName),
    /// The two have no common past, so nothing can be said of changes between them.
    #[error("{from} and {to} share no past: neither is a snapshot or clone of the other, nor both of a third")]
    Unrelated {
        /// The earlier one.
        from: ExportName,
        /// The later one.
        to: ExportName,
    },
    /// There is no object of this name.
    #[error("no object is named {0}")]
    NoSuchObject(ObjectName),
    /// There is an object of this name, and nobody said that it may be replaced.
    #[error("an object named {0} exists already")]
    ObjectExists(ObjectName),
    /// The object was removed while it was read.
    #[error("object {0} was removed while it was read")]
    ObjectGone(ObjectName),
    /// Nothing of this name was broken off.
    #[error("no upload of an object named {0} was broken off")]
    NoSuchUpload(ObjectName),
    /// Somebody puts an object of this name at the moment.
    #[error("an object named {0} is being put already")]
    UploadUnderWay(ObjectName),
    /// Nothing that came into a volume of this name was broken off.
    #[error("nothing is kept that was broken off on its way into volume {0}")]
    NoSuchReception(VolumeName),
    /// A snapshot comes into the volume at the moment.
    #[error("a snapshot is being received into volume {0} already")]
    ReceptionUnderWay(VolumeName),
    /// Metadata that cannot be kept.
    #[error(transparent)]
    InvalidMetadata(#[from] InvalidMetadata),
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
            Self::NoSuchVolume(_) | Self::NoSuchSnapshot(_) | Self::NotInTrash(_) | Self::NoneSoOld(_) => {
                ErrorKind::NotFound
            }
            Self::NoSuchObject(_) | Self::ObjectGone(_) | Self::NoSuchUpload(_) | Self::NoSuchReception(_) => {
                ErrorKind::NotFound
            }
            Self::NameTaken(_) | Self::SnapshotNameTaken(_) | Self::ObjectExists(_) => ErrorKind::Exists,
            Self::InvalidName(_) | Self::IsReplica(_) | Self::NamedTwice(_) | Self::SeveralInTrash { .. } => {
                ErrorKind::Invalid
            }
            Self::WouldShrink { .. } | Self::HasSnapshots { .. } | Self::Unrelated { .. } => ErrorKind::Invalid,
            Self::InvalidMetadata(_) => ErrorKind::Invalid,
            Self::Importing(_) | Self::InUse { .. } => ErrorKind::Busy,
            Self::UploadUnderWay(_) | Self::ReceptionUnderWay(_) => ErrorKind::Busy,
            Self::Catalog(InvalidRecord::Version(_) | InvalidRecord::Chunker(_)) => ErrorKind::Unsupported,
            Self::Catalog(_) => ErrorKind::Corrupt,
            Self::Store(error) => error.kind(),
        }
    }
}

fn list(ids: &[VolumeId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
