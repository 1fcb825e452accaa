//! Volumes that several nodes hold. A name that the node has given to a volume of its own means that one.

use std::sync::Arc;

use siltstone::cluster::{Cluster, ClusterError, NewVolume, VolumeReport};
use siltstone::control::{
    CreateVolume, Failure, Kind, Request, ResizeVolume, Response, Rewound, SetVolume, SnapshotDescription,
    VolumeDescription,
};
use siltstone::name::{ExportName, SnapshotName, VolumeName};
use siltstone::node::NodeError;
use siltstone::span::Span;

use super::cluster::cluster_failure;
use super::schedule::schedule;
use super::settings::{allow_list, limits, limits_of};
use super::{NodeHandler, describe, failure, name};

/// A replicated volume, and the cluster that has it.
pub(super) struct Replicated {
    pub(super) cluster: Arc<Cluster>,
    pub(super) report: VolumeReport,
}

impl Replicated {
    /// The volume, with the copies that other nodes make of it.
    pub(super) fn describe(&self) -> Response {
        let whole = self.cluster.report();
        let report = whole.volumes.iter().find(|volume| volume.id == self.report.id);
        describe::cluster::answer(report.unwrap_or(&self.report))
    }
}

impl NodeHandler {
    /// The replicated volume of this name, if there is one and the node has none of its own.
    pub(super) fn replicated(&self, name: &VolumeName) -> Result<Option<Replicated>, Failure> {
        if self.node.volume(name).is_ok() {
            return Ok(None);
        }
        if self.serving.is_none() && self.dir.is_in_cluster() {
            let message = format!(
                "no volume of this node alone is named {name}, and replicated ones are there only while a daemon serves {}: \
                 start it with `silt serve`",
                self.dir.path().display()
            );
            return Err(Failure::new(Kind::Unavailable, message));
        }
        let Ok(cluster) = self.cluster() else { return Ok(None) };
        match cluster.volume(name) {
            Ok(report) => Ok(Some(Replicated { cluster, report })),
            Err(ClusterError::NoSuchVolume(_)) => Ok(None),
            Err(error) => Err(cluster_failure(error)),
        }
    }

    /// The volumes of the node and those of the cluster, by name.
    pub(super) fn list(&self) -> Vec<VolumeDescription> {
        let mut volumes: Vec<_> = self.node.volumes().iter().map(describe::volume).collect();
        let report = self.cluster_report().unwrap_or_default();
        volumes.extend(report.volumes.iter().map(describe::cluster::volume));
        volumes.sort_by(|one, other| one.name.cmp(&other.name));
        volumes
    }

    pub(super) fn create_replicated(&self, request: &CreateVolume, replicas: u8) -> Result<Response, Failure> {
        let cluster = self.cluster()?;
        let name: VolumeName = name(&request.name)?;
        self.check_not_of_node(&name)?;
        let codec = self.codec(request.codec.as_deref())?;
        let wanted = NewVolume { name, size_bytes: request.size_bytes, codec, replicas };
        match cluster.create_limited(&wanted, limits_of(request)) {
            Err(ClusterError::NameTaken(name)) if request.reuse => reuse(&cluster, &name, request.size_bytes),
            other => Ok(describe::cluster::answer(&other.map_err(cluster_failure)?)),
        }
    }

