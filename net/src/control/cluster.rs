//! What tools and nodes say of a cluster.

use serde::{Deserialize, Serialize};

use super::response::VolumeDescription;

/// What to do about a node of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeAction {
    /// Take it out of service: its replicas move to others, and it gets no new ones.
    Drain,
    /// Put it into service again.
    Resume,
    /// Remove it, if it holds nothing any more.
    Remove,
    /// Remove it as lost, with all that it held.
    RemoveLost,
    /// An action of a newer version.
    #[serde(other)]
    Unknown,
}

/// A replica to move.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MoveReplica {
    /// The volume.
    pub volume: String,
    /// The node that gives its replica up, by name or number; chosen if absent.
    #[serde(default)]
    pub from: Option<String>,
    /// The node that gets one, by name or number.
    pub to: String,
}

/// A cluster as one of its nodes sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster: String,
    /// The number of the node that says this.
    pub here: u64,
    /// The number of the node that leads the agreement; absent without a majority.
    #[serde(default)]
    pub leader: Option<u64>,
    /// The nodes, by number.
    pub nodes: Vec<NodeDescription>,
    /// The replicated volumes, by name.
    pub volumes: Vec<VolumeDescription>,
    /// Another authority that is being taken up.
    #[serde(default)]
    pub rotation: Option<RotationDescription>,
}

/// How far a change of a cluster's certificate authority has come.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RotationDescription {
    /// `trusting` until all nodes trust the new authority, then `showing` until each shows a certificate of it.
    pub stage: String,
    /// The names of the nodes that are waited for.
    pub awaited: Vec<String>,
}

/// A node of a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NodeDescription {
    /// Its number, never given twice.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it listens, by UDP.
    pub addresses: Vec<String>,
    /// What fails together with it; empty for nothing else.
    #[serde(default)]
    pub zone: String,
    /// `joining`, `member` or `draining`.
    pub standing: String,
    /// Whether the node that says this reaches it.
    pub reachable: bool,
    /// Why not, if that is known.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Whether it has a say in what the cluster agrees on.
    pub voter: bool,
    /// Replicas that it has or is to have.
    pub replicas: u64,
    /// Volumes of which it is the primary.
    pub primaries: u64,
}

/// How a volume is replicated.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReplicationDescription {
    /// How many copies it is to have.
    pub replicas_wanted: u8,
    /// With fewer copies than this, writes wait.
    pub in_sync_min: u8,
    /// Grows whenever who holds it changes.
    pub epoch: u64,
    /// Who holds it, by number of the node.
    pub replicas: Vec<ReplicaDescription>,
    /// `healthy` with all its copies, `degraded` with some of them, `stalled` while requests wait.
    pub health: String,
    /// What is being done about it, if something is.
    #[serde(default)]
    pub doing: Option<String>,
}

/// A replica of a volume.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReplicaDescription {
    /// The node's number.
    pub node: u64,
    /// The node's name.
    pub node_name: String,
    /// `primary`, `backup`, or `catching_up` until it has everything.
    pub role: String,
    /// Whether the node that says this reaches it.
    pub reachable: bool,
    /// How far it has come, while it is being made or brought up to date.
    #[serde(default)]
    pub progress: Option<ProgressDescription>,
}

/// How far something has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ProgressDescription {
    /// What is done, in bytes.
    pub done_bytes: u64,
    /// What there is to do in all, as far as that is known now.
    pub total_bytes: u64,
    /// What is done in a second; absent while that is not known.
    #[serde(default)]
    pub rate_bytes: Option<u64>,
    /// How long it will take at this rate, in seconds.
    #[serde(default)]
    pub left_s: Option<u64>,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EventDescription {
    /// When, RFC 3339, by the clock of the node that says so.
    pub at: String,
    /// The name of that node; absent if it is in no cluster.
    #[serde(default)]
    pub node: Option<String>,
    /// What, as a word like `volume_degraded`. There may be more of them in newer versions.
    pub kind: String,
    /// The node or volume that it happened to, by name; empty for the node that says so.
    pub subject: String,
    /// In words.
    pub text: String,
}

impl ReplicationDescription {
    /// Replicas that have everything and are reached.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.replicas.iter().filter(|replica| replica.reachable && replica.role != "catching_up").count()
    }
}

/// A cluster in a few numbers, as one of its nodes sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ClusterSummary {
    /// The cluster's id.
    pub cluster: String,
    /// The number of the node that says this.
    pub here: u64,
    /// Its name.
    pub here_name: String,
    /// The number of the node that leads the agreement; absent without a majority.
    #[serde(default)]
    pub leader: Option<u64>,
    /// Nodes.
    pub nodes: u64,
    /// Nodes that are not reached.
    pub nodes_unreachable: u64,
    /// Replicated volumes.
    pub volumes: u64,
    /// Volumes that work and lack copies.
    pub volumes_degraded: u64,
    /// Volumes whose requests wait.
    pub volumes_stalled: u64,
}

#[cfg(test)]
mod tests;
