//! The trash.

use siltstone::control::{Failure, Kind, Purge as PurgeRequest, Response, TrashDescription};
use siltstone::name::VolumeName;
use siltstone::node::{Purge, SnapshotLoss, TrashName, TrashedVolume};
use siltstone::span::Span;
use siltstone::store::id::VolumeId;

use super::{NodeHandler, describe, failure, name};
use crate::output::rfc3339;

impl NodeHandler {
    pub(super) fn discard(&self, text: &str, snapshots: bool, keep_s: u64) -> Result<Response, Failure> {
        let name = name(text)?;
        if let Some(replicated) = self.replicated(&name)? {
            return Err(replicated.refuse_trash());
        }
        let loss = if snapshots { SnapshotLoss::Allowed } else { SnapshotLoss::Refused };
        let keep = Span::from_seconds(keep_s).map_err(|error| Failure::from_chain(Kind::Invalid, &error))?;
        Ok(answer(&[self.node.discard(&name, loss, keep).map_err(failure)?]))
    }

    pub(super) fn restore(&self, text: &str, id: Option<u64>, to: Option<&str>) -> Result<Response, Failure> {
        let to = to.map(name::<VolumeName>).transpose()?;
        Ok(describe::answer(&self.node.restore(&trash_name(text, id)?, to.as_ref()).map_err(failure)?))
    }

    pub(super) fn purge(&self, request: &PurgeRequest) -> Result<Response, Failure> {
        let which = match request {
            PurgeRequest { name: Some(name), id, expired: false, all: false } => Purge::One(trash_name(name, *id)?),
            PurgeRequest { name: None, id: None, expired: true, all: false } => Purge::Expired,
            PurgeRequest { name: None, id: None, expired: false, all: true } => Purge::All,
            _ => return Err(Failure::new(Kind::Invalid, "a purge is of one name, of what expired, or of all")),
        };
        Ok(answer(&self.node.purge(&which).map_err(failure)?))
    }
}

fn trash_name(text: &str, id: Option<u64>) -> Result<TrashName, Failure> {
    Ok(TrashName { name: name(text)?, id: id.map(VolumeId) })
}

pub(super) fn answer(volumes: &[TrashedVolume]) -> Response {
    let describe = |volume: &TrashedVolume| TrashDescription {
        name: volume.trashed.name.to_string(),
        id: volume.info.id.0,
        size_bytes: volume.info.size_bytes,
        snapshots: volume.snapshots,
        removed: rfc3339(volume.trashed.removed_ms),
        expires: rfc3339(volume.trashed.expires_ms),
    };
    Response::Trash { volumes: volumes.iter().map(describe).collect() }
}
