//! What can go wrong with a cluster.

use lsm_store::ErrorKind;
use net::config::raft::ProposeError;
use net::config::state::Rejection;

use crate::name::{ExportName, SnapshotName, VolumeName};
use crate::node::NodeError;
use crate::transfer::TransferError;

/// A failed operation of a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The node is in no cluster.
    #[error("this node is in no cluster: `silt cluster init` makes one, `silt serve --join TOKEN` joins one")]
    NotInCluster,
    /// The node is in a cluster already.
    #[error("this node is in cluster {0} already")]
    InCluster(String),
    /// The token is none, or is worth nothing.
    #[error("the token does not let this node join")]
    Join(#[from] net::join::JoinError),
    /// The text is no token.
    #[error("this is no token: copy the whole line that `silt cluster token` printed")]
    Token(#[from] net::join::TokenError),
    /// This node cannot sign certificates yet.
    #[error("this node has not been given the cluster's key yet: see that it reaches the others, and try again")]
    NoAuthority,
    /// The certificate does not hold and the node cannot make another.
    #[error(
        "this node's certificate does not hold at this time, and the node never got the cluster's key to make another: if its \
         clock is right, remove it from the cluster at another node (`silt node rm NAME --lost`) and let it join again with an \
         empty data directory and a new token"
    )]
    Expired,
    /// A name that no volume of the cluster has.
    #[error("no volume of the cluster is named {0}")]
    NoSuchVolume(VolumeName),
    /// A name that means something already.
    #[error("a volume named {0} exists already")]
    NameTaken(VolumeName),
    /// A clone that is not complete.
    #[error("volume {0} is being made: it can be used when it is complete")]
    BeingMade(VolumeName),
    /// A node that there is not.
    #[error("the cluster has no node {0}")]
    NoSuchNode(String),
    /// More copies than nodes.
    #[error("{wanted} copies need as many nodes that take replicas, and there {} {found}", if *.found == 1 { "is" } else { "are" })]
    TooFewNodes {
        /// How many copies.
        wanted: u8,
        /// How many nodes.
        found: usize,
    },
    /// Clients have the volume open.
    #[error("volume {name} is in use by {connections} connections of this node")]
    InUse {
        /// The volume.
        name: VolumeName,
        /// How many clients.
        connections: u64,
    },
    /// The volume has snapshots, and nobody said that they may go too.
    #[error("volume {0} has snapshots")]
    HasSnapshots(VolumeName),
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
    /// A node that is to be removed holds replicas.
    #[error("node {0} holds replicas: drain it first")]
    HoldsReplicas(String),
    /// A node that would not take up another authority.
    #[error(
        "the cluster cannot take up another authority while node {node} cannot: {why}; one that will never come back is removed by \
         `silt node rm {node} --lost`"
    )]
    CannotRotate {
        /// The node.
        node: String,
        /// Why it cannot.
        why: &'static str,
    },
    /// The cluster did not agree.
    #[error(transparent)]
    Configuration(#[from] ProposeError),
    /// The configuration's file cannot be used.
    #[error("the cluster's configuration cannot be opened")]
    Storage(#[from] net::config::storage::StorageError),
    /// Agreement does not start.
    #[error("the cluster's configuration does not start")]
    Start(#[from] net::config::raft::StartError),
    /// Keys and certificates cannot be used.
    #[error("the node's identity cannot be used")]
    Identity(#[from] net::identity::Error),
    /// The address cannot be had.
    #[error("the cluster's address cannot be had")]
    Network(#[from] net::transport::quic::StartError),
    /// An address that others cannot reach.
    #[error("{0} is no address that other nodes can reach: name one of this machine's")]
    Unspecified(std::net::SocketAddr),
    /// A volume's snapshot that there is not, or is already.
    #[error("volume {volume} {} a snapshot named {snapshot}", if *.exists { "has" } else { "does not have" })]
    Snapshot {
        /// The volume.
        volume: VolumeName,
        /// The snapshot.
        snapshot: VolumeName,
        /// There is one.
        exists: bool,
    },
    /// The volumes were not kept from changing until each had its snapshot, several times over.
    #[error("the volumes could not be frozen at one moment, and no snapshot was made: try again")]
    NotTogether,
    /// The node that serves a volume does not know how its changes are held back.
    #[error(
        "volume {volume} cannot be frozen together with others: the node that serves it refuses ({why}); each node needs this \
         version"
    )]
    CannotPause {
        /// The volume.
        volume: VolumeName,
        /// What it says.
        why: String,
    },
    /// Some of several snapshots that could not all be made may be there.
    #[error(
        "the snapshots were not made at one moment, and of those that were begun these could not be removed again, and may be there \
         now or soon: {}", listed(.snapshots)
    )]
    LeftOver {
        /// Which.
        snapshots: Vec<SnapshotName>,
        /// Why not.
        #[source]
        source: Box<ClusterError>,
    },
    /// A name that snapshots which nobody sees have.
    #[error("{0} is a name that the cluster uses for itself: choose another")]
    ReservedName(VolumeName),
    /// A snapshot of a volume that other nodes hold.
    #[error(
        "this node does not hold {name}, or lags behind: ask one that does, `silt info {}` names them", .name.volume
    )]
    NotHere {
        /// The snapshot.
        name: SnapshotName,
    },
    /// A stream that does not bring everything.
    #[error(
        "the stream goes on from {0}, and a new volume is made of a full stream: send it without --from, or receive it without \
         --replicas into a volume that has that snapshot"
    )]
    NotFull(SnapshotName),
    /// A snapshot is on its way into the volume.
    #[error(
        "a snapshot comes into volume {volume} by node {node}: try again when that is over; should the node not come back, `silt \
         snap rollback` ends it"
    )]
    TakenIn {
        /// The volume.
        volume: VolumeName,
        /// The node that brings it.
        node: String,
    },
    /// Clients of other nodes wrote to the volume while it was changed.
    #[error(
        "volume {0} was written to by clients of another node while the snapshot came into it, and holds again what it held before: \
         disconnect them, and receive it again"
    )]
    Disturbed(VolumeName),
    /// Two that do not share their past, for all that the cluster knows.
    #[error(
        "{from} and {to} cannot be compared: of replicated volumes a snapshot can be with its own volume, and with another \
         snapshot of that"
    )]
    Unrelated {
        /// The earlier one.
        from: ExportName,
        /// The later one.
        to: ExportName,
    },
    /// The volume's primary cannot do it.
    #[error(transparent)]
    Store(#[from] lsm_store::Error),
    /// A file or thread cannot be had.
    #[error("{what}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A name or text that the configuration does not take.
    #[error(transparent)]
    Text(#[from] net::config::name::InvalidText),
    /// The volume did not become usable in time.
    #[error("volume {0} was made but is not usable yet: `silt info` tells how it goes on")]
    NotReady(VolumeName),
    /// The node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The stream is not one, not whole, or not of this.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

fn listed(names: &[SnapshotName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Result of a cluster's operations.
pub type Result<T, E = ClusterError> = std::result::Result<T, E>;

impl ClusterError {
    /// What the caller should do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotInCluster | Self::NoSuchVolume(_) | Self::NoSuchNode(_) => ErrorKind::NotFound,
            Self::InCluster(_) | Self::NameTaken(_) => ErrorKind::Exists,
            Self::Token(_)
            | Self::HasSnapshots(_)
            | Self::WouldShrink { .. }
            | Self::TooFewNodes { .. }
            | Self::ReservedName(_)
            | Self::Unrelated { .. }
            | Self::Text(_) => ErrorKind::Invalid,
            Self::NotHere { .. } | Self::NotFull(_) | Self::CannotPause { .. } => ErrorKind::Unsupported,
            Self::LeftOver { source, .. } => source.kind(),
            Self::InUse { .. }
            | Self::NotTogether
            | Self::NotReady(_)
            | Self::HoldsReplicas(_)
            | Self::BeingMade(_)
            | Self::CannotRotate { .. }
            | Self::TakenIn { .. }
            | Self::Disturbed(_)
            | Self::NoAuthority => ErrorKind::Busy,
            Self::Node(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Transfer(error) => error.kind(),
            Self::Snapshot { exists: true, .. } => ErrorKind::Exists,
            Self::Snapshot { exists: false, .. } => ErrorKind::NotFound,
            Self::Unspecified(_) => ErrorKind::Invalid,
            Self::Configuration(ProposeError::Rejected(Rejection::Limits)) => ErrorKind::Invalid,
            Self::Configuration(_) => ErrorKind::Busy,
            _ => ErrorKind::Io,
        }
    }
}
