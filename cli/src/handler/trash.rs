//! The trash.

use siltstone::cluster::Cluster;
use siltstone::control::{Failure, Kind, Purge as PurgeRequest, Response, TrashDescription};
use siltstone::name::VolumeName;
use siltstone::node::{NodeError, Purge, SnapshotLoss, TrashName, TrashedVolume};
use siltstone::span::Span;
use siltstone::store::id::VolumeId;

use super::cluster::cluster_failure;
use super::{NodeHandler, describe, failure, name};
use crate::output::rfc3339;

impl NodeHandler {
    pub(super) fn discard(&self, text: &str, snapshots: bool, keep_s: u64) -> Result<Response, Failure> {
        let name = name(text)?;
        if let Some(replicated) = self.replicated(&name)? {
            return replicated.discard(snapshots, keep(keep_s)?);
        }
        let loss = if snapshots { SnapshotLoss::Allowed } else { SnapshotLoss::Refused };
        let discarded = self.node.discard(&name, loss, keep(keep_s)?).map_err(failure)?;
        Ok(Response::Trash { volumes: vec![describe_one(&discarded)] })
    }

    /// What the trash of the node and that of the cluster hold, from the volume removed first.
    pub(super) fn list_trash(&self) -> Response {
        let mut volumes: Vec<_> = self.node.trash().iter().map(describe_one).collect();
        let cluster = self.cluster().map(|cluster| cluster.trash()).unwrap_or_default();
        volumes.extend(cluster.iter().map(describe::cluster::trashed));
        volumes.sort_by(|one, other| one.removed.cmp(&other.removed));
        Response::Trash { volumes }
    }

    pub(super) fn restore(&self, text: &str, id: Option<u64>, to: Option<&str>) -> Result<Response, Failure> {
        let to = to.map(name::<VolumeName>).transpose()?;
        let which = trash_name(text, id)?;
        match (self.node.restore(&which, to.as_ref()), self.cluster()) {
            (Err(NodeError::NotInTrash(_)), Ok(cluster)) => {
                self.check_not_of_node(to.as_ref().unwrap_or(&which.name))?;
                let restored = cluster.restore(&which, to.as_ref()).map_err(cluster_failure)?;
                Ok(describe::cluster::answer(&restored))
            }
            (restored, _) => Ok(describe::answer(&restored.map_err(failure)?)),
        }
    }

    pub(super) fn purge(&self, request: &PurgeRequest) -> Result<Response, Failure> {
        let which = match request {
            PurgeRequest { name: Some(name), id, expired: false, all: false } => Purge::One(trash_name(name, *id)?),
            PurgeRequest { name: None, id: None, expired: true, all: false } => Purge::Expired,
            PurgeRequest { name: None, id: None, expired: false, all: true } => Purge::All,
            _ => return Err(Failure::new(Kind::Invalid, "a purge is of one name, of what expired, or of all")),
        };
        let purged = match (self.node.purge(&which), self.cluster()) {
            (Err(NodeError::NotInTrash(_)), Ok(cluster)) => purged(&cluster, &which)?,
            (here, Ok(cluster)) if !matches!(which, Purge::One(_)) => {
                let here = here.map_err(failure)?;
                here.iter().map(describe_one).chain(purged(&cluster, &which)?).collect()
            }
            (here, _) => here.map_err(failure)?.iter().map(describe_one).collect(),
        };
        Ok(Response::Trash { volumes: purged })
    }
}

fn trash_name(text: &str, id: Option<u64>) -> Result<TrashName, Failure> {
    Ok(TrashName { name: name(text)?, id: id.map(VolumeId) })
}

fn keep(keep_s: u64) -> Result<Span, Failure> {
    Span::from_seconds(keep_s).map_err(|error| Failure::from_chain(Kind::Invalid, &error))
}

fn purged(cluster: &Cluster, which: &Purge) -> Result<Vec<TrashDescription>, Failure> {
    let purged = cluster.purge(which).map_err(cluster_failure)?;
    Ok(purged.iter().map(describe::cluster::trashed).collect())
}

fn describe_one(volume: &TrashedVolume) -> TrashDescription {
    TrashDescription {
        name: volume.trashed.name.to_string(),
        id: volume.info.id.0,
        size_bytes: volume.info.size_bytes,
        snapshots: volume.snapshots,
        removed: rfc3339(volume.trashed.removed_ms),
        expires: rfc3339(volume.trashed.expires_ms),
    }
}
