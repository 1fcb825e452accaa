//! Commands about nodes.

use super::super::id::{ClusterId, NodeId, TokenId};
use super::super::name::{Name, Text};
use super::node::{Certificate, NewNode, Node, NodeState};
use super::{ADDRESSES_MAX, Configuration, Limit, NODES_MAX, Outcome, Rejection, after};

impl Configuration {
    pub(super) fn found(&mut self, cluster: ClusterId, node: &NewNode, now_ms: u64) -> Result<Outcome, Rejection> {
        if self.cluster.is_some() {
            return Err(Rejection::Founded);
        }
        let id = self.insert_node(node, NodeState::Member, now_ms)?;
        self.cluster = Some(cluster);
        Ok(Outcome::Node(id))
    }

    pub(super) fn join(
        &mut self,
        token: TokenId,
        secret_hash: &[u8; 32],
        node: &NewNode,
        now_ms: u64,
    ) -> Result<Outcome, Rejection> {
        self.check_token(token, secret_hash, now_ms)?;
        let id = self.insert_node(node, NodeState::Joining, now_ms)?;
        if let Some(token) = self.tokens.get_mut(&token) {
            token.used_by = Some(id);
        }
        Ok(Outcome::Node(id))
    }

    fn insert_node(&mut self, about: &NewNode, state: NodeState, now_ms: u64) -> Result<NodeId, Rejection> {
        check_addresses(&about.addresses)?;
        self.check_node_name(&about.name)?;
        self.check_certificate(about.certificate)?;
        if let Some(node) = self.nodes().find(|node| node.about.store == about.store) {
            return Err(Rejection::StoreKnown { store: about.store, node: node.id });
        }
        if self.nodes().filter(|node| node.is_present()).count() >= NODES_MAX {
            return Err(Rejection::Full(Limit::Nodes));
        }
        let id = self.next.node;
        self.next.node = NodeId(after(id.0)?);
        self.nodes.insert(id, Node { id, state, joined_ms: now_ms, about: about.clone() });
        Ok(id)
    }

    pub(super) fn admit_node(&mut self, id: NodeId) -> Result<Outcome, Rejection> {
        self.change_state(id, &[NodeState::Joining], NodeState::Member)
    }

    pub(super) fn drain_node(&mut self, id: NodeId) -> Result<Outcome, Rejection> {
        let node = self.present_node(id)?;
        if node.state == NodeState::Member && self.nodes().filter(|node| node.takes_replicas()).count() == 1 {
            return Err(Rejection::LastMember(id));
        }
        self.change_state(id, &[NodeState::Member], NodeState::Draining)
    }

    pub(super) fn resume_node(&mut self, id: NodeId) -> Result<Outcome, Rejection> {
        self.change_state(id, &[NodeState::Draining], NodeState::Member)
    }

    pub(super) fn remove_node(&mut self, id: NodeId) -> Result<Outcome, Rejection> {
        self.present_node(id)?;
        let held = || self.volumes().filter(|volume| volume.replicas.contains(id));
        if let Some(first) = held().next() {
            return Err(Rejection::NodeHolds { node: id, volumes: held().count() as u64, first: first.id });
        }
        self.change_state(id, &[NodeState::Draining, NodeState::Joining], NodeState::Removed)
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
        self.check_node_name(name)?;
        self.present_node_mut(id)?.about.name = name.clone();
        Ok(Outcome::Done)
    }

    pub(super) fn renew_certificate(&mut self, id: NodeId, certificate: Certificate) -> Result<Outcome, Rejection> {
        self.present_node(id)?;
        self.check_certificate(certificate)?;
        self.present_node_mut(id)?.about.certificate = certificate;
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

    fn check_node_name(&self, name: &Name) -> Result<(), Rejection> {
        match self.nodes().any(|node| node.is_present() && node.about.name == *name) {
            true => Err(Rejection::NodeNameTaken(name.clone())),
            false => Ok(()),
        }
    }

    /// That no node has or had this certificate: a removed node's stays revoked.
    fn check_certificate(&self, certificate: Certificate) -> Result<(), Rejection> {
        match self.nodes().find(|node| node.about.certificate.fingerprint == certificate.fingerprint) {
            Some(node) => Err(Rejection::CertificateKnown(node.id)),
            None => Ok(()),
        }
    }
}

fn check_addresses(addresses: &[Text]) -> Result<(), Rejection> {
    if (1..=ADDRESSES_MAX).contains(&addresses.len()) { Ok(()) } else { Err(Rejection::Addresses) }
}
