//! Executes control requests on a node: in the daemon, and in a command that has opened a stopped store itself.

mod changes;
mod cluster;
mod collect;
mod describe;
pub(crate) mod endpoint;
mod export;
mod fingerprints;
mod import;
mod objects;
mod pages;
mod replicated;
mod schedule;
mod scrub;
mod settings;
mod snapshot;
pub(crate) mod space;
mod status;
mod transfer;
mod trash;
mod usage;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use siltstone::control::{
    Counters, CreateVolume, Failure, Handler, Kind, Peer, Request, ResizeVolume, Response, Uris, VolumeCounters,
    VolumeDescription,
};
use siltstone::gc::CensusCache;
use siltstone::name::{ExportName, InvalidName, VolumeName};
use siltstone::node::{Node, NodeError, Shrink, SnapshotLoss};
use siltstone::store::clock::Clock;
use siltstone::store::codec::Codec;
use siltstone::store::store::VolumeSpec;

use crate::data_dir::DataDir;
use crate::exit::kind_of;
use crate::membership::Membership;
use crate::size;
use endpoint::Endpoint;
use space::WarnAt;

/// What only a running daemon can tell.
pub(crate) struct Serving {
    /// When it started, in milliseconds since the Unix epoch.
    pub(crate) started_ms: u64,
    /// The clock of its uptime.
    pub(crate) clock: Arc<dyn Clock>,
    /// What its clients did, by volume or snapshot.
    pub(crate) counters: Box<dyn Fn() -> Vec<VolumeCounters> + Send + Sync>,
    /// How full it has to be for a warning.
    pub(crate) warn_at: WarnAt,
    /// Its part in a cluster.
    pub(crate) membership: Arc<Membership>,
}

/// A node and what its answers need beside it.
pub(crate) struct NodeHandler {
    node: Arc<Node>,
    dir: DataDir,
    codec: Codec,
    endpoints: Vec<Endpoint>,
    serving: Option<Serving>,
    census: CensusCache,
}

impl NodeHandler {
    /// For a command that opened the store itself.
    pub(crate) fn stopped(node: Arc<Node>, dir: &DataDir) -> Self {
        let endpoints = vec![Endpoint::Unix(dir.nbd_socket())];
        Self {
            node,
            dir: dir.clone(),
            codec: Codec::default(),
            endpoints,
            serving: None,
            census: CensusCache::default(),
        }
    }

    /// For a daemon that nobody can reach yet; `codec` is what volumes get whose maker does not care.
    pub(crate) fn running(node: Arc<Node>, dir: &DataDir, codec: Codec, serving: Serving) -> Self {
        let census = CensusCache::default();
        Self { node, dir: dir.clone(), codec, endpoints: Vec::new(), serving: Some(serving), census }
    }

    /// Where clients reach it, once that is known.
    pub(crate) fn reached_at(&mut self, endpoints: Vec<Endpoint>) {
        self.endpoints = endpoints;
    }

