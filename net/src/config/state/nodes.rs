//! Commands about nodes.

use super::super::id::{ClusterId, NodeId, StoreId, VolumeId};
use super::super::name::{Name, Text};
use super::node::{About, Node, NodeState};
use super::volume::Volume;
use super::{ADDRESSES_MAX, Configuration, Limit, NODES_MAX, Outcome, Rejection, after};
use crate::identity::PublicKey;

impl Configuration {
    pub(super) fn found(&mut self, cluster: ClusterId, node: &About, now_ms: u64) -> Result<Outcome, Rejection> {
        if self.cluster.is_some() {
            return Err(Rejection::Founded);
        }
        check_addresses(&node.addresses)?;
        if node.store.is_none() {
            return Err(Rejection::NotDescribed(self.next.node));
        }
        let id = self.insert_node(node.clone(), NodeState::Member, now_ms)?;
        self.cluster = Some(cluster);
        Ok(Outcome::Node(id))
    }

    pub(super) fn insert_node(&mut self, about: About, state: NodeState, now_ms: u64) -> Result<NodeId, Rejection> {
        let id = self.next.node;
        self.check_node_name(&about.name, id)?;
        self.check_key(about.key)?;
        if self.nodes().filter(|node| node.is_present()).count() >= NODES_MAX {
            return Err(Rejection::Full(Limit::Nodes));
        }
        self.next.node = NodeId(after(id.0)?);
        self.nodes.insert(id, Node { id, state, joined_ms: now_ms, about });
        Ok(id)
    }

    /// A name for the next node, until it has a better one.
    pub(super) fn free_name(&self) -> Name {
        let id = self.next.node;
        let plain = std::iter::once(format!("node-{id}"));
        let mut names =
            plain.chain((2..).map(|number| format!("node-{id}-{number}"))).filter_map(|name| name.parse().ok());
        names.find(|name| self.check_node_name(name, id).is_ok()).expect("there are more names than nodes")
    }

    pub(super) fn describe_node(
        &mut self,
        id: NodeId,
        name: &Name,
        addresses: &[Text],
        zone: &Text,
        store: StoreId,
    ) -> Result<Outcome, Rejection> {
        let known = self.present_node(id)?.about.store;
        check_addresses(addresses)?;
        self.check_node_name(name, id)?;
        let owner = self.nodes().find(|node| node.about.store == Some(store)).map(|node| node.id);
        if let Some(node) = owner.filter(|owner| *owner != id) {
            return Err(Rejection::StoreKnown { store, node });
        }
        if known.is_some_and(|known| known != store) {
            return Err(Rejection::OtherStore(id));
        }
        let about = &mut self.present_node_mut(id)?.about;
        (about.name, about.addresses, about.zone) = (name.clone(), addresses.to_vec(), zone.clone());
        about.store = Some(store);
        Ok(Outcome::Done)
    }

    pub(super) fn admit_node(&mut self, id: NodeId) -> Result<Outcome, Rejection> {
        if !self.present_node(id)?.about.is_described() {
            return Err(Rejection::NotDescribed(id));
        }
        self.change_state(id, &[NodeState::Joining], NodeState::Member)
    }

    pub(super) fn drain_node(&mut self, id: NodeId) -> Result<Outcome, Rejection> {
        self.check_not_last_member(id)?;
        self.change_state(id, &[NodeState::Member], NodeState::Draining)
    }

    /// That the cluster has another member that is not draining.
    fn check_not_last_member(&self, id: NodeId) -> Result<(), Rejection> {
        let is_member = self.present_node(id)?.takes_replicas();
        let is_last = is_member && self.nodes().filter(|node| node.takes_replicas()).count() == 1;
        if is_last { Err(Rejection::LastMember(id)) } else { Ok(()) }
    }

    pub(super) fn resume_node(&mut self, id: NodeId) -> Result<Outcome, Rejection> {
        self.change_state(id, &[NodeState::Draining], NodeState::Member)
    }

    pub(super) fn remove_node(&mut self, id: NodeId) -> Result<Outcome, Rejection> {
        self.present_node(id)?;
        let holds = |volume: &&Volume| volume.replicas.is_member(id) || volume.replicas.placement.contains(&id);
        let held = || self.volumes().filter(holds);
        if let Some(first) = held().next() {
            return Err(Rejection::NodeHolds { node: id, volumes: held().count() as u64, first: first.id });
        }
        self.change_state(id, &[NodeState::Draining, NodeState::Joining], NodeState::Removed)?;
        self.leave_rotation();
        Ok(Outcome::Done)
    }

