//! Who votes: up to seven nodes, spread over zones so that the loss of one zone leaves a majority if any choice does. The
//! others follow as learners. Pure: nodes in, one step of the membership out.

use std::collections::{BTreeMap, BTreeSet};

use super::super::id::NodeId;
use super::super::name::Text;
use super::Configuration;
use super::node::{Node, NodeState};

/// Most voters. Seven go on after any three have failed; more would make every change wait for more of them.
pub const VOTERS_MAX: usize = 7;

/// Who takes part in consensus.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// They vote.
    pub voters: BTreeSet<NodeId>,
    /// They follow.
    pub learners: BTreeSet<NodeId>,
}

/// One change of a membership. Only one is made at a time, so that the old majority and the new one share a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A node begins to follow.
    AddLearner(NodeId),
    /// A joining node that has the configuration becomes a member.
    Admit(NodeId),
    /// A learner becomes a voter.
    AddVoter(NodeId),
    /// A voter becomes a learner.
    RemoveVoter(NodeId),
    /// A learner is no longer sent anything.
    RemoveLearner(NodeId),
}

/// The voters among `nodes`: members only, an odd number except that of two both vote, so that no single disk holds the
/// only copy of the configuration.
#[must_use]
pub fn choose_voters<'a>(nodes: impl Iterator<Item = &'a Node>) -> BTreeSet<NodeId> {
    let order = by_turns(nodes.filter(|node| node.state == NodeState::Member));
    let most = match order.len() {
        count @ 0..=2 => count,
        count => (count - 1 + count % 2).min(VOTERS_MAX),
    };
    let count = (3..=most).rev().step_by(2).find(|&count| survives_any_zone(&order[..count])).unwrap_or(most);
    order[..count].iter().map(|&(_, id)| id).collect()
}

/// All nodes, taken from each zone in turn, lowest ids first. A node without a zone is one of its own.
fn by_turns<'a>(nodes: impl Iterator<Item = &'a Node>) -> Vec<(usize, NodeId)> {
    let mut zones: BTreeMap<(Option<&Text>, Option<NodeId>), Vec<NodeId>> = BTreeMap::new();
    for node in nodes {
        let zone = &node.about.zone;
        let key = if zone.as_str().is_empty() { (None, Some(node.id)) } else { (Some(zone), None) };
        zones.entry(key).or_default().push(node.id);
    }
    let mut zones: Vec<Vec<NodeId>> = zones.into_values().collect();
    zones.iter_mut().for_each(|zone| zone.sort_unstable());
    zones.sort_unstable();
    let rounds = zones.iter().map(Vec::len).max().unwrap_or(0);
    let turn = |round: usize| {
        let in_zone = move |(index, zone): (usize, &Vec<NodeId>)| zone.get(round).map(|&id| (index, id));
        zones.iter().enumerate().filter_map(in_zone).collect::<Vec<_>>()
    };
    (0..rounds).flat_map(turn).collect()
}

fn survives_any_zone(voters: &[(usize, NodeId)]) -> bool {
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    voters.iter().for_each(|(zone, _)| *sizes.entry(*zone).or_default() += 1);
    sizes.values().all(|size| size * 2 < voters.len())
}

/// What to change next so that everybody who belongs to the cluster follows and the right ones vote; `None` if nothing.
/// Only nodes that are `up_to_date` are admitted or become voters, so that a node that is not there stops nobody, and only
/// those that have described themselves, so that a voter is one file for good. A voter that is a member still is replaced
/// only after its replacement votes.
#[must_use]
pub fn next_step(
    configuration: &Configuration,
    membership: &Membership,
    up_to_date: &BTreeSet<NodeId>,
) -> Option<Step> {
    let wanted = choose_voters(configuration.nodes());
    if wanted.is_empty() {
        // The cluster is being made.
        return None;
    }
    let Membership { voters, learners } = membership;
    let is_in = |id: &NodeId| voters.contains(id) || learners.contains(id);
    let is_ready = |id: &NodeId| is_in(id) && up_to_date.contains(id);
    let is_present = |id: NodeId| configuration.node(id).is_some_and(Node::is_present);
    let is_member = |id: NodeId| configuration.node(id).is_some_and(Node::takes_replicas);
    let ids = |state: NodeState| configuration.nodes().filter(move |node| node.state == state).map(|node| node.id);
    let missing: Vec<NodeId> = wanted.difference(voters).copied().collect();
    let new = || configuration.nodes().filter(|node| node.is_present()).map(|node| node.id).find(|id| !is_in(id));
    let is_described = |id: &NodeId| configuration.node(*id).is_some_and(|node| node.about.is_described());
    let admitted = || ids(NodeState::Joining).find(|id| is_ready(id) && is_described(id));
    let added = || missing.iter().copied().find(|id| is_ready(id));
    let removed = || voters.difference(&wanted).copied().find(|&id| missing.is_empty() || !is_member(id));
    let gone = || learners.iter().copied().find(|&id| !is_present(id));
    new()
        .map(Step::AddLearner)
        .or_else(|| admitted().map(Step::Admit))
        .or_else(|| added().map(Step::AddVoter))
        .or_else(|| removed().map(Step::RemoveVoter))
        .or_else(|| gone().map(Step::RemoveLearner))
}