    /// That no volume of the node alone has the name.
    pub(super) fn check_not_of_node(&self, name: &VolumeName) -> Result<(), Failure> {
        match self.node.volume(name) {
            Ok(_) => Err(failure(NodeError::NameTaken(name.clone()))),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn set_replicated(&self, of: &Replicated, settings: &SetVolume) -> Result<Response, Failure> {
        let SetVolume { name: _, snap_every, keep, reserve_bytes, quota_bytes, allow, replicas } = settings;
        let (cluster, name) = (&of.cluster, &of.report.name);
        let mut volume = of.report.clone();
        let asks_limits = reserve_bytes.is_some() || quota_bytes.is_some();
        let asks_else = asks_limits || replicas.is_some() || allow.is_some();
        let asks_schedule = snap_every.is_some() || keep.is_some() || !asks_else;
        // What makes no sense is refused before anything is changed.
        let allow = allow.as_deref().map(allow_list).transpose()?;
        let schedule = asks_schedule.then(|| schedule(settings, volume.schedule.as_ref())).transpose()?;
        if asks_limits {
            let limits = limits(*reserve_bytes, *quota_bytes, volume.limits);
            volume = cluster.set_limits(name, limits).map_err(cluster_failure)?;
        }
        if let Some(allow) = allow {
            volume = cluster.set_allow(name, &allow).map_err(cluster_failure)?;
        }
        if let Some(schedule) = schedule {
            volume = cluster.set_schedule(name, schedule.as_ref()).map_err(cluster_failure)?;
        }
        if let Some(replicas) = replicas {
            volume = cluster.set_replicas(name, *replicas).map_err(cluster_failure)?;
        }
        Ok(describe::cluster::answer(&volume))
    }

    /// Refuses what is not possible for a replicated volume, and a second meaning of its name.
    pub(super) fn check_replicated(&self, request: &Request) -> Result<(), Failure> {
        for name in local_only(request) {
            if self.replicated(&name)?.is_some() {
                let message = format!(
                    "volume {name} is replicated: this is not possible for replicated volumes yet; {}",
                    instead(request)
                );
                return Err(Failure::new(Kind::Unsupported, message));
            }
        }
        let Some(name) = made(request) else { return Ok(()) };
        match self.replicated(&name)? {
            Some(_) if !reuses(request) => Err(cluster_failure(ClusterError::NameTaken(name))),
            _ => Ok(()),
        }
    }

    /// The replicated volume of this name, if there is one and it has this size.
    pub(super) fn reuse_replicated(&self, name: &VolumeName, size_bytes: u64) -> Result<Option<Response>, Failure> {
        self.replicated(name)?.map(|of| reuse(&of.cluster, name, size_bytes)).transpose()
    }
}

impl Replicated {
    /// The snapshots of the volume, from the oldest.
    pub(super) fn snapshots(&self) -> Result<Vec<SnapshotDescription>, Failure> {
        let found = self.cluster.snapshots(&self.report.name).map_err(cluster_failure)?;
        Ok(found.iter().map(describe::cluster::snapshot).collect())
    }

    /// Freezes volumes of the cluster, several all at the same moment.
    pub(super) fn freeze(&self, names: &[SnapshotName]) -> Result<Vec<SnapshotDescription>, Failure> {
        let made = match names {
            [only] => self.cluster.snapshot(only).map(|made| vec![made]),
            several => self.cluster.snapshot_together(several),
        };
        Ok(made.map_err(cluster_failure)?.iter().map(describe::cluster::snapshot).collect())
    }

    pub(super) fn find_snapshot(&self, name: &SnapshotName) -> Result<SnapshotDescription, Failure> {
        let found = self.cluster.snapshots(&name.volume).map_err(cluster_failure)?;
        let found = found.iter().find(|snapshot| snapshot.name == *name);
        found.map(describe::cluster::snapshot).ok_or_else(|| failure(NodeError::NoSuchSnapshot(name.clone())))
    }

    pub(super) fn remove_snapshot(&self, name: &SnapshotName) -> Result<Response, Failure> {
        self.cluster.remove_snapshot(name).map_err(cluster_failure)?;
        Ok(Response::Done)
    }

    pub(super) fn rename_snapshot(&self, name: &SnapshotName, to: &VolumeName) -> Result<Response, Failure> {
        let renamed = self.cluster.rename_snapshot(name, to).map_err(cluster_failure)?;
        Ok(Response::Snapshot(describe::cluster::snapshot(&renamed)))
    }

    pub(super) fn roll_back(&self, to: &SnapshotName) -> Result<Response, Failure> {
        Ok(describe::cluster::answer(&self.cluster.roll_back(to).map_err(cluster_failure)?))
    }

    pub(super) fn clone_volume(&self, of: &ExportName, name: &VolumeName) -> Result<Response, Failure> {
        Ok(describe::cluster::answer(&self.cluster.clone_volume(of, name).map_err(cluster_failure)?))
    }

    /// The clones of the volume; which of them are of one snapshot, the cluster does not know.
    pub(super) fn children(&self, of: &ExportName) -> Result<Response, Failure> {
        if let ExportName::Snapshot(_) = of {
            let message = format!("volume {0} is replicated: `silt children {0}` lists all of its clones", of.volume());
            return Err(Failure::new(Kind::Unsupported, message));
        }
        let children = self.cluster.children(of.volume()).map_err(cluster_failure)?;
        Ok(Response::Volumes { volumes: children.iter().map(describe::cluster::volume).collect() })
    }

    pub(super) fn rewind(&self, time_ms: u64, to: Option<&VolumeName>) -> Result<Response, Failure> {
        let rewound = match to {
            Some(new) => self.cluster.clone_from_time(&self.report.name, time_ms, new),
            None => self.cluster.rewind(&self.report.name, time_ms),
        };
        let rewound = rewound.map_err(cluster_failure)?;
        Ok(Response::Rewound(Box::new(Rewound {
            volume: describe::cluster::volume(&rewound.volume),
            to: rewound.to.to_string(),
            before: rewound.before.map(|snapshot| snapshot.name.to_string()),
        })))
    }

    pub(super) fn resize(&self, request: &ResizeVolume) -> Result<Response, Failure> {
        let resized = self.cluster.resize(&self.report.name, request.size_bytes, request.allow_shrink);
        Ok(describe::cluster::answer(&resized.map_err(cluster_failure)?))
    }

    pub(super) fn remove(&self, with_snapshots: bool) -> Result<Response, Failure> {
        self.cluster.remove(&self.report.name, with_snapshots).map_err(cluster_failure)?;
        Ok(Response::Done)
    }

    pub(super) fn discard(&self, with_snapshots: bool, keep: Span) -> Result<Response, Failure> {
        let discarded = self.cluster.discard(&self.report.name, with_snapshots, keep).map_err(cluster_failure)?;
        Ok(Response::Trash { volumes: vec![describe::cluster::trashed(&discarded)] })
    }
}

fn reuse(cluster: &Cluster, name: &VolumeName, size_bytes: u64) -> Result<Response, Failure> {
    let volume = cluster.volume(name).map_err(cluster_failure)?;
    if volume.size_bytes == size_bytes {
        return Ok(describe::cluster::answer(&volume));
    }
    Err(super::other_size(name, volume.size_bytes, size_bytes))
}

/// Volumes that the request needs and that only the node itself can have. What is no name is for others to refuse.
fn local_only(request: &Request) -> Vec<VolumeName> {
    let texts: Vec<&str> = match request {
        Request::ScrubVolume { name, .. } => vec![name],
        // Of a snapshot they are possible.
        Request::Fingerprints { name, .. } | Request::FingerprintsOf { name, .. } | Request::Root { name }
            if !name.contains('@') =>
        {
            vec![name]
        }
        Request::Accept(receive) if receive.replicas.is_none() => vec![&receive.name],
        _ => Vec::new(),
    };
    let volume = |text: &str| text.parse().ok().map(|name: ExportName| name.volume().clone());
    texts.into_iter().filter_map(volume).collect()
}

/// What does for a replicated volume what comes next to the request.
fn instead(request: &Request) -> &'static str {
    match request {
        Request::ScrubVolume { .. } => "`silt scrub` verifies all that a node holds",
        Request::Fingerprints { .. } | Request::FingerprintsOf { .. } | Request::Root { .. } => {
            "make a snapshot of it, of which it is"
        }
        _ => "`silt recv` without --serve takes what `silt send` writes",
    }
}

/// The volume of the node alone that the request makes.
fn made(request: &Request) -> Option<VolumeName> {
    let text = match request {
        Request::Create(create) if create.replicas.is_none() => Some(&create.name),
        Request::Import(import) if import.replicas.is_none() => Some(&import.name),
        Request::Restore { name, to, .. } => Some(to.as_ref().unwrap_or(name)),
        Request::Clone { name, .. } => Some(name),
        Request::Rewind(rewind) => rewind.to.as_ref(),
        _ => None,
    };
    text.and_then(|text| text.parse().ok())
}

fn reuses(request: &Request) -> bool {
    matches!(request, Request::Create(create) if create.reuse)
}

#[cfg(test)]
mod tests;
