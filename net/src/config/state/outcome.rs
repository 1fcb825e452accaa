//! What becomes of a command. Both types travel to whoever asked (`docs/protocol.md`, "Configuration"): new variants go at
//! the end.

use super::super::id::{Epoch, NodeId, SnapshotId, StoreId, VolumeId};
use super::super::name::Name;
use super::node::NodeState;
use super::volume::Copies;
use super::{ADDRESSES_MAX, IDENTITIES_MAX, REPLICAS_MAX, VOLUME_BYTES_MAX};

/// What a command did.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum Outcome {
    /// What it says.
    Done,
    /// It made a node, or had made it for the same key before.
    Node(NodeId),
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
    /// The node has another configuration file.
    #[error("node {0} has another configuration file: a node whose file was lost joins as a new one")]
    OtherStore(NodeId),
    /// Another node has or had this key.
    #[error("the key belongs to node {0}")]
    KeyKnown(NodeId),
    /// Nobody knows yet where the node is and which file it has.
    #[error("node {0} has not said yet where it is")]
    NotDescribed(NodeId),
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
    /// The node is the only one that is left of a volume's members.
    #[error("node {node} is all that is left of volume {volume}: remove the volume first if it is lost")]
    LastReplica {
        /// The node.
        node: NodeId,
        /// The volume.
        volume: VolumeId,
    },
    /// No such token.
    #[error("the token is not valid")]
    InvalidToken,
    /// There is a token with this id.
    #[error("there is a token of this id already: draw another")]
    TokenKnown,
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
    /// The node shall not hold the volume.
    #[error("volume {volume} is not placed on node {node}")]
    NotPlaced {
        /// The volume.
        volume: VolumeId,
        /// The node.
        node: NodeId,
    },
    /// A member says wrongly since when it is one.
    #[error("node {node} has not been a member of volume {volume} since the epoch it says")]
    Since {
        /// The volume.
        volume: VolumeId,
        /// The node.
        node: NodeId,
    },
    /// The epoch of the last loss is neither the one there was nor the new one.
    #[error("volume {0} has had no loss in that epoch")]
    Loss(VolumeId),
    /// Fewer members than may acknowledge.
    #[error("volume {volume} would have {members} members, of {} that must be in sync", .copies.in_sync_min)]
    TooFewMembers {
        /// The volume.
        volume: VolumeId,
        /// How many there would be.
        members: u64,
        /// What there must be.
        copies: Copies,
    },
    /// Too many nodes would hold the volume while it moves.
    #[error(
        "volume {volume} would be on {nodes} nodes while it moves, of at most {nodes_max}: move one replica at a time"
    )]
    Moving {
        /// The volume.
        volume: VolumeId,
        /// How many there would be.
        nodes: u64,
        /// How many there may be.
        nodes_max: u64,
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
    /// Too many names in the list of who may open a volume.
    #[error("a list of who may open a volume has at most {IDENTITIES_MAX} names")]
    Identities,
    /// A reservation larger than what it is of.
    #[error("a reservation is at most the volume's size, and a quota at least the reservation")]
    Limits,
    /// The authority is being changed.
    #[error(
        "the cluster is taking up another authority: until that is done, which `silt cluster status` tells, it makes no tokens and \
         takes up no other"
    )]
    Rotating,
    /// A node is joining that would miss it.
    #[error("node {0} is still joining: wait until it is a member, or remove it with `silt node rm {0}`")]
    StillJoining(NodeId),
    /// The certificate is none of a new authority.
    #[error("this is no certificate of a new authority")]
    Authority,
    /// The step is done, or what it is a part of is.
    #[error("no such change of the authority is under way")]
    NoRotation,
    /// It is too late to give it up.
    #[error("nodes show certificates of the new authority already: it cannot be given up any more")]
    RotationShown,
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
