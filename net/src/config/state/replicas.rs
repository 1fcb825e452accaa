//! Commands about replica sets. Each names the epoch it follows, so that of two that decided from the same state only the
//! first counts.

use super::super::id::{Epoch, NodeId, VolumeId};
use super::volume::ReplicaSet;
use super::{Configuration, MOVING_MAX, Outcome, Rejection, after};

impl ReplicaSet {
    /// Members, then those catching up.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.members.iter().chain(&self.catching_up).copied()
    }

    /// Whether a node is a member or catching up.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.nodes().any(|other| other == node)
    }

    /// Whether a node is a member.
    #[must_use]
    pub fn is_member(&self, node: NodeId) -> bool {
        self.members.contains(&node)
    }
}

impl Configuration {
    pub(super) fn remove_member(&mut self, id: VolumeId, epoch: Epoch, node: NodeId) -> Result<Outcome, Rejection> {
        let set = self.replicas_in(id, epoch)?;
        check_member(set, id, node)?;
        if set.primary == node {
            return Err(Rejection::IsPrimary { volume: id, node });
        }
        let next = Epoch(after(epoch.0)?);
        set.members.retain(|&member| member != node);
        set.epoch = next;
        Ok(Outcome::Epoch(next))
    }

    pub(super) fn promote_primary(
        &mut self,
        id: VolumeId,
        epoch: Epoch,
        primary: NodeId,
        drop_old: bool,
    ) -> Result<Outcome, Rejection> {
        let set = self.replicas_in(id, epoch)?;
        check_member(set, id, primary)?;
        if set.primary == primary {
            return Err(Rejection::IsPrimary { volume: id, node: primary });
        }
        let next = Epoch(after(epoch.0)?);
        if drop_old {
            let old = set.primary;
            set.members.retain(|&member| member != old);
        }
        set.primary = primary;
        set.epoch = next;
        Ok(Outcome::Epoch(next))
    }

    pub(super) fn start_catch_up(&mut self, id: VolumeId, epoch: Epoch, node: NodeId) -> Result<Outcome, Rejection> {
        self.replicas_in(id, epoch)?;
        self.check_takes_replicas(node)?;
        let volume = self.any_volume_mut(id)?;
        let copies = volume.copies;
        let set = &mut volume.replicas;
        if set.contains(node) {
            return Err(Rejection::InSet { volume: id, node });
        }
        let nodes = set.nodes().count() + 1;
        if nodes > usize::from(copies.replicas) + MOVING_MAX {
            return Err(Rejection::NodeCount { nodes: nodes as u64, copies });
        }
        insert(&mut set.catching_up, node);
        Ok(Outcome::Epoch(epoch))
    }

    pub(super) fn stop_catch_up(&mut self, id: VolumeId, epoch: Epoch, node: NodeId) -> Result<Outcome, Rejection> {
        let set = self.replicas_in(id, epoch)?;
        check_catching_up(set, id, node)?;
        set.catching_up.retain(|&other| other != node);
        Ok(Outcome::Epoch(epoch))
    }

    pub(super) fn add_member(&mut self, id: VolumeId, epoch: Epoch, node: NodeId) -> Result<Outcome, Rejection> {
        let set = self.replicas_in(id, epoch)?;
        check_catching_up(set, id, node)?;
        let next = Epoch(after(epoch.0)?);
        set.catching_up.retain(|&other| other != node);
        insert(&mut set.members, node);
        set.epoch = next;
        Ok(Outcome::Epoch(next))
    }

    /// The replica set of a volume, if it is in this epoch.
    fn replicas_in(&mut self, id: VolumeId, expected: Epoch) -> Result<&mut ReplicaSet, Rejection> {
        let set = &mut self.any_volume_mut(id)?.replicas;
        if set.epoch != expected {
            return Err(Rejection::Epoch { volume: id, expected, found: set.epoch });
        }
        Ok(set)
    }
}

fn check_member(set: &ReplicaSet, volume: VolumeId, node: NodeId) -> Result<(), Rejection> {
    if set.is_member(node) { Ok(()) } else { Err(Rejection::NotMember { volume, node }) }
}

fn check_catching_up(set: &ReplicaSet, volume: VolumeId, node: NodeId) -> Result<(), Rejection> {
    if set.catching_up.contains(&node) { Ok(()) } else { Err(Rejection::NotCatchingUp { volume, node }) }
}

fn insert(nodes: &mut Vec<NodeId>, node: NodeId) {
    nodes.push(node);
    nodes.sort_unstable();
}
