//! A cluster and its parts as reports show them.

use std::collections::BTreeMap;

use lsm_store::codec::Codec;
use lsm_store::store::VolumeInfo;
use net::config::raft::Consensus;
use net::config::state::{Configuration, Node as ClusterNode, NodeState, Origin, RotationStage, Volume, VolumeState};
use net::id::{NodeId, VolumeId};
use net::identity::Fingerprint;
use net::news::Copying;
use net::transport::Transport;

use super::Cluster;
use super::access::allow_of;
use super::core::Core;
use super::limits::limits_of;
use super::report::{
    ClusterReport, NodeReport, NodeStanding, OriginReport, Progress, ReplicaReport, ReplicaRole, RotationReport,
    VolumeHealth, VolumeReport,
};
use super::schedules::schedule_of;
use crate::name::{ExportName, SnapshotName, VolumeName};
use crate::node::is_hidden;

impl Core {
    /// What this node knows by itself.
    pub(super) fn report(&self) -> ClusterReport {
        self.report_with(&self.copies.list())
    }

    /// What this node knows, and the copies that others are making.
    pub(super) fn report_with(&self, copying: &[Copying]) -> ClusterReport {
        let configuration = self.configuration();
        let metrics = self.consensus().metrics();
        let present = configuration.nodes().filter(|node| node.is_present());
        let voters = &metrics.membership.voters;
        let nodes = present.map(|node| self.node_report(&configuration, node, voters.contains(&node.id)));
        let volumes = configuration.volumes().filter(|volume| volume.trashed.is_none());
        let mut volumes: Vec<_> =
            volumes.filter_map(|volume| self.volume_report(&configuration, volume, copying)).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        ClusterReport {
            cluster: configuration.cluster().map(|cluster| cluster.to_string()).unwrap_or_default(),
            here: self.me.0,
            leader: metrics.leader.map(|node| node.0),
            nodes: nodes.collect(),
            volumes,
            rotation: rotation_report(&configuration),
            authority: configuration.authority().map(|certificate| Fingerprint::of(certificate).0),
        }
    }

    fn is_reachable(&self, node: NodeId) -> bool {
        node == self.me || self.transport().link(node).is_some()
    }

    fn node_report(&self, configuration: &Configuration, node: &ClusterNode, is_voter: bool) -> NodeReport {
        let count =
            |is_so: &dyn Fn(&Volume) -> bool| configuration.volumes().filter(|volume| is_so(volume)).count() as u64;
        let holds =
            |volume: &Volume| volume.replicas.placement.contains(&node.id) || volume.replicas.is_member(node.id);
        let is_reachable = self.is_reachable(node.id);
        let trouble = if is_reachable { None } else { self.transport().last_failure(node.id) };
        NodeReport {
            id: node.id.0,
            name: node.about.name.as_str().to_owned(),
            addresses: node.about.addresses.iter().map(|address| address.as_str().to_owned()).collect(),
            zone: node.about.zone.as_str().to_owned(),
            standing: match node.state {
                NodeState::Joining => NodeStanding::Joining,
                NodeState::Draining => NodeStanding::Draining,
                NodeState::Member | NodeState::Removed => NodeStanding::Member,
            },
            is_reachable,
            trouble: trouble.map(|trouble| trouble.to_string()),
            is_voter,
            replicas: count(&holds),
            primaries: count(&|volume: &Volume| volume.replicas.primary == node.id),
        }
    }

