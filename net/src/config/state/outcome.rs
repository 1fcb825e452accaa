//! What becomes of a command. Both types travel to whoever asked (`docs/protocol.md`, "Configuration"): new variants go at
//! the end.

use super::super::id::{Epoch, NodeId, SnapshotId, StoreId, TokenId, VolumeId};
use super::super::name::Name;
use super::node::NodeState;
use super::volume::Copies;
use super::{ADDRESSES_MAX, REPLICAS_MAX, VOLUME_BYTES_MAX};

/// What a command did.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum Outcome {
    /// What it says.
    Done,
    /// It made a node.
    Node(NodeId),
    /// It made a token.
    Token(TokenId),
    /// It made a volume.
    Volume(VolumeId),
    /// It made snapshots, in the order of the cuts.
    Snapshots(Vec<SnapshotId>),
    /// It changed a replica set, which has this epoch now.
    Epoch(Epoch),
}

/// What there can be only so many of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum Limit {
    /// Nodes that are not removed.
    Nodes,
    /// Tokens.
    Tokens,
    /// Volumes.
    Volumes,
    /// Snapshots of all volumes.
    Snapshots,
    /// Settings.
    Settings,
    /// Ids of one kind.
    Ids,
}

/// Why a command changed nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum Rejection {
    /// The cluster exists already.
    #[error("the cluster exists already")]
    Founded,
    /// There is no cluster yet.
    #[error("there is no cluster yet: make one first")]
    NotFounded,
    /// There may be no more of these.
    #[error("the cluster has as many {} as it can", .0.noun())]
    Full(Limit),
    /// No such node.
    #[error("there is no node {0}")]
    NoNode(NodeId),
    /// The node is not in a state for this.
    #[error("node {node} is {}: this is for nodes that are {needed}", .state.word())]
    NodeState {
        /// The node.
        node: NodeId,
        /// The state it is in.
        state: NodeState,
        /// The states this is for, in words.
        needed: String,
    },
    /// Another node has the name.
    #[error("there is a node called {0} already")]
    NodeNameTaken(Name),
    /// Another node has or had this configuration file.
    #[error("configuration file {store} belongs to node {node}: a node that joins starts with a new one")]
    StoreKnown {
        /// The file.
        store: StoreId,
        /// The node.
        node: NodeId,
    },
    /// Another node has or had this certificate.
    #[error("the certificate belongs to node {0}")]
    CertificateKnown(NodeId),
    /// Too many addresses, or none.
    #[error("a node has 1 to {ADDRESSES_MAX} addresses")]
    Addresses,
    /// It is the only member.
    #[error("node {0} is the only member: a cluster keeps one")]
    LastMember(NodeId),
    /// The node is in replica sets.
    #[error("node {node} still holds {volumes} volumes, among them volume {first}: move them away first")]
    NodeHolds {
        /// The node.
        node: NodeId,
        /// How many volumes.
        volumes: u64,
        /// One of them.
        first: VolumeId,
    },
    /// No such token, or another secret. Which of them is nobody's business.
    #[error("the token is not valid")]
    InvalidToken,
    /// The token let somebody in already.
    #[error("the token was used by node {0}: make another")]
    TokenUsed(NodeId),
    /// The token is too old.
    #[error("the token has expired: make another")]
    TokenExpired,
    /// The thing would be gone at once.
    #[error("the time it expires at has passed already")]
    ExpiresInThePast,
    /// No such volume.
    #[error("there is no volume {0}")]
    NoVolume(VolumeId),
    /// Another volume has the name.
    #[error("there is a volume called {0} already")]
    VolumeNameTaken(Name),
    /// The volume is in the trash.
    #[error("volume {0} is in the trash: restore it first")]
    Trashed(VolumeId),
    /// The volume is not in the trash.
    #[error("volume {0} is not in the trash")]
    NotTrashed(VolumeId),
    /// The volume is complete.
    #[error("volume {0} is not being imported")]
    NotImporting(VolumeId),
    /// No size for a volume.
    #[error("{0} is no size for a volume: it has 1 to {VOLUME_BYTES_MAX} bytes")]
    Size(u64),
    /// No number of copies.
    #[error(
        "{} copies of which {} must be in sync make no sense: it is 1 to {REPLICAS_MAX}, and not more in sync than there are",
        .0.replicas, .0.in_sync_min
    )]
    Copies(Copies),
    /// Too few or too many nodes for the number of copies.
    #[error("{nodes} nodes do not fit {} copies of which {} must be in sync", .copies.replicas, .copies.in_sync_min)]
    NodeCount {
        /// How many nodes.
        nodes: u64,
        /// How many copies.
        copies: Copies,
    },
    /// What was to be cloned is gone.
    #[error("what the volume is to be cloned from is not there any more")]
    NoOrigin,
    /// The volume has snapshots.
    #[error("volume {volume} has {snapshots} snapshots: remove them first, or with it")]
    HasSnapshots {
        /// The volume.
        volume: VolumeId,
        /// How many.
        snapshots: u64,
    },
    /// The same thing twice in one list.
    #[error("the list names something twice, or nothing")]
    List,
    /// The replica set has changed since.
    #[error("volume {volume} is in epoch {found}, not {expected}: look at it again")]
    Epoch {
        /// The volume.
        volume: VolumeId,
        /// The epoch of the command.
        expected: Epoch,
        /// The epoch of the replica set.
        found: Epoch,
    },
    /// The node is no member of the replica set.
    #[error("node {node} is no member of volume {volume}")]
    NotMember {
        /// The volume.
        volume: VolumeId,
        /// The node.
        node: NodeId,
    },
    /// The node is in the replica set already.
    #[error("node {node} is in the replica set of volume {volume} already")]
    InSet {
        /// The volume.
        volume: VolumeId,
        /// The node.
        node: NodeId,
    },
    /// The node is the primary.
    #[error("node {node} is the primary of volume {volume}: promote another member first")]
    IsPrimary {
        /// The volume.
        volume: VolumeId,
        /// The node.
        node: NodeId,
    },
    /// The node is not catching up.
    #[error("node {node} is not catching up with volume {volume}")]
    NotCatchingUp {
        /// The volume.
        volume: VolumeId,
        /// The node.
        node: NodeId,
    },
    /// No such snapshot.
    #[error("volume {volume} has no snapshot {name}")]
    NoSnapshot {
        /// The volume.
        volume: VolumeId,
        /// The name.
        name: Name,
    },
    /// Another snapshot has the name.
    #[error("volume {volume} has a snapshot {name} already")]
    SnapshotNameTaken {
        /// The volume.
        volume: VolumeId,
        /// The name.
        name: Name,
    },
}

impl Limit {
    fn noun(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Tokens => "tokens",
            Self::Volumes => "volumes",
            Self::Snapshots => "snapshots",
            Self::Settings => "settings",
            Self::Ids => "ids",
        }
    }
}

impl NodeState {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Member => "a member",
            Self::Draining => "draining",
            Self::Removed => "removed",
        }
    }
}