    /// The node it works on.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    fn codec(&self, wish: Option<&str>) -> Result<Codec, Failure> {
        wish.map_or(Ok(self.codec), |wish| {
            wish.parse().map_err(|error: siltstone::store::Error| Failure::from_chain(Kind::Invalid, &error))
        })
    }

    fn create(&self, request: &CreateVolume) -> Result<Response, Failure> {
        if let Some(replicas) = request.replicas {
            return self.create_replicated(request, replicas);
        }
        let name = name(&request.name)?;
        if request.reuse
            && let Some(there) = self.reuse_replicated(&name, request.size_bytes)?
        {
            return Ok(there);
        }
        let spec = VolumeSpec { size_bytes: request.size_bytes, codec: self.codec(request.codec.as_deref())? };
        match self.node.create_limited(&name, spec, settings::limits_of(request)) {
            Err(NodeError::NameTaken(_)) if request.reuse => self.reuse(&name, request.size_bytes),
            other => Ok(describe::answer(&other.map_err(failure)?)),
        }
    }

    fn reuse(&self, name: &VolumeName, size_bytes: u64) -> Result<Response, Failure> {
        let volume = self.node.volume(name).map_err(failure)?;
        if volume.info.size_bytes == size_bytes {
            return Ok(describe::answer(&volume));
        }
        Err(other_size(name, volume.info.size_bytes, size_bytes))
    }

    fn resize(&self, request: &ResizeVolume) -> Result<Response, Failure> {
        let name = name(&request.name)?;
        if let Some(replicated) = self.replicated(&name)? {
            return replicated.resize(request);
        }
        let shrink = if request.allow_shrink { Shrink::Allowed } else { Shrink::Refused };
        Ok(describe::answer(&self.node.resize(&name, request.size_bytes, shrink).map_err(failure)?))
    }

    fn remove(&self, text: &str, snapshots: bool) -> Result<Response, Failure> {
        let name = name(text)?;
        if let Some(replicated) = self.replicated(&name)? {
            return replicated.remove(snapshots);
        }
        let loss = if snapshots { SnapshotLoss::Allowed } else { SnapshotLoss::Refused };
        self.node.remove(&name, loss).map_err(failure)?;
        Ok(Response::Done)
    }

    fn counters(&self) -> Result<Response, Failure> {
        let Some(serving) = &self.serving else {
            let message = format!("no daemon serves {}: there is no I/O to count", self.dir.path().display());
            return Err(Failure::new(Kind::Unavailable, message));
        };
        let uptime_us = u64::try_from(serving.clock.monotonic().as_micros()).unwrap_or(u64::MAX);
        let counted = (serving.counters)().into_iter();
        let mut counted: HashMap<_, _> = counted.map(|counters| (counters.name.clone(), counters)).collect();
        let volume = |volume: VolumeDescription| {
            let counters = counted.remove(&volume.name).unwrap_or_default();
            VolumeCounters { name: volume.name, connections: volume.connections, ..counters }
        };
        let mut volumes: Vec<_> = self.list().into_iter().map(volume).collect();
        let snapshots = self.node.all_snapshots().into_iter();
        volumes.extend(snapshots.filter_map(|snapshot| counted.remove(&snapshot.name.to_string())));
        Ok(Response::Counters(Counters { uptime_us, volumes }))
    }

    fn info(&self, text: &str) -> Result<Response, Failure> {
        match name(text)? {
            ExportName::Volume(name) => match self.replicated(&name)? {
                Some(replicated) => Ok(replicated.describe()),
                None => Ok(describe::answer(&self.node.volume(&name).map_err(failure)?)),
            },
            ExportName::Snapshot(name) => match self.replicated(&name.volume)? {
                Some(replicated) => Ok(Response::Snapshot(replicated.find_snapshot(&name)?)),
                None => {
                    let snapshot = self.node.find_snapshot(&name).map_err(failure)?;
                    Ok(Response::Snapshot(describe::snapshot(&snapshot)))
                }
            },
        }
    }

    fn check_exists(&self, name: &ExportName) -> Result<(), Failure> {
        match name {
            ExportName::Volume(name) => self.node.volume(name).map(drop),
            ExportName::Snapshot(name) => self.node.find_snapshot(name).map(drop),
        }
        .map_err(failure)
    }

    fn uris(&self, text: &str) -> Result<Response, Failure> {
        let name: ExportName = name(text)?;
        match (&name, self.replicated(name.volume())?) {
            (ExportName::Volume(_), Some(_)) => {}
            (ExportName::Snapshot(snapshot), Some(replicated)) => _ = replicated.find_snapshot(snapshot)?,
            (name, None) => self.check_exists(name)?,
        }
        let uris = self.endpoints.iter().map(|endpoint| endpoint.uri(&name)).collect();
        Ok(Response::Uris(Uris { name: name.to_string(), running: self.serving.is_some(), uris }))
    }
}

