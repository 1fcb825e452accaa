//! Volumes, who holds them, their snapshots.

use super::super::id::{Epoch, Lsn, NodeId, SnapshotId, VolumeId};
use super::super::name::{Name, Text};
use crate::replication::Member;

/// Whether a volume's content is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum VolumeState {
    /// It can be used.
    Ready,
    /// Its content is still coming; if that ends early, the volume goes.
    Importing,
}

/// What a clone was made from. Either may be gone since.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Origin {
    /// The volume.
    pub volume: VolumeId,
    /// Its snapshot; `None` if the clone took what the volume held at that moment.
    pub snapshot: Option<SnapshotId>,
}

/// When a volume was put into the trash, and how long it stays; in milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Trashed {
    /// When it was removed.
    pub removed_ms: u64,
    /// When it may go for good.
    pub expires_ms: u64,
}

/// How many copies a volume is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Copies {
    /// How many replicas it is to have, 1 to [`super::REPLICAS_MAX`].
    pub replicas: u8,
    /// With fewer members than this it acknowledges nothing; 1 to `replicas`.
    pub in_sync_min: u8,
}

impl Copies {
    /// `replicas`, of which more than half must be in sync: 2 of 3.
    #[must_use]
    pub fn of(replicas: u8) -> Self {
        Self { replicas, in_sync_min: replicas / 2 + 1 }
    }
}

/// Who holds a volume, and who shall. The lists are sorted, without duplicates.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct ReplicaSet {
    /// Grows by one whenever the primary or the members change.
    pub epoch: Epoch,
    /// Orders and acknowledges writes; one of the members.
    pub primary: NodeId,
    /// Everything acknowledged is in the journal of each of them. One may have been removed from the cluster, until
    /// replication notices that it is silent.
    pub members: Vec<Member>,
    /// The last epoch that began with every member's tail lost; 0 if there is none.
    pub loss: Epoch,
    /// Who shall be the members; 1 to [`super::REPLICAS_MAX`]. Replication catches them up, adds them and then removes
    /// the others.
    pub placement: Vec<NodeId>,
}

/// A volume.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// Its name; in the trash, the one it had.
    pub name: Name,
    /// Size in bytes.
    pub size_bytes: u64,
    /// How new blocks are compressed, in the words of the node's own catalog.
    pub codec: Text,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Whether its content is complete.
    pub state: VolumeState,
    /// What it was cloned from, if it was.
    pub origin: Option<Origin>,
    /// Set while it is in the trash.
    pub trashed: Option<Trashed>,
    /// When it is snapshot by itself, in the words of the node's own catalog.
    pub schedule: Option<Text>,
    /// How many copies it is to have.
    pub copies: Copies,
    /// Who has them.
    pub replicas: ReplicaSet,
}

/// A snapshot. Its name and volume are the key it is kept under.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// It holds all writes of its volume up to this one.
    pub lsn: Lsn,
    /// The first of the snapshots that were made at the same moment; itself if it was made alone.
    pub group: SnapshotId,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}
