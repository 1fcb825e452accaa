//! Nodes of the cluster.

use super::super::id::{NodeId, StoreId};
use super::super::name::{Name, Text};
use crate::identity::PublicKey;

/// Where a node is in its life. It goes from joining to member to removed, and may stop on the way to be drained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum NodeState {
    /// It has an id, describes itself and learns the configuration. It holds no replicas yet.
    Joining,
    /// It takes part in everything.
    Member,
    /// It keeps what it holds until that is elsewhere, and gets nothing new.
    Draining,
    /// It is gone for good. Its record stays, so that its id, key and file are known to be dead.
    Removed,
}

/// What is known about a node besides its id.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct About {
    /// What people call it. No two nodes that are not removed have the same.
    pub name: Name,
    /// Where it listens, best first; 1 to [`super::ADDRESSES_MAX`]. None until the node has described itself.
    pub addresses: Vec<Text>,
    /// What fails together with it: a rack, a room, a power supply. Empty means: nothing else.
    pub zone: Text,
    /// The key its certificate is for.
    pub key: PublicKey,
    /// Its configuration file; `None` until the node has described itself.
    pub store: Option<StoreId>,
}

impl About {
    /// What is known of a node that has only just been let in.
    pub(super) fn unknown(name: Name, key: PublicKey) -> Self {
        Self { name, addresses: Vec::new(), zone: Text::default(), key, store: None }
    }

    /// Whether the node has said where it is and which file it has.
    #[must_use]
    pub fn is_described(&self) -> bool {
        self.store.is_some() && !self.addresses.is_empty()
    }
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
    pub about: About,
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
