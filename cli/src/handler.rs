//! Executes control requests on a node: in the daemon, and in a command that has opened a stopped store itself.

mod changes;
mod collect;
mod describe;
pub(crate) mod endpoint;
mod export;
mod fingerprints;
mod import;
mod objects;
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
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use siltstone::control::{
    Counters, CreateVolume, Failure, Handler, Kind, Peer, Request, Response, Uris, VolumeCounters,
};
use siltstone::gc::CensusCache;
use siltstone::name::{ExportName, InvalidName, VolumeName};
use siltstone::node::{NamedVolume, Node, NodeError, Shrink, SnapshotLoss};
use siltstone::store::clock::Clock;
use siltstone::store::codec::Codec;
use siltstone::store::store::VolumeSpec;

use crate::data_dir::DataDir;
use crate::exit::kind_of;
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
}

/// A node and what its answers need beside it.
pub(crate) struct NodeHandler {
    node: Arc<Node>,
    data: PathBuf,
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
            data: dir.path().into(),
            codec: Codec::default(),
            endpoints,
            serving: None,
            census: CensusCache::default(),
        }
    }

    /// For a daemon; `codec` is what volumes get whose maker does not care.
    pub(crate) fn running(
        node: Arc<Node>,
        dir: &DataDir,
        codec: Codec,
        endpoints: Vec<Endpoint>,
        serving: Serving,
    ) -> Self {
        Self { node, data: dir.path().into(), codec, endpoints, serving: Some(serving), census: CensusCache::default() }
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
        let name = name(&request.name)?;
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
        let (has, wanted) = (size::human(volume.info.size_bytes), size::human(size_bytes));
        let message = format!("volume {name} exists with {has}, not {wanted}: `silt resize` changes it");
        Err(Failure::new(Kind::Exists, message))
    }

    fn counters(&self) -> Result<Response, Failure> {
        let Some(serving) = &self.serving else {
            let message = format!("no daemon serves {}: there is no I/O to count", self.data.display());
            return Err(Failure::new(Kind::Unavailable, message));
        };
        let uptime_us = u64::try_from(serving.clock.monotonic().as_micros()).unwrap_or(u64::MAX);
        let counted = (serving.counters)().into_iter();
        let mut counted: HashMap<_, _> = counted.map(|counters| (counters.name.clone(), counters)).collect();
        let volume = |volume: NamedVolume| {
            let counters = counted.remove(volume.name.as_str()).unwrap_or_default();
            VolumeCounters { name: volume.name.to_string(), connections: volume.connections, ..counters }
        };
        let mut volumes: Vec<_> = self.node.volumes().into_iter().map(volume).collect();
        let snapshots = self.node.all_snapshots().into_iter();
        volumes.extend(snapshots.filter_map(|snapshot| counted.remove(&snapshot.name.to_string())));
        Ok(Response::Counters(Counters { uptime_us, volumes }))
    }

    fn info(&self, text: &str) -> Result<Response, Failure> {
        match name(text)? {
            ExportName::Volume(name) => Ok(describe::answer(&self.node.volume(&name).map_err(failure)?)),
            ExportName::Snapshot(name) => {
                let snapshot = self.node.find_snapshot(&name).map_err(failure)?;
                Ok(Response::Snapshot(describe::snapshot(&snapshot)))
            }
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
        let name = name(text)?;
        self.check_exists(&name)?;
        let uris = self.endpoints.iter().map(|endpoint| endpoint.uri(&name)).collect();
        Ok(Response::Uris(Uris { name: name.to_string(), running: self.serving.is_some(), uris }))
    }
}

impl Handler for NodeHandler {
    fn handle(&self, request: &Request, peer: &mut dyn Peer) -> Result<Response, Failure> {
        tracing::debug!(?request, "control request");
        match request {
            Request::Status => Ok(self.status()),
            Request::List => {
                let volumes = self.node.volumes().iter().map(describe::volume).collect();
                Ok(Response::Volumes { volumes })
            }
            Request::Info { name } => self.info(name),
            Request::Create(create) => self.create(create),
            Request::Resize(resize) => {
                let shrink = if resize.allow_shrink { Shrink::Allowed } else { Shrink::Refused };
                let volume = self.node.resize(&name(&resize.name)?, resize.size_bytes, shrink).map_err(failure)?;
                Ok(describe::answer(&volume))
            }
            Request::Remove { name: text, snapshots } => {
                let loss = if *snapshots { SnapshotLoss::Allowed } else { SnapshotLoss::Refused };
                self.node.remove(&name(text)?, loss).map_err(failure)?;
                Ok(Response::Done)
            }
            Request::Discard { name, snapshots, keep_s } => self.discard(name, *snapshots, *keep_s),
            Request::ListTrash => Ok(trash::answer(&self.node.trash())),
            Request::Restore { name, id, to } => self.restore(name, *id, to.as_deref()),
            Request::Purge(purge) => self.purge(purge),
            Request::Snapshot { names } => self.snapshot(names),
            Request::ListSnapshots { volume } => self.list_snapshots(volume.as_deref()),
            Request::RemoveSnapshot { name: text } => {
                self.node.remove_snapshot(&name(text)?).map_err(failure)?;
                Ok(Response::Done)
            }
            Request::RenameSnapshot { name, to } => self.rename_snapshot(name, to),
            Request::RollBack { name: text } => {
                Ok(describe::answer(&self.node.roll_back(&name(text)?).map_err(failure)?))
            }
            Request::Rewind(rewind) => self.rewind(rewind),
            Request::Set(wishes) => self.set(wishes),
            Request::Clone { of, name } => self.clone_volume(of, name),
            Request::Children { name } => self.children(name),
            Request::Usage { names } => self.usage(names, peer),
            Request::Changes { from, to, offset } => self.changes(from, to, *offset),
            Request::Fingerprints { name, offset, length } => self.fingerprints(name, *offset, *length, peer),
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
            Request::PutObject(put) => self.put_object(put, peer),
            Request::FindUpload(put) => self.find_upload(put, peer),
            Request::GetObject { name, offset, length } => self.get_object(name, *offset, *length, peer),
            Request::ObjectInfo { name } => self.object_info(name),
            Request::ListObjects { prefix, after } => self.list_objects(prefix, after.as_deref()),
            Request::ListUploads => Ok(self.list_uploads()),
            Request::RemoveObject { name, upload } => self.remove_object(name, *upload),
            _ => Err(Failure::new(Kind::Unsupported, "this node is too old to know the request")),
        }
    }
}

fn name<N: FromStr<Err = InvalidName>>(text: &str) -> Result<N, Failure> {
    text.parse().map_err(|error| failure(NodeError::from(error)))
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