    /// Removes a node together with what it holds. Replication finds out by itself which members are silent, so it stays
    /// one where it is one; but nobody waits for it any more, and nothing is put there.
    pub(super) fn forget_node(&mut self, id: NodeId) -> Result<Outcome, Rejection> {
        self.check_not_last_member(id)?;
        if let Some(volume) = self.volumes().find(|volume| self.is_last_replica(volume, id)) {
            return Err(Rejection::LastReplica { node: id, volume: volume.id });
        }
        let present = [NodeState::Joining, NodeState::Member, NodeState::Draining];
        self.change_state(id, &present, NodeState::Removed)?;
        let placed = self.volumes().filter(|volume| volume.replicas.placement.contains(&id)).map(|volume| volume.id);
        placed.collect::<Vec<VolumeId>>().into_iter().for_each(|volume| self.displace(volume, id));
        self.leave_rotation();
        Ok(Outcome::Done)
    }

    /// Whether no other node is a member that still belongs to the cluster.
    fn is_last_replica(&self, volume: &Volume, id: NodeId) -> bool {
        let members = &volume.replicas.members;
        let is_left = |node: NodeId| node != id && self.present_node(node).is_ok();
        volume.replicas.is_member(id) && !members.iter().any(|member| is_left(member.node))
    }

    pub(super) fn move_node(&mut self, id: NodeId, addresses: &[Text], zone: &Text) -> Result<Outcome, Rejection> {
        check_addresses(addresses)?;
        let about = &mut self.present_node_mut(id)?.about;
        about.addresses = addresses.to_vec();
        about.zone = zone.clone();
        Ok(Outcome::Done)
    }

    pub(super) fn rename_node(&mut self, id: NodeId, name: &Name) -> Result<Outcome, Rejection> {
        self.present_node(id)?;
        self.check_node_name(name, id)?;
        self.present_node_mut(id)?.about.name = name.clone();
        Ok(Outcome::Done)
    }

    pub(super) fn renew_key(&mut self, id: NodeId, key: PublicKey) -> Result<Outcome, Rejection> {
        self.present_node(id)?;
        self.check_key(key)?;
        self.present_node_mut(id)?.about.key = key;
        Ok(Outcome::Done)
    }

    fn change_state(&mut self, id: NodeId, from: &[NodeState], to: NodeState) -> Result<Outcome, Rejection> {
        let node = self.nodes.get_mut(&id).ok_or(Rejection::NoNode(id))?;
        if !from.contains(&node.state) {
            let needed = from.iter().map(|state| state.word()).collect::<Vec<_>>().join(" or ");
            return Err(Rejection::NodeState { node: id, state: node.state, needed });
        }
        node.state = to;
        Ok(Outcome::Done)
    }

    /// A node that is not removed.
    pub(super) fn present_node(&self, id: NodeId) -> Result<&Node, Rejection> {
        self.nodes.get(&id).filter(|node| node.is_present()).ok_or(Rejection::NoNode(id))
    }

    fn present_node_mut(&mut self, id: NodeId) -> Result<&mut Node, Rejection> {
        self.nodes.get_mut(&id).filter(|node| node.is_present()).ok_or(Rejection::NoNode(id))
    }

    /// That no node but `id` has this name.
    fn check_node_name(&self, name: &Name, id: NodeId) -> Result<(), Rejection> {
        match self.nodes().any(|node| node.is_present() && node.id != id && node.about.name == *name) {
            true => Err(Rejection::NodeNameTaken(name.clone())),
            false => Ok(()),
        }
    }

    /// That no node has or had this key: a removed node's stays revoked.
    fn check_key(&self, key: PublicKey) -> Result<(), Rejection> {
        match self.nodes().find(|node| node.about.key == key) {
            Some(node) => Err(Rejection::KeyKnown(node.id)),
            None => Ok(()),
        }
    }
}

fn check_addresses(addresses: &[Text]) -> Result<(), Rejection> {
    if (1..=ADDRESSES_MAX).contains(&addresses.len()) { Ok(()) } else { Err(Rejection::Addresses) }
}