    pub(super) fn volume_report(
        &self,
        configuration: &Configuration,
        volume: &Volume,
        copying: &[Copying],
    ) -> Option<VolumeReport> {
        let set = &volume.replicas;
        let mut roles: BTreeMap<NodeId, ReplicaRole> =
            set.placement.iter().map(|node| (*node, ReplicaRole::CatchingUp)).collect();
        roles.extend(set.members.iter().map(|member| (member.node, ReplicaRole::Backup)));
        roles.insert(set.primary, ReplicaRole::Primary);
        let name_of =
            |node: NodeId| configuration.node(node).map_or_else(String::new, |node| node.about.name.as_str().into());
        let replica = |(node, role): (NodeId, ReplicaRole)| ReplicaReport {
            node: node.0,
            node_name: name_of(node),
            role,
            is_reachable: self.is_reachable(node),
            progress: copying.iter().find(|it| it.volume == volume.id && it.to == node).map(progress),
        };
        Some(VolumeReport {
            id: volume.id.0,
            name: volume.name.as_str().parse().ok()?,
            size_bytes: volume.size_bytes,
            codec: volume.codec.as_str().parse().unwrap_or(Codec::Lz4),
            created_ms: volume.created_ms,
            is_complete: volume.state == VolumeState::Ready,
            origin: volume.origin.map(|origin| origin_report(configuration, origin)),
            schedule: schedule_of(volume),
            allow: allow_of(configuration, volume.id),
            limits: limits_of(configuration, volume.id),
            replicas_wanted: volume.copies.replicas,
            in_sync_min: volume.copies.in_sync_min,
            epoch: set.epoch.0,
            replicas: roles.into_iter().map(replica).collect(),
            health: self.health(volume),
            doing: doing(volume.id, copying, &name_of),
            connections: self.open.lock().connections(volume.id),
        })
    }

    fn health(&self, volume: &Volume) -> VolumeHealth {
        let set = &volume.replicas;
        let reached = set.members.iter().filter(|member| self.is_reachable(member.node)).count();
        if reached < volume.copies.in_sync_min.into() || !self.is_reachable(set.primary) {
            return VolumeHealth::Stalled;
        }
        let is_whole =
            reached >= volume.copies.replicas.into() && set.placement.iter().all(|node| set.is_member(*node));
        if is_whole { VolumeHealth::Healthy } else { VolumeHealth::Degraded }
    }
}

fn rotation_report(configuration: &Configuration) -> Option<RotationReport> {
    let rotation = configuration.rotation()?;
    let awaited = configuration.awaited().filter_map(|node| configuration.node(node));
    Some(RotationReport {
        is_trusted: rotation.stage == RotationStage::Showing,
        awaited: awaited.map(|node| node.about.name.as_str().to_owned()).collect(),
    })
}

fn progress(copying: &Copying) -> Progress {
    let Copying { done_bytes, total_bytes, rate_bytes, .. } = *copying;
    Progress { done_bytes, total_bytes, rate_bytes }
}

/// What is being done to mend a volume.
fn doing(volume: VolumeId, copying: &[Copying], name_of: &dyn Fn(NodeId) -> String) -> Option<String> {
    let say = |it: &Copying| {
        let percent = (u128::from(it.done_bytes) * 100).checked_div(u128::from(it.total_bytes)).unwrap_or(0);
        format!("bringing {} up to date: {percent} %", name_of(it.to))
    };
    let said: Vec<_> = copying.iter().filter(|it| it.volume == volume).map(say).collect();
    (!said.is_empty()).then(|| said.join(", "))
}

impl Cluster {
    /// What this node's store has of the cluster's volumes and their snapshots, by the names they have there.
    #[must_use]
    pub fn held(&self) -> Vec<(ExportName, VolumeInfo)> {
        let (core, configuration) = (&self.core, self.core.configuration());
        let usable = configuration.volumes().filter(|volume| volume.trashed.is_none());
        usable.flat_map(|volume| core.held_of(volume).unwrap_or_default()).collect()
    }
}

impl Core {
    /// A volume and its snapshots, as this node's store has them; `None` if it has none.
    fn held_of(&self, volume: &Volume) -> Option<Vec<(ExportName, VolumeInfo)>> {
        let name: VolumeName = volume.name.as_str().parse().ok()?;
        let info = self.node.replica_info(volume.id).ok()?;
        let snapshots = self.node.replica_snapshots(volume.id).ok()?.into_iter();
        let snapshots = snapshots.filter(|snapshot| !is_hidden(&snapshot.name.snapshot));
        let snapshots = snapshots.map(|snapshot| {
            let name = SnapshotName { volume: name.clone(), snapshot: snapshot.name.snapshot };
            (ExportName::Snapshot(name), snapshot.info)
        });
        Some(std::iter::once((ExportName::Volume(name.clone()), info)).chain(snapshots).collect())
    }
}

fn origin_report(configuration: &Configuration, origin: Origin) -> OriginReport {
    let volume = configuration.volume(origin.volume).filter(|volume| volume.trashed.is_none());
    OriginReport { id: origin.volume.0, volume: volume.and_then(|volume| volume.name.as_str().parse().ok()) }
}
