//! What a cluster is like, for people.

use lsm_store::codec::Codec;
use lsm_store::store::Limits;

use crate::access::AllowList;
use crate::name::VolumeName;
use crate::schedule::Schedule;

/// A cluster as one of its nodes sees it.
#[derive(Clone, Debug, Default)]
pub struct ClusterReport {
    /// The cluster's id.
    pub cluster: String,
    /// The node that says this.
    pub here: u64,
    /// The node that leads the agreement; `None` without a majority.
    pub leader: Option<u64>,
    /// The nodes, by number, without those that were removed.
    pub nodes: Vec<NodeReport>,
    /// The volumes, by name.
    pub volumes: Vec<VolumeReport>,
    /// Another authority that is being taken up.
    pub rotation: Option<RotationReport>,
    /// The fingerprint of the authority in force; `None` as long as that is the cluster's first.
    pub authority: Option<[u8; 32]>,
}

/// How far a change of the cluster's authority has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RotationReport {
    /// All nodes trust the new authority, and each is to show a certificate of it; until then each is to trust it.
    pub is_trusted: bool,
    /// The names of the nodes that are waited for.
    pub awaited: Vec<String>,
}

/// Where a node is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeStanding {
    /// It learns what the cluster has agreed on.
    Joining,
    /// It takes part in everything.
    Member,
    /// It gives away what it holds.
    Draining,
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// Its number.
    pub id: u64,
    /// What people call it.
    pub name: String,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// What fails together with it; empty for nothing else.
    pub zone: String,
    /// Where it is in its life.
    pub standing: NodeStanding,
    /// Whether this node reaches it; itself it does.
    pub is_reachable: bool,
    /// Why not, if that is known.
    pub trouble: Option<String>,
    /// It takes part in elections.
    pub is_voter: bool,
    /// Replicas that it has or is to have.
    pub replicas: u64,
    /// Volumes of which it is the primary.
    pub primaries: u64,
}

/// What a replica does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplicaRole {
    /// It orders and acknowledges.
    Primary,
    /// It has what was acknowledged, and could take the primary's place.
    Backup,
    /// It is being brought up to date.
    CatchingUp,
}

/// A replica of a volume.
#[derive(Clone, Debug)]
pub struct ReplicaReport {
    /// The node's number.
    pub node: u64,
    /// The node's name.
    pub node_name: String,
    /// What it does.
    pub role: ReplicaRole,
    /// Whether this node reaches it.
    pub is_reachable: bool,
    /// How far it has come, while it is being made or brought up to date.
    pub progress: Option<Progress>,
}

/// How far something has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What is done, in bytes.
    pub done_bytes: u64,
    /// What there is to do in all, as far as that is known now.
    pub total_bytes: u64,
    /// What is done in a second, once that is known.
    pub rate_bytes: Option<u64>,
}

impl Progress {
    /// How long it will take at this rate, in seconds.
    #[must_use]
    pub fn left_s(&self) -> Option<u64> {
        let left_bytes = self.total_bytes.saturating_sub(self.done_bytes);
        self.rate_bytes.filter(|rate| *rate > 0).map(|rate| left_bytes.div_ceil(rate))
    }
}

/// How a volume is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VolumeHealth {
    /// It has all its copies.
    Healthy,
    /// It works and lacks copies.
    Degraded,
    /// It has fewer copies than it needs, or no primary that can be reached: requests wait.
    Stalled,
}

/// What a clone was made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OriginReport {
    /// The volume's number.
    pub id: u64,
    /// The volume's name; `None` if it is gone, or in the trash.
    pub volume: Option<VolumeName>,
}

/// A volume of the cluster.
#[derive(Clone, Debug)]
pub struct VolumeReport {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: VolumeName,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// How its blocks are compressed.
    pub codec: Codec,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Its content is there, and it can be used.
    pub is_complete: bool,
    /// What it was cloned from, if it was.
    pub origin: Option<OriginReport>,
    /// How it is snapshot by itself, if it is.
    pub schedule: Option<Schedule>,
    /// Who may open it over the network.
    pub allow: AllowList,
    /// What it may take of each node that holds it, and what is kept for it there.
    pub limits: Limits,
    /// How many copies it is to have.
    pub replicas_wanted: u8,
    /// With fewer copies than this it waits.
    pub in_sync_min: u8,
    /// Grows whenever who holds it changes.
    pub epoch: u64,
    /// Who has it, by number of the node.
    pub replicas: Vec<ReplicaReport>,
    /// How it is.
    pub health: VolumeHealth,
    /// What is being done about it, if something is.
    pub doing: Option<String>,
    /// Clients of this node that have it open.
    pub connections: u64,
}
