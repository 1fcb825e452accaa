//! Where replicas go: on nodes of different zones first, then on those with the fewest. Pure: the configuration in,
//! nodes out.

use std::collections::BTreeMap;

use super::super::id::{NodeId, VolumeId};
use super::super::name::Text;
use super::node::Node;
use super::volume::Copies;
use super::{Configuration, Rejection};

/// Nodes for the replicas of a new volume, best first: `prefer`, where it is made, if it takes replicas, then others. They
/// are as many as the copies, or as there are.
///
/// # Errors
/// [`Rejection::NodeCount`] if there are fewer than must be in sync; [`Rejection::Copies`].
pub fn choose_placement(
    configuration: &Configuration,
    copies: Copies,
    prefer: Option<NodeId>,
) -> Result<Vec<NodeId>, Rejection> {
    if !copies.make_sense() {
        return Err(Rejection::Copies(copies));
    }
    let choice = Choice::new(configuration);
    let mut chosen: Vec<NodeId> = prefer.filter(|node| choice.takes_replicas(*node)).into_iter().collect();
    while chosen.len() < copies.replicas.into()
        && let Some(next) = choice.next(&chosen, None)
    {
        chosen.push(next);
    }
    if chosen.len() < copies.in_sync_min.into() {
        return Err(Rejection::NodeCount { nodes: chosen.len() as u64, copies });
    }
    Ok(chosen)
}

/// A node for one more replica of a volume whose replica on `without`, if it has one there, is to go; `None` if there is
/// no other, or no such volume.
#[must_use]
pub fn choose_replacement(configuration: &Configuration, volume: VolumeId, without: NodeId) -> Option<NodeId> {
    let placement = &configuration.volume(volume)?.replicas.placement;
    let stay: Vec<NodeId> = placement.iter().copied().filter(|node| *node != without).collect();
    Choice::new(configuration).next(&stay, Some(without))
}

/// What nodes are chosen by.
struct Choice<'a> {
    configuration: &'a Configuration,
    /// How many placements each node is in.
    counts: BTreeMap<NodeId, usize>,
}

impl<'a> Choice<'a> {
    fn new(configuration: &'a Configuration) -> Self {
        let mut counts = BTreeMap::new();
        for node in configuration.volumes().flat_map(|volume| &volume.replicas.placement) {
            *counts.entry(*node).or_default() += 1;
        }
        Self { configuration, counts }
    }

    fn takes_replicas(&self, node: NodeId) -> bool {
        self.configuration.node(node).is_some_and(Node::takes_replicas)
    }

    /// The best node beside those that are chosen.
    fn next(&self, chosen: &[NodeId], barred: Option<NodeId>) -> Option<NodeId> {
        let free = self
            .configuration
            .nodes()
            .filter(|node| node.takes_replicas() && !chosen.contains(&node.id) && barred != Some(node.id));
        let count = |node: &Node| self.counts.get(&node.id).copied().unwrap_or(0);
        free.min_by_key(|node| (self.neighbours(node, chosen), count(node), node.id)).map(|node| node.id)
    }

    /// How many of these nodes fail together with this one.
    fn neighbours(&self, node: &Node, chosen: &[NodeId]) -> usize {
        let zone = |id: &NodeId| self.configuration.node(*id).map(|node| &node.about.zone);
        let is_near = |other: &Text| !other.as_str().is_empty() && *other == node.about.zone;
        chosen.iter().filter_map(zone).filter(|other| is_near(other)).count()
    }
}
