//! Volumes and snapshots as answers show them.

pub(super) mod cluster;

use siltstone::catalog::State;
use siltstone::control::{OriginDescription, Response, ScheduleDescription, SnapshotDescription, VolumeDescription};
use siltstone::node::{NamedOrigin, NamedSnapshot, NamedVolume};
use siltstone::schedule::{Schedule, rules_text};

use crate::output::rfc3339;

pub(super) fn volume(volume: &NamedVolume) -> VolumeDescription {
    VolumeDescription {
        name: volume.name.to_string(),
        id: volume.info.id.0,
        size_bytes: volume.info.size_bytes,
        codec: volume.info.codec.to_string(),
        created: rfc3339(volume.info.created_ms),
        connections: volume.connections,
        state: match volume.state {
            State::Ready => "ready",
            State::Importing => "importing",
            State::Replica => "replica",
        }
        .into(),
        snapshots: volume.snapshots,
        origin: volume.origin.as_ref().map(origin),
        schedule: volume.schedule.as_ref().map(schedule),
        reserve_bytes: volume.limits.reserve_bytes,
        quota_bytes: volume.limits.quota_bytes,
        allow: volume.allow.names().map(str::to_owned).collect(),
        replication: None,
    }
}

fn schedule(schedule: &Schedule) -> ScheduleDescription {
    ScheduleDescription { every: schedule.every().to_string(), keep: rules_text(schedule.keep()) }
}

fn origin(origin: &NamedOrigin) -> OriginDescription {
    OriginDescription {
        volume_id: origin.ids.volume.0,
        volume: origin.volume.as_ref().map(ToString::to_string),
        snapshot_id: origin.ids.snapshot.map(|id| id.0),
        snapshot: origin.snapshot.as_ref().map(ToString::to_string),
    }
}

pub(super) fn snapshot(snapshot: &NamedSnapshot) -> SnapshotDescription {
    SnapshotDescription {
        name: snapshot.name.to_string(),
        volume: snapshot.name.volume.to_string(),
        id: snapshot.info.id.0,
        size_bytes: snapshot.info.size_bytes,
        created: rfc3339(snapshot.info.created_ms),
        connections: snapshot.connections,
        frees_bytes: None,
    }
}

pub(super) fn answer(named: &NamedVolume) -> Response {
    Response::Volume(volume(named))
}
