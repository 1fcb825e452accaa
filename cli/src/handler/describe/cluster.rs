//! A cluster, its nodes and its volumes as answers show them.

use siltstone::cluster::{
    ClusterReport, ClusterSnapshot, ClusterTrashed, NodeReport, NodeStanding, OriginReport, Progress, ReplicaReport,
    ReplicaRole, RotationReport, VolumeHealth, VolumeReport,
};
use siltstone::control::{
    ClusterDescription, ClusterSummary, EventDescription, NodeDescription, OriginDescription, ProgressDescription,
    ReplicaDescription, ReplicationDescription, Response, RotationDescription, SnapshotDescription, TrashDescription,
    VolumeDescription,
};
use siltstone::events::Event;

use crate::output::rfc3339;

pub(in crate::handler) fn answer(report: &VolumeReport) -> Response {
    Response::Volume(volume(report))
}

pub(in crate::handler) fn cluster(report: &ClusterReport) -> ClusterDescription {
    ClusterDescription {
        cluster: report.cluster.clone(),
        here: report.here,
        leader: report.leader,
        nodes: report.nodes.iter().map(node).collect(),
        volumes: report.volumes.iter().map(volume).collect(),
        rotation: report.rotation.as_ref().map(rotation),
    }
}

fn rotation(report: &RotationReport) -> RotationDescription {
    let stage = if report.is_trusted { "showing" } else { "trusting" };
    RotationDescription { stage: stage.to_owned(), awaited: report.awaited.clone() }
}

pub(in crate::handler) fn summary(report: &ClusterReport) -> ClusterSummary {
    let here = report.nodes.iter().find(|node| node.id == report.here);
    let with = |health| report.volumes.iter().filter(|volume| volume.health == health).count() as u64;
    ClusterSummary {
        cluster: report.cluster.clone(),
        here: report.here,
        here_name: here.map(|node| node.name.clone()).unwrap_or_default(),
        leader: report.leader,
        nodes: report.nodes.len() as u64,
        nodes_unreachable: report.nodes.iter().filter(|node| !node.is_reachable).count() as u64,
        volumes: report.volumes.len() as u64,
        volumes_degraded: with(VolumeHealth::Degraded),
        volumes_stalled: with(VolumeHealth::Stalled),
    }
}

fn node(report: &NodeReport) -> NodeDescription {
    NodeDescription {
        id: report.id,
        name: report.name.clone(),
        addresses: report.addresses.clone(),
        zone: report.zone.clone(),
        standing: match report.standing {
            NodeStanding::Joining => "joining",
            NodeStanding::Member => "member",
            NodeStanding::Draining => "draining",
        }
        .into(),
        reachable: report.is_reachable,
        trouble: report.trouble.clone(),
        voter: report.is_voter,
        replicas: report.replicas,
        primaries: report.primaries,
    }
}

pub(in crate::handler) fn volume(report: &VolumeReport) -> VolumeDescription {
    VolumeDescription {
        name: report.name.to_string(),
        id: report.id,
        size_bytes: report.size_bytes,
        codec: report.codec.to_string(),
        created: rfc3339(report.created_ms),
        connections: report.connections,
        state: if report.is_complete { "ready" } else { "importing" }.into(),
        snapshots: 0,
        origin: report.origin.as_ref().map(origin),
        schedule: report.schedule.as_ref().map(super::schedule),
        reserve_bytes: report.limits.reserve_bytes,
        quota_bytes: report.limits.quota_bytes,
        allow: report.allow.names().map(str::to_owned).collect(),
        replication: Some(Box::new(replication(report))),
    }
}

fn origin(report: &OriginReport) -> OriginDescription {
    let volume = report.volume.as_ref().map(ToString::to_string);
    OriginDescription { volume_id: report.id, volume, snapshot_id: None, snapshot: None }
}

fn replication(report: &VolumeReport) -> ReplicationDescription {
    ReplicationDescription {
        replicas_wanted: report.replicas_wanted,
        in_sync_min: report.in_sync_min,
        epoch: report.epoch,
        replicas: report.replicas.iter().map(replica).collect(),
        health: match report.health {
            VolumeHealth::Healthy => "healthy",
            VolumeHealth::Degraded => "degraded",
            VolumeHealth::Stalled => "stalled",
        }
        .into(),
        doing: report.doing.clone(),
    }
}

pub(in super::super) fn snapshot(snapshot: &ClusterSnapshot) -> SnapshotDescription {
    SnapshotDescription {
        name: snapshot.name.to_string(),
        volume: snapshot.name.volume.to_string(),
        id: 0,
        size_bytes: snapshot.size_bytes,
        created: rfc3339(snapshot.created_ms),
        connections: 0,
        frees_bytes: None,
    }
}

pub(in super::super) fn trashed(volume: &ClusterTrashed) -> TrashDescription {
    TrashDescription {
        name: volume.name.to_string(),
        id: volume.id,
        size_bytes: volume.size_bytes,
        snapshots: volume.snapshots,
        removed: rfc3339(volume.removed_ms),
        expires: rfc3339(volume.expires_ms),
    }
}

fn replica(report: &ReplicaReport) -> ReplicaDescription {
    ReplicaDescription {
        node: report.node,
        node_name: report.node_name.clone(),
        role: match report.role {
            ReplicaRole::Primary => "primary",
            ReplicaRole::Backup => "backup",
            ReplicaRole::CatchingUp => "catching_up",
        }
        .into(),
        reachable: report.is_reachable,
        progress: report.progress.as_ref().map(progress),
    }
}

fn progress(report: &Progress) -> ProgressDescription {
    let Progress { done_bytes, total_bytes, rate_bytes } = *report;
    ProgressDescription { done_bytes, total_bytes, rate_bytes, left_s: report.left_s() }
}

pub(in crate::handler) fn event(event: &Event, node: Option<&str>) -> EventDescription {
    EventDescription {
        at: rfc3339(event.at_ms),
        node: node.map(str::to_owned),
        kind: event.kind.clone(),
        subject: event.subject.clone(),
        text: event.text.clone(),
    }
}

#[cfg(test)]
mod tests;
