//! The invariants of a configuration. A restored snapshot that breaks one is damage.

use std::collections::BTreeSet;

use super::super::id::{NodeId, VolumeId};
use super::limits::VolumeLimits;
use super::node::{Node, NodeState};
use super::rotation::{AUTHORITY_BYTES_MAX, Rotation, RotationStage};
use super::volume::{ReplicaSet, Volume};
use super::{Configuration, IDENTITIES_MAX, MOVING_MAX, REPLICAS_MAX};

/// An invariant that does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// Something has an id that was not given out yet.
    #[error("an id is in use that was not given out yet")]
    Ids,
    /// There is content, but no cluster.
    #[error("there is content, but no cluster")]
    NotFounded,
    /// Two nodes share a name, configuration file or key, or one takes part that nobody knows where to find.
    #[error("two nodes share a name, configuration file or key, or one is not described")]
    Nodes,
    /// A replica set is none.
    #[error("the replica set of volume {0} makes no sense")]
    Replicas(VolumeId),
    /// Two volumes have the same name.
    #[error("two volumes have the same name, or a name means none")]
    Names,
    /// Snapshots of no volume, or counted wrongly.
    #[error("there are snapshots of no volume, two with the same id, or miscounted ones")]
    Snapshots,
    /// A list of who may open a volume is of no volume, empty, too long or not sorted.
    #[error("a list of who may open a volume is of no volume, or none that is ever written")]
    Allowed,
    /// A reservation or quota is of no volume, or says nothing.
    #[error("a reservation or quota is of no volume, or none that is ever written")]
    Limits,
    /// A change of the authority with tokens, for nobody, or with nodes that it is not for.
    #[error(
        "a change of the authority has tokens beside it, is waited for by nobody, or was taken part in by nodes that are gone"
    )]
    Rotation,
}

impl Configuration {
    /// That the invariants hold.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), Broken> {
        self.check_ids()?;
        self.check_nodes()?;
        self.check_names()?;
        self.check_snapshots()?;
        self.check_allowed()?;
        self.check_limits()?;
        self.check_rotation()?;
        self.volumes().try_for_each(|volume| self.check_replicas(volume))
    }

    fn check_ids(&self) -> Result<(), Broken> {
        let is_empty = self.nodes.is_empty() && self.tokens.is_empty() && self.volumes.is_empty();
        if self.cluster.is_none() && !(is_empty && self.settings.is_empty()) {
            return Err(Broken::NotFounded);
        }
        let mut snapshots = self.snapshots.values().flat_map(|of_volume| of_volume.values());
        let are_given_out = self.nodes.iter().all(|(&id, node)| node.id == id && id < self.next.node)
            && self
                .tokens
                .iter()
                .all(|(&id, token)| token.id == id && token.used_by.is_none_or(|(_, node)| node < self.next.node))
            && self.volumes.iter().all(|(&id, volume)| volume.id == id && id < self.next.volume)
            && snapshots.all(|snapshot| snapshot.id < self.next.snapshot && snapshot.group <= snapshot.id);
        if are_given_out { Ok(()) } else { Err(Broken::Ids) }
    }

    fn check_nodes(&self) -> Result<(), Broken> {
        let (mut names, mut stores, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let are_distinct = self.nodes().all(|node| {
            (!node.is_present() || names.insert(&node.about.name))
                && node.about.store.is_none_or(|store| stores.insert(store))
                && keys.insert(node.about.key)
        });
        let may_be_unknown = |node: &Node| matches!(node.state, NodeState::Joining | NodeState::Removed);
        let are_described = self.nodes().all(|node| may_be_unknown(node) || node.about.is_described());
        if are_distinct && are_described { Ok(()) } else { Err(Broken::Nodes) }
    }

    fn check_names(&self) -> Result<(), Broken> {
        let named = self.volumes().filter(|volume| volume.trashed.is_none());
        let mut count = 0;
        let are_known = named.into_iter().all(|volume| {
            count += 1;
            self.names.get(&volume.name) == Some(&volume.id)
        });
        if are_known && count == self.names.len() { Ok(()) } else { Err(Broken::Names) }
    }

    fn check_snapshots(&self) -> Result<(), Broken> {
        let mut ids = BTreeSet::new();
        let are_of_volumes = self.snapshots.iter().all(|(volume, of_volume)| {
            self.volumes.contains_key(volume)
                && !of_volume.is_empty()
                && of_volume.values().all(|snapshot| ids.insert(snapshot.id))
        });
        if are_of_volumes && ids.len() == self.snapshot_count { Ok(()) } else { Err(Broken::Snapshots) }
    }

    fn check_allowed(&self) -> Result<(), Broken> {
        let are_sound = self.allowed.iter().all(|(volume, names)| {
            self.volumes.contains_key(volume)
                && (1..=IDENTITIES_MAX).contains(&names.len())
                && names.is_sorted_by(|one, next| one < next)
        });
        if are_sound { Ok(()) } else { Err(Broken::Allowed) }
    }

    fn check_limits(&self) -> Result<(), Broken> {
        let is_sound =
            |(volume, limits): (&VolumeId, &VolumeLimits)| self.volumes.contains_key(volume) && !limits.is_none();
        if self.limits.iter().all(is_sound) { Ok(()) } else { Err(Broken::Limits) }
    }

    fn check_rotation(&self) -> Result<(), Broken> {
        let is_certificate = |bytes: &[u8]| (1..=AUTHORITY_BYTES_MAX).contains(&bytes.len());
        let is_present = |node: NodeId| self.present_node(node).is_ok();
        let is_sound = |rotation: &Rotation| {
            let has_key = !rotation.done.is_empty() || is_present(rotation.from);
            is_certificate(&rotation.certificate)
                && self.authority.as_ref() != Some(&rotation.certificate)
                && self.tokens.is_empty()
                && self.nodes().all(|node| node.state != NodeState::Joining)
                && rotation.done.is_sorted_by(|one, next| one < next)
                && rotation.done.iter().all(|&node| is_present(node))
                && (rotation.stage == RotationStage::Showing || has_key)
                && self.awaited().next().is_some()
        };
        let is_authority_sound = self.authority.as_deref().is_none_or(is_certificate);
        if is_authority_sound && self.rotation.as_ref().is_none_or(is_sound) { Ok(()) } else { Err(Broken::Rotation) }
    }

    fn check_replicas(&self, volume: &Volume) -> Result<(), Broken> {
        let set = &volume.replicas;
        let is_present = |node: NodeId| self.present_node(node).is_ok();
        let present = set.members.iter().filter(|member| is_present(member.node)).count();
        let is_sound = volume.copies.make_sense()
            && are_sound_members(set)
            && set.members.iter().all(|member| self.nodes.contains_key(&member.node))
            && (1..=usize::from(REPLICAS_MAX) + MOVING_MAX).contains(&present)
            && set.placement.is_sorted_by(|one, next| one < next)
            && (1..=volume.copies.replicas.into()).contains(&set.placement.len())
            && set.placement.iter().all(|&node| is_present(node));
        if is_sound { Ok(()) } else { Err(Broken::Replicas(volume.id)) }
    }
}

/// Sorted, the primary among them, and no epoch beyond the present one.
fn are_sound_members(set: &ReplicaSet) -> bool {
    set.is_member(set.primary)
        && set.members.is_sorted_by(|one, next| one.node < next.node)
        && set.members.iter().all(|member| member.since.0 > 0 && member.since <= set.epoch)
        && set.loss <= set.epoch
}
