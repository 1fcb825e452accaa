//! What happens to the cluster, as events. Every node looks; of what all of them see the leader alone has events, so that each is
//! there once. What happened while there was no leader is told by the next; what one saw just before it lost the lead may be lost.

use std::collections::BTreeMap;
use std::time::Duration;

use super::core::Core;
use super::report::{ClusterReport, NodeReport, NodeStanding, ReplicaRole, VolumeHealth, VolumeReport};
use crate::events::kind;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// How long after a start nodes that are not reached yet are no event.
const START: Duration = Duration::from_secs(10);

/// An event: its kind, its subject, and its text.
type Told = (&'static str, String, String);

impl Core {
    /// Looks until the node stops.
    pub(super) fn watch(&self) {
        let clock = self.node.store().clock();
        let (begun, mut looked) = (clock.monotonic(), Duration::ZERO);
        let (mut before, mut has_begun): (Option<ClusterReport>, bool) = (None, false);
        while !self.is_stopping() {
            let now = clock.monotonic();
            if before.is_none() || now.saturating_sub(looked) >= LOOK {
                looked = now;
                self.note_logs(now);
                let report = self.report();
                has_begun |= now.saturating_sub(begun) >= START || report.nodes.iter().all(|node| node.is_reachable);
                before = self.told(before.filter(|_| has_begun), report);
            }
            self.wait_change(LOOK);
        }
    }

    /// Notes what has changed if it is for this node to do so; gives what the next look is compared with.
    fn told(&self, before: Option<ClusterReport>, now: ClusterReport) -> Option<ClusterReport> {
        match (&before, now.leader) {
            (Some(before), Some(leader)) if leader == now.here => {
                for (kind, subject, text) in changes(before, &now) {
                    self.node.events().note(kind, &subject, &text);
                }
                Some(now)
            }
            // What this node has missed meanwhile is told once there is a leader again, perhaps by this one.
            (Some(_), leader) if !leads(&now, leader) => before,
            _ => Some(now),
        }
    }

    /// What nodes lack that are being brought along by the logs of volumes served here.
    fn note_logs(&self, now: Duration) {
        let configuration = self.configuration();
        // Without the lock: a replica's thread may wait for it before it answers.
        let served: Vec<_> = self.replicas.read().values().filter(|replica| replica.serves()).cloned().collect();
        let is_served = |volume| served.iter().any(|replica| replica.shared().id == volume);
        self.copies.keep_logs(is_served);
        for replica in &served {
            let id = replica.shared().id;
            let Some(volume) = configuration.volume(id) else { continue };
            let is_whole = volume.replicas.placement.iter().all(|node| volume.replicas.is_member(*node));
            let lacking = if is_whole { Vec::new() } else { replica.behind() };
            self.copies.note_log(id, &lacking, now);
        }
    }
}

/// Whether a leader is known that is there: of one that is lost, nodes know for a while as if it were not.
fn leads(report: &ClusterReport, leader: Option<u64>) -> bool {
    report.nodes.iter().any(|node| Some(node.id) == leader && node.is_reachable)
}

/// The events between two looks.
fn changes(before: &ClusterReport, now: &ClusterReport) -> Vec<Told> {
    let nodes: BTreeMap<u64, &NodeReport> = before.nodes.iter().map(|node| (node.id, node)).collect();
    let volumes: BTreeMap<u64, &VolumeReport> = before.volumes.iter().map(|volume| (volume.id, volume)).collect();
    let mut events = Vec::new();
    events.extend(authority_change(before, now));
    for node in &now.nodes {
        node_changes(nodes.get(&node.id).copied(), node, &mut events);
    }
    let is_gone = |node: &&NodeReport| now.nodes.iter().all(|other| other.id != node.id);
    events.extend(before.nodes.iter().filter(is_gone).map(removal));
    for volume in &now.volumes {
        if let Some(before) = volumes.get(&volume.id) {
            volume_changes(before, volume, &mut events);
        }
    }
    events
}

/// What has become of the cluster's authority. A change may begin and end between two looks.
fn authority_change(before: &ClusterReport, now: &ClusterReport) -> Option<Told> {
    let is_trusted = |report: &ClusterReport| report.rotation.as_ref().map(|rotation| rotation.is_trusted);
    let (kind, text) = match (is_trusted(before), is_trusted(now)) {
        _ if before.authority != now.authority => (
            kind::AUTHORITY_CHANGED,
            "the cluster has another authority, and the one before it is not trusted any more",
        ),
        (None, Some(_)) => (kind::AUTHORITY_CHANGING, "the cluster takes up another authority: tokens are void"),
        (Some(false), Some(true)) => (
            kind::AUTHORITY_CHANGING,
            "all nodes trust the cluster's new authority, and show certificates of it from now on",
        ),
        (Some(_), None) => (kind::AUTHORITY_KEPT, "the cluster's new authority was given up: the one before it stays"),
        _ => return None,
    };
    Some((kind, String::new(), text.to_owned()))
}

fn node_changes(before: Option<&NodeReport>, now: &NodeReport, events: &mut Vec<Told>) {
    let name = &now.name;
    let mut tell = |kind, text: String| events.push((kind, name.clone(), text));
    let was = before.map(|node| node.standing);
    let is_drained = |node: &NodeReport| node.standing == NodeStanding::Draining && node.replicas == 0;
    match (was, now.standing) {
        (None | Some(NodeStanding::Joining), NodeStanding::Member) => {
            tell(kind::NODE_JOINED, format!("node {name} joined"));
        }
        (Some(NodeStanding::Member), NodeStanding::Draining) => {
            tell(kind::NODE_DRAINING, format!("node {name} is being drained of {} replicas", now.replicas));
        }
        (Some(NodeStanding::Draining), NodeStanding::Member) => {
            tell(kind::NODE_RESUMED, format!("node {name} takes replicas again"));
        }
        _ => {}
    }
    if is_drained(now) && !before.is_some_and(is_drained) {
        tell(kind::NODE_DRAINED, format!("node {name} holds nothing any more"));
    }
    match (before.map(|node| node.is_reachable), now.is_reachable) {
        (Some(true), false) => {
            let why = now.trouble.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            tell(kind::NODE_UNREACHED, format!("node {name} is not reached{why}"));
        }
        (Some(false), true) => tell(kind::NODE_REACHED, format!("node {name} is reached again")),
        _ => {}
    }
}

fn removal(node: &NodeReport) -> Told {
    let name = node.name.clone();
    let has_nothing = node.replicas == 0 && node.standing != NodeStanding::Member;
    match has_nothing {
        true => (kind::NODE_LEFT, name.clone(), format!("node {name} was removed")),
        false => (kind::NODE_LOST, name.clone(), format!("node {name} was removed as lost")),
    }
}

fn volume_changes(before: &VolumeReport, now: &VolumeReport, events: &mut Vec<Told>) {
    let name = now.name.to_string();
    let mut tell = |kind, text: String| events.push((kind, name.clone(), text));
    let complete = now.replicas.iter().filter(|it| it.is_reachable && it.role != ReplicaRole::CatchingUp).count();
    let copies = format!("{complete} of {} copies", now.replicas_wanted);
    if before.health != now.health {
        match now.health {
            VolumeHealth::Healthy => tell(kind::VOLUME_HEALTHY, format!("volume {name} is healthy, with {copies}")),
            VolumeHealth::Degraded => tell(kind::VOLUME_DEGRADED, format!("volume {name} is degraded, with {copies}")),
            VolumeHealth::Stalled => {
                tell(kind::VOLUME_STALLED, format!("volume {name} is stalled, with {copies}: requests wait"));
            }
        }
    }
    let primary = |volume: &VolumeReport| {
        volume.replicas.iter().find(|it| it.role == ReplicaRole::Primary).map(|it| (it.node, it.node_name.clone()))
    };
    match (primary(before), primary(now)) {
        (Some((from, from_name)), Some((to, to_name))) if from != to => {
            tell(kind::PRIMARY_MOVED, format!("volume {name} is served by node {to_name}, no longer by {from_name}"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
