//! `silt cluster status`

use siltstone::control::{
    ClusterDescription, ClusterSummary, NodeDescription, ProgressDescription, ReplicaDescription,
    ReplicationDescription, Request, RotationDescription, VolumeDescription,
};

use crate::args::Global;
use crate::command::node;
use crate::exit::Exit;
use crate::output::{Output, fields, table};
use crate::size;

/// Show the nodes and the replicated volumes, what is wrong with them, and what is being done about it.
///
/// It is what this node sees: a node that it does not reach may be reached by others.
#[derive(Debug, clap::Args)]
pub(super) struct Status {}

impl Status {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let cluster = super::ask(global, &Request::ClusterStatus)?;
        Output::new(global).answer(&cluster, || text(&cluster))?;
        Ok(Exit::Ok)
    }
}

fn text(cluster: &ClusterDescription) -> String {
    let name = |id: u64| {
        let node = cluster.nodes.iter().find(|node| node.id == id);
        node.map_or_else(|| format!("number {id}"), |node| node.name.clone())
    };
    let leader = cluster.leader.map_or_else(|| NO_LEADER.to_owned(), name);
    let rows = [("cluster", cluster.cluster.clone()), ("this node", name(cluster.here)), ("leader", leader)];
    let parts = [fields(&rows), node::text(&cluster.nodes), volumes(&cluster.volumes), troubles(cluster)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

const NO_LEADER: &str = "none: this node sees no majority of the voters; until there is one, nothing can be changed";

fn volumes(volumes: &[VolumeDescription]) -> String {
    if volumes.is_empty() {
        return String::new();
    }
    let row = |volume: &VolumeDescription| {
        let replication = volume.replication.clone().unwrap_or_default();
        let primary = replication.replicas.iter().find(|replica| replica.role == "primary");
        vec![
            volume.name.clone(),
            size::human(volume.size_bytes),
            replicas(volume),
            replication.health,
            primary.map(|replica| replica.node_name.clone()).unwrap_or_default(),
        ]
    };
    let right = ["SIZE", "REPLICAS"];
    table(&["VOLUME", "SIZE", "REPLICAS", "HEALTH", "PRIMARY"], &right, volumes.iter().map(row))
}

/// Copies that there are and that there should be; `-` of a volume of one node alone.
pub(in crate::command) fn replicas(volume: &VolumeDescription) -> String {
    volume.replication.as_deref().map_or_else(|| "-".to_owned(), replicas_text)
}

fn replicas_text(replication: &ReplicationDescription) -> String {
    format!("{}/{}", replication.copies(), replication.replicas_wanted)
}

/// What is wrong, and what is being done, one a line.
pub(in crate::command) fn troubles(cluster: &ClusterDescription) -> String {
    let nodes = cluster.nodes.iter().filter_map(node_trouble);
    let volumes = cluster.volumes.iter().filter_map(volume_trouble);
    let rotation = cluster.rotation.as_ref().map(rotation);
    rotation.into_iter().chain(nodes).chain(volumes).map(|line| line + "\n").collect()
}

/// How far a change of the authority has come, and for whom it waits.
pub(super) fn rotation(rotation: &RotationDescription) -> String {
    let step = match &*rotation.stage {
        "trusting" => "trusts it",
        _ => "shows a certificate of it",
    };
    let awaited = rotation.awaited.join(", ");
    format!("the cluster is taking up another authority: until each node {step} it waits for {awaited}")
}

fn node_trouble(node: &NodeDescription) -> Option<String> {
    let why = node.trouble.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match (node.reachable, &*node.standing) {
        (false, _) => Some(format!("node {} is not reached{why}", node.name)),
        (true, "draining") if node.replicas == 0 => {
            Some(format!("node {} is drained: `silt node rm {}` removes it", node.name, node.name))
        }
        (true, "draining") => {
            Some(format!("node {} is being drained, {} to go", node.name, counted(node.replicas, "replica")))
        }
        (true, "joining") => Some(format!("node {} is joining", node.name)),
        _ => None,
    }
}

fn volume_trouble(volume: &VolumeDescription) -> Option<String> {
    let replication = volume.replication.as_deref()?;
    let doing = doing(replication).map(|doing| format!(": {doing}")).unwrap_or_default();
    match &*replication.health {
        "healthy" if doing.is_empty() => None,
        "stalled" => Some(format!("volume {} is stalled, requests wait{doing}", volume.name)),
        health => Some(format!("volume {} is {health}{doing}", volume.name)),
    }
}

/// What is being done about a volume, and how long it will take.
pub(in crate::command) fn doing(replication: &ReplicationDescription) -> Option<String> {
    let progress = |replica: &ReplicaDescription| Some(format!("{} {}", replica.node_name, so_far(replica.progress?)));
    let made: Vec<_> = replication.replicas.iter().filter_map(progress).collect();
    if made.is_empty() { replication.doing.clone() } else { Some(format!("bringing up to date {}", made.join(", "))) }
}

fn so_far(progress: ProgressDescription) -> String {
    let ProgressDescription { done_bytes, total_bytes, rate_bytes, left_s } = progress;
    let mut text = format!("({} of {}", size::human(done_bytes), size::human(total_bytes));
    if let Some(rate_bytes) = rate_bytes {
        text.push_str(&format!(", {}/s", size::human(rate_bytes)));
    }
    match left_s {
        Some(left_s) => text.push_str(&format!(", about {} left)", time(left_s))),
        None => text.push(')'),
    }
    text
}

/// A time as people say it: two of days, hours, minutes and seconds.
fn time(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A cluster in a line, for `silt status`.
pub(in crate::command) fn paragraph(summary: &ClusterSummary) -> String {
    let mut text = format!("node {} of {}", summary.here_name, summary.nodes);
    if summary.nodes_unreachable > 0 {
        text.push_str(&format!(", {} not reached", summary.nodes_unreachable));
    }
    text.push_str(&format!("; {}", counted(summary.volumes, "replicated volume")));
    for (count, state) in [(summary.volumes_degraded, "degraded"), (summary.volumes_stalled, "stalled")] {
        if count > 0 {
            text.push_str(&format!(", {count} {state}"));
        }
    }
    if summary.leader.is_none() {
        text.push_str("; no majority");
    }
    text
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
