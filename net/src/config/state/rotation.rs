//! Another authority for the cluster, in two steps that every node takes (`docs/decisions/2026-11-28-another-authority.md`): first all
//! trust it, then all show certificates of it. When the last has taken the second, the former one is not trusted any more.
//!
//! Invariant: nobody shows a certificate of an authority that a node of the cluster does not trust.

use super::super::id::NodeId;
use super::node::NodeState;
use super::{Configuration, Outcome, Rejection};
use crate::identity::Fingerprint;

/// Longest certificate of an authority, in bytes.
pub const AUTHORITY_BYTES_MAX: usize = 4096;

/// What all nodes are about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum RotationStage {
    /// To get the new authority and to trust it besides the one in force.
    Trusting,
    /// To show certificates of the new authority.
    Showing,
}

/// Another authority that is being taken up.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Rotation {
    /// The new authority's certificate, X.509 DER.
    pub certificate: Vec<u8>,
    /// The node that made it, and that had its key first.
    pub from: NodeId,
    /// What all nodes are about to do.
    pub stage: RotationStage,
    /// Nodes that have done it, by id.
    pub done: Vec<NodeId>,
}

impl Rotation {
    /// Names the new authority.
    #[must_use]
    pub fn authority(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }
}

impl Configuration {
    /// The certificate of the authority in force, X.509 DER; `None` as long as that is the cluster's first one.
    #[must_use]
    pub fn authority(&self) -> Option<&[u8]> {
        self.authority.as_deref()
    }

    /// The change of the authority that is under way.
    #[must_use]
    pub fn rotation(&self) -> Option<&Rotation> {
        self.rotation.as_ref()
    }

    /// The nodes that a change of the authority waits for, by id; none if there is no change.
    pub fn awaited(&self) -> impl Iterator<Item = NodeId> {
        let awaited = |rotation: &Rotation, node: NodeId| !rotation.done.contains(&node);
        let present = self.nodes().filter(|node| node.is_present()).map(|node| node.id);
        present.filter(move |node| self.rotation.as_ref().is_some_and(|rotation| awaited(rotation, *node)))
    }

    pub(super) fn begin_rotation(&mut self, from: NodeId, certificate: &[u8]) -> Result<Outcome, Rejection> {
        self.refuse_during_rotation()?;
        self.present_node(from)?;
        if let Some(node) = self.nodes().find(|node| node.state == NodeState::Joining) {
            return Err(Rejection::StillJoining(node.id));
        }
        let is_known = self.authority.as_deref() == Some(certificate);
        if is_known || !(1..=AUTHORITY_BYTES_MAX).contains(&certificate.len()) {
            return Err(Rejection::Authority);
        }
        // They name the authority in force, and a node that comes now would not know which one to trust.
        self.tokens.clear();
        let (certificate, stage) = (certificate.to_vec(), RotationStage::Trusting);
        self.rotation = Some(Rotation { certificate, from, stage, done: Vec::new() });
        Ok(Outcome::Done)
    }

    /// A node has done what the stage asks of it. Said again, it is the same.
    pub(super) fn confirm_rotation(
        &mut self,
        node: NodeId,
        authority: Fingerprint,
        stage: RotationStage,
    ) -> Result<Outcome, Rejection> {
        self.present_node(node)?;
        let is_it = |rotation: &&mut Rotation| rotation.stage == stage && rotation.authority() == authority;
        let rotation = self.rotation.as_mut().filter(is_it).ok_or(Rejection::NoRotation)?;
        if let Err(at) = rotation.done.binary_search(&node) {
            rotation.done.insert(at, node);
        }
        self.go_on_with_rotation();
        Ok(Outcome::Done)
    }

    /// Nobody shows a certificate of the new authority before all trust it, so until then nothing is lost with it.
    pub(super) fn cancel_rotation(&mut self, authority: Fingerprint) -> Result<Outcome, Rejection> {
        let rotation = self.rotation.as_ref().filter(|rotation| rotation.authority() == authority);
        match rotation.ok_or(Rejection::NoRotation)?.stage {
            RotationStage::Trusting => self.rotation = None,
            RotationStage::Showing => return Err(Rejection::RotationShown),
        }
        Ok(Outcome::Done)
    }

    /// That the authority is not being changed.
    pub(super) fn refuse_during_rotation(&self) -> Result<(), Rejection> {
        if self.rotation.is_some() { Err(Rejection::Rotating) } else { Ok(()) }
    }

    /// A node was removed: nobody waits for it any more. A new authority whose key went with it is given up.
    pub(super) fn leave_rotation(&mut self) {
        let nodes = &self.nodes;
        let is_present = |node: &NodeId| nodes.get(node).is_some_and(|node| node.is_present());
        let Some(rotation) = &mut self.rotation else { return };
        rotation.done.retain(is_present);
        let is_lost = rotation.done.is_empty() && !is_present(&rotation.from);
        if rotation.stage == RotationStage::Trusting && is_lost {
            self.rotation = None;
        }
        self.go_on_with_rotation();
    }

    /// The next stage, once nobody is awaited in this one.
    fn go_on_with_rotation(&mut self) {
        if self.awaited().next().is_some() {
            return;
        }
        match self.rotation.take() {
            Some(rotation) if rotation.stage == RotationStage::Trusting => {
                self.rotation = Some(Rotation { stage: RotationStage::Showing, done: Vec::new(), ..rotation });
            }
            Some(rotation) => self.authority = Some(rotation.certificate),
            None => {}
        }
    }
}
