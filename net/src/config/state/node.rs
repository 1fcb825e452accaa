//! Nodes of the cluster.

use super::super::id::{NodeId, StoreId};
use super::super::name::{Name, Text};

/// Where a node is in its life. It goes from joining to member to removed, and may stop on the way to be drained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum NodeState {
    /// It has an id and learns the configuration. It holds no replicas yet.
    Joining,
    /// It takes part in everything.
    Member,
    /// It keeps what it holds until that is elsewhere, and gets nothing new.
    Draining,
    /// It is gone for good. Its record stays, so that its id, certificate and store are known to be dead.
    Removed,
}

/// The certificate by which a node is known to its peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Certificate {
    /// Its serial number.
    pub serial: u64,
    /// BLAKE3-256 of its DER form.
    pub fingerprint: [u8; 32],
}

/// What a node says about itself.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct NewNode {
    /// What people call it. No two nodes that are not removed have the same.
    pub name: Name,
    /// Where it listens, best first; 1 to [`super::ADDRESSES_MAX`].
    pub addresses: Vec<Text>,
    /// What fails together with it: a rack, a room, a power supply. Empty means: nothing else.
    pub zone: Text,
    /// Its certificate.
    pub certificate: Certificate,
    /// Its configuration file.
    pub store: StoreId,
}

/// A node.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where it is in its life.
    pub state: NodeState,
    /// When it joined, in milliseconds since the Unix epoch, by the clock of the node that let it in.
    pub joined_ms: u64,
    /// The rest, as the node says.
    pub about: NewNode,
}

impl Node {
    /// Whether it may be given replicas.
    #[must_use]
    pub fn takes_replicas(&self) -> bool {
        self.state == NodeState::Member
    }

    /// Whether it belongs to the cluster.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.state != NodeState::Removed
    }
}
