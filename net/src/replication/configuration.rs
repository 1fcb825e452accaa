//! Who replicates a volume. Kept elsewhere, by consensus, and changed there by compare-and-set on the epoch.

use super::id::{Epoch, NodeId};

/// A member of a configuration. Also its stored form, version 1: fields never change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// The epoch in which it became a member, and has been one ever since.
    pub since: Epoch,
}

/// Who replicates a volume in one epoch. Also its stored form, version 1: fields never change.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Configuration {
    /// Its number; the next one is this plus 1.
    pub epoch: Epoch,
    /// Who orders and acknowledges; a member.
    pub primary: NodeId,
    /// Who must hold a record before it is acknowledged; the primary among them.
    pub members: Vec<Member>,
    /// The last epoch that began with every member's tail lost to a power cut; 0 if there is none. Sessions of clients
    /// from before must not go on as if nothing had happened.
    pub loss: Epoch,
}

impl Configuration {
    /// The first configuration of a new volume. Its primary must be the node that created the volume.
    #[must_use]
    pub fn first(primary: NodeId, backups: &[NodeId]) -> Self {
        let nodes = std::iter::once(primary).chain(backups.iter().copied().filter(|node| *node != primary));
        let members = nodes.map(|node| Member { node, since: Epoch(1) }).collect();
        Self { epoch: Epoch(1), primary, members, loss: Epoch(0) }
    }

    /// The member `node` is, if it is one.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node == node)
    }

    /// True if `node` is a member.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.member(node).is_some()
    }

    /// The members but for `node`.
    pub fn others(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().map(|member| member.node).filter(move |other| *other != node)
    }

    /// The next epoch with this primary and of the members those that `keep` wants. The primary always stays.
    pub(super) fn keeping(&self, primary: NodeId, mut keep: impl FnMut(NodeId) -> bool) -> Self {
        let members = self.members.iter().filter(|member| member.node == primary || keep(member.node));
        Self { epoch: self.epoch.next(), primary, members: members.copied().collect(), loss: self.loss }
    }

    /// Adds a member to a configuration that is about to be proposed.
    pub(super) fn with(mut self, node: NodeId) -> Self {
        self.members.push(Member { node, since: self.epoch });
        self
    }

    /// True if what came from outside makes sense: a primary that is a member, nobody twice.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let twice = |member: &Member| self.members.iter().filter(|other| other.node == member.node).count() > 1;
        self.contains(self.primary) && !self.members.iter().any(twice)
    }
}
