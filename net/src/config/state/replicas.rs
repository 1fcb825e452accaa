//! Commands about replica sets: who the members are, which replication proposes, and who they shall be, which somebody
//! who sees all volumes decides. A proposal names the epoch it makes, so that of two made from the same one only the
//! first counts.

use super::super::id::{Epoch, NodeId, VolumeId};
use super::volume::{Copies, ReplicaSet, Volume};
use super::{Configuration, MOVING_MAX, Outcome, Rejection, after};
use crate::replication::{self, Member};

impl ReplicaSet {
    /// The first replica set of a volume, of which all nodes of its placement are members.
    pub(super) fn first(primary: NodeId, placement: Vec<NodeId>) -> Self {
        let first = replication::Configuration::first(primary, &placement);
        let (epoch, loss) = (first.epoch, first.loss);
        Self { epoch, primary, members: Vec::new(), loss, placement }.with(first)
    }

    /// As replication knows it.
    #[must_use]
    pub fn configuration(&self) -> replication::Configuration {
        let Self { epoch, primary, loss, .. } = *self;
        replication::Configuration { epoch, primary, members: self.members.clone(), loss }
    }

    /// Whether a node is a member.
    #[must_use]
    pub fn is_member(&self, node: NodeId) -> bool {
        self.member(node).is_some()
    }

    fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node == node)
    }

    /// The set with these members, in the order they are kept in.
    fn with(self, next: replication::Configuration) -> Self {
        let replication::Configuration { epoch, primary, mut members, loss } = next;
        members.sort_unstable_by_key(|member| member.node);
        Self { epoch, primary, members, loss, ..self }
    }
}

impl From<&ReplicaSet> for replication::Configuration {
    fn from(set: &ReplicaSet) -> Self {
        set.configuration()
    }
}

impl Configuration {
    pub(super) fn change_replicas(
        &mut self,
        id: VolumeId,
        next: &replication::Configuration,
    ) -> Result<Outcome, Rejection> {
        let volume = self.any_volume(id)?;
        let set = &volume.replicas;
        let epoch = Epoch(after(set.epoch.0)?);
        if next.epoch != epoch {
            let expected = Epoch(next.epoch.0.saturating_sub(1));
            return Err(Rejection::Epoch { volume: id, expected, found: set.epoch });
        }
        self.check_primary(volume, next)?;
        next.members.iter().try_for_each(|member| self.check_member(volume, *member, epoch))?;
        Self::check_member_count(volume, next)?;
        if next.loss != set.loss && next.loss != epoch {
            return Err(Rejection::Loss(id));
        }
        let set = &mut self.any_volume_mut(id)?.replicas;
        *set = set.clone().with(next.clone());
        Ok(Outcome::Epoch(epoch))
    }

    /// That the primary is a member now and then, belongs to the cluster, and nobody is there twice.
    fn check_primary(&self, volume: &Volume, next: &replication::Configuration) -> Result<(), Rejection> {
        if !next.is_valid() && next.contains(next.primary) {
            return Err(Rejection::List);
        }
        if !next.contains(next.primary) || !volume.replicas.is_member(next.primary) {
            return Err(Rejection::NotMember { volume: volume.id, node: next.primary });
        }
        self.present_node(next.primary).map(|_| ())
    }

    /// That a member has been one, since when it says, or may become one now.
    fn check_member(&self, volume: &Volume, member: Member, epoch: Epoch) -> Result<(), Rejection> {
        let Member { node, since } = member;
        let before = volume.replicas.member(node);
        if since != before.map_or(epoch, |before| before.since) {
            return Err(Rejection::Since { volume: volume.id, node });
        }
        if before.is_some() {
            return Ok(());
        }
        if !volume.replicas.placement.contains(&node) {
            return Err(Rejection::NotPlaced { volume: volume.id, node });
        }
        self.present_node(node).map(|_| ())
    }

    /// That no fewer are left than may acknowledge. That they do not become too many is seen to by where they may be.
    fn check_member_count(volume: &Volume, next: &replication::Configuration) -> Result<(), Rejection> {
        let Volume { id, copies, replicas: set, .. } = volume;
        let members = next.members.len();
        if members < set.members.len() && members < usize::from(copies.in_sync_min) {
            return Err(Rejection::TooFewMembers { volume: *id, members: members as u64, copies: *copies });
        }
        Ok(())
    }

    pub(super) fn place_replicas(&mut self, id: VolumeId, nodes: &[NodeId]) -> Result<Outcome, Rejection> {
        let copies = self.any_volume(id)?.copies;
        self.place(id, copies, nodes)
    }

    pub(super) fn set_copies(&mut self, id: VolumeId, copies: Copies, nodes: &[NodeId]) -> Result<Outcome, Rejection> {
        if !copies.make_sense() {
            return Err(Rejection::Copies(copies));
        }
        self.place(id, copies, nodes)
    }

    fn place(&mut self, id: VolumeId, copies: Copies, nodes: &[NodeId]) -> Result<Outcome, Rejection> {
        let set = &self.any_volume(id)?.replicas;
        let is_there = |node: NodeId| set.is_member(node) || set.placement.contains(&node);
        let placement = check_placement(nodes, copies)?;
        for &node in &placement {
            // A node that is drained keeps what it has until somebody says otherwise.
            if is_there(node) { self.present_node(node).map(|_| ())? } else { self.check_takes_replicas(node)? }
        }
        let members = set.members.iter().map(|member| member.node).filter(|node| self.present_node(*node).is_ok());
        let members: Vec<NodeId> = members.collect();
        let come = placement.iter().filter(|node| !members.contains(node)).count();
        let (nodes, nodes_max) = (members.len() + come, nodes_max(copies));
        if come > 0 && nodes > nodes_max {
            return Err(Rejection::Moving { volume: id, nodes: nodes as u64, nodes_max: nodes_max as u64 });
        }
        let volume = self.any_volume_mut(id)?;
        (volume.copies, volume.replicas.placement) = (copies, placement);
        Ok(Outcome::Done)
    }

    /// Takes a node that is gone out of a placement. A volume that would be nowhere then is to stay where it is.
    pub(super) fn displace(&mut self, id: VolumeId, gone: NodeId) {
        let Ok(volume) = self.any_volume(id) else { return };
        let mut placement = volume.replicas.placement.clone();
        placement.retain(|node| *node != gone);
        if placement.is_empty() {
            let members = volume.replicas.members.iter().map(|member| member.node);
            let left = members.filter(|node| self.present_node(*node).is_ok());
            placement = left.take(volume.copies.replicas.into()).collect();
        }
        if let Ok(volume) = self.any_volume_mut(id) {
            volume.replicas.placement = placement;
        }
    }
}

/// Most nodes that hold a volume at a time, one of which is on its way in or out.
fn nodes_max(copies: Copies) -> usize {
    usize::from(copies.replicas) + MOVING_MAX
}

/// The placement of these nodes, sorted, if they are as many as that many copies need.
pub(super) fn check_placement(nodes: &[NodeId], copies: Copies) -> Result<Vec<NodeId>, Rejection> {
    let mut placement = nodes.to_vec();
    placement.sort_unstable();
    if placement.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Rejection::List);
    }
    if !(copies.in_sync_min.into()..=copies.replicas.into()).contains(&placement.len()) {
        return Err(Rejection::NodeCount { nodes: placement.len() as u64, copies });
    }
    Ok(placement)
}