impl Handler for NodeHandler {
    fn handle(&self, request: &Request, peer: &mut dyn Peer) -> Result<Response, Failure> {
        tracing::debug!(?request, "control request");
        if let (Ok(cluster), false) = (self.cluster(), matches!(request, Request::Counters)) {
            cluster.refresh();
        }
        self.check_replicated(request)?;
        match request {
            Request::Status => Ok(self.status()),
            Request::List => Ok(Response::Volumes { volumes: self.list() }),
            Request::Info { name } => self.info(name),
            Request::Create(create) => self.create(create),
            Request::Resize(resize) => self.resize(resize),
            Request::Remove { name, snapshots } => self.remove(name, *snapshots),
            Request::Discard { name, snapshots, keep_s } => self.discard(name, *snapshots, *keep_s),
            Request::ListTrash => Ok(self.list_trash()),
            Request::Restore { name, id, to } => self.restore(name, *id, to.as_deref()),
            Request::Purge(purge) => self.purge(purge),
            Request::Snapshot { names } => self.snapshot(names),
            Request::ListSnapshots { volume, after } => self.list_snapshots(volume.as_deref(), after.as_deref()),
            Request::RemoveSnapshot { name } => self.remove_snapshot(name),
            Request::RenameSnapshot { name, to } => self.rename_snapshot(name, to),
            Request::RollBack { name } => self.roll_back(name),
            Request::Rewind(rewind) => self.rewind(rewind),
            Request::Set(wishes) => self.set(wishes),
            Request::Clone { of, name } => self.clone_volume(of, name),
            Request::Children { name } => self.children(name),
            Request::Usage { names, after } => self.usage(names, after.as_deref(), peer),
            Request::Changes { from, to, offset } => self.changes(from, to, *offset),
            Request::Fingerprints { name, offset, length } => self.fingerprints(name, *offset, *length, peer),
            Request::FingerprintsOf { name, ranges } => self.fingerprints_of(name, ranges, peer),
            Request::Uris { name } => self.uris(name),
            Request::Counters => self.counters(),
            Request::SetCapacity { capacity_bytes } => {
                self.node.store().set_capacity(*capacity_bytes).map_err(|error| failure(error.into()))?;
                Ok(Response::Done)
            }
            Request::Collect(collect) => self.collect(collect),
            Request::Scrub(scrub) => self.scrub(scrub),
            Request::ScrubVolume { name, snapshots } => self.scrub_volume(name, *snapshots, peer),
            Request::PackCold(pack) => self.pack_cold(pack),
            Request::Import(import) => self.import(import, peer),
            Request::Export { name } => self.export(name, peer),
            Request::Root { name } => self.root(name, peer),
            Request::Send { name, from } => self.send(name, from.as_deref(), peer),
            Request::Receive(receive) => self.receive(receive, peer),
            Request::Offer { name, from } => self.offer(name, from.as_deref(), peer),
            Request::Accept(receive) => self.accept(receive, peer),
            Request::RemoveReception { name } => self.remove_reception(name),
            Request::PutObject(put) => self.put_object(put, peer),
            Request::FindUpload(put) => self.find_upload(put, peer),
            Request::GetObject { name, offset, length } => self.get_object(name, *offset, *length, peer),
            Request::ObjectInfo { name } => self.object_info(name),
            Request::ListObjects { prefix, after } => self.list_objects(prefix, after.as_deref()),
            Request::ListUploads => Ok(self.list_uploads()),
            Request::RemoveObject { name, upload } => self.remove_object(name, *upload),
            Request::ClusterInit { name, zone } => self.found_cluster(name.as_deref(), zone.as_deref()),
            Request::ClusterToken { validity_s } => self.cluster_token(*validity_s),
            Request::ClusterStatus => self.cluster_status(),
            Request::ClusterRotateAuthority { cancel } => self.rotate_authority(*cancel),
            Request::ClusterSet { catch_up_rate_bytes } => self.set_cluster(*catch_up_rate_bytes),
            Request::Events { since_s } => self.events(*since_s),
            Request::Node { name, action } => self.change_node(name, *action),
            Request::MoveReplica(wish) => self.move_replica(wish),
            _ => Err(Failure::new(Kind::Unsupported, "this node is too old to know the request")),
        }
    }
}

fn name<N: FromStr<Err = InvalidName>>(text: &str) -> Result<N, Failure> {
    text.parse().map_err(|error| failure(NodeError::from(error)))
}

/// A volume that is to be there has another size.
fn other_size(name: &VolumeName, has_bytes: u64, wanted_bytes: u64) -> Failure {
    let (has, wanted) = (size::human(has_bytes), size::human(wanted_bytes));
    let message = format!("volume {name} exists with {has}, not {wanted}: `silt resize` changes it");
    Failure::new(Kind::Exists, message)
}

/// A node's error as it travels, with what the user can do.
fn failure(error: NodeError) -> Failure {
    let mut failure = Failure::from_chain(kind_of(error.kind()), &error);
    failure.message.push_str(match error {
        NodeError::WouldShrink { .. } => " (--allow-shrink permits it)",
        NodeError::InUse { .. } => ": disconnect or detach its clients first",
        NodeError::SeveralInTrash { .. } => " (--id says which)",
        NodeError::HasSnapshots { .. } => ": remove them first, or use --snapshots",
        NodeError::ObjectExists(_) => " (--replace puts this one in its place)",
        _ => "",
    });
    failure
}

#[cfg(test)]
mod tests;
