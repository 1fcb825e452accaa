//! Volumes as answers show them.

use siltstone::catalog::State;
use siltstone::control::{Response, VolumeDescription};
use siltstone::node::NamedVolume;

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
        }
        .into(),
    }
}

pub(super) fn answer(named: &NamedVolume) -> Response {
    Response::Volume(volume(named))
}
