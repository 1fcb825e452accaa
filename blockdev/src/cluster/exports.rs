//! The exports of a node: its own volumes, and those of the cluster it is in.

use std::str::FromStr;
use std::sync::Arc;

use lsm_store::{Error, Result};
use net::config::state::{Volume, VolumeState};
use net::id::VolumeId;

use super::access::allow_of;
use super::asking::Session;
use super::changes::ClusterChanges;
use super::core::Core;
use super::export::{ClusterExport, RemoteSnapshot};
use super::volumes::named;
use super::{ClusterError, ClusterSlot};
use crate::access::Principal;
use crate::export::{Changes, Export, Exports};
use crate::name::ExportName;
use crate::node::{Node, is_hidden};

/// A node's volumes, and behind them those of its cluster: a name that both have is the node's own.
pub struct AllExports {
    node: Arc<Node>,
    slot: Arc<ClusterSlot>,
}

impl AllExports {
    /// The exports of a node that may be in a cluster.
    #[must_use]
    pub fn new(node: Arc<Node>, slot: Arc<ClusterSlot>) -> Self {
        Self { node, slot }
    }

    fn core(&self) -> Option<Arc<Core>> {
        self.slot.cluster().ok().map(|cluster| cluster.core())
    }

    /// The volume of the cluster that a name means, and the name; `None` if it is one of the node's own, or none.
    fn of_cluster(&self, name: &str, client: &Principal) -> Option<(Arc<Core>, VolumeId, ExportName)> {
        let core = self.core()?;
        if self.node.open(name, client).is_ok() {
            return None;
        }
        let name = ExportName::from_str(name).ok()?;
        let volume = core.ready_volume(name.volume()).ok()?.id;
        let is_admitted = allow_of(&core.configuration(), volume).admits(client);
        is_admitted.then_some((core, volume, name))
    }
}

impl Exports for AllExports {
    fn names(&self, client: &Principal) -> Vec<String> {
        let mut names = Exports::names(&*self.node, client);
        if let Some(core) = self.core() {
            let configuration = core.configuration();
            let is_usable = |volume: &&Volume| volume.trashed.is_none() && volume.state == VolumeState::Ready;
            let usable = configuration.volumes().filter(is_usable);
            let usable = usable.filter(|volume| allow_of(&configuration, volume.id).admits(client));
            names.extend(usable.map(|volume| volume.name.as_str().to_owned()));
        }
        names.sort();
        names.dedup();
        names
    }

    fn open(&self, name: &str, client: &Principal) -> Result<Arc<dyn Export>> {
        let Some(core) = self.core() else { return self.node.open(name, client) };
        match self.node.open(name, client) {
            Err(Error::NoSuchVolume(_)) => open_of_cluster(&core, name, client),
            found => found,
        }
    }

    fn snapshots(&self, name: &str, client: &Principal) -> Vec<String> {
        match self.of_cluster(name, client) {
            Some((core, volume, name)) => earlier_snapshots(&core, volume, &name),
            None => Exports::snapshots(&*self.node, name, client),
        }
    }

    fn changes_since(&self, name: &str, snapshot: &str, client: &Principal) -> Result<Arc<dyn Changes>> {
        let Some((core, volume, name)) = self.of_cluster(name, client) else {
            return self.node.changes_since(name, snapshot, client);
        };
        if !earlier_snapshots(&core, volume, &name).iter().any(|known| known == snapshot) {
            return Err(nothing());
        }
        let from = snapshot.parse().map_err(|_| nothing())?;
        let to = match &name {
            ExportName::Volume(_) => None,
            ExportName::Snapshot(name) => Some(&name.snapshot),
        };
        Ok(Arc::new(ClusterChanges::new(&core, volume, &from, to, false)))
    }
}

/// The snapshots of a volume that are older than what a name means, from the newest.
fn earlier_snapshots(core: &Arc<Core>, volume: VolumeId, name: &ExportName) -> Vec<String> {
    // A client waits for the volume, not for the list of what it could be compared with.
    let known = Session::new(Arc::clone(core), volume).snapshots_now().unwrap_or_default();
    let mut names: Vec<_> = named(known).map(|(name, _)| name).collect();
    if let ExportName::Snapshot(name) = name {
        let own = names.iter().position(|known| *known == name.snapshot);
        names.truncate(own.unwrap_or(0));
    }
    names.iter().rev().map(ToString::to_string).collect()
}

fn nothing() -> Error {
    Error::NoSuchVolume(lsm_store::id::VolumeId::default())
}

fn changing(why: &ClusterError) -> Error {
    let source = Arc::new(std::io::Error::other(why.to_string()));
    Error::Io { action: "opening", file: "the volume".into(), source }
}

fn open_of_cluster(core: &Arc<Core>, name: &str, client: &Principal) -> Result<Arc<dyn Export>> {
    let name = ExportName::from_str(name).map_err(|_| nothing())?;
    // Another node may have shut it out a moment ago. And it takes as long whether there is such a volume or not.
    let is_fresh = *client != Principal::Local;
    if is_fresh {
        core.refresh();
    }
    let volume = core.ready_volume(name.volume()).or_else(|missing| {
        if is_fresh {
            return Err(missing);
        }
        // It may have been made at another node a moment ago.
        core.refresh();
        core.ready_volume(name.volume())
    });
    let volume = volume.map_err(|_| nothing())?.id;
    if !allow_of(&core.configuration(), volume).admits(client) {
        return Err(nothing());
    }
    match &name {
        ExportName::Volume(name) => match core.taker_of(volume)? {
            Some(taker) => Err(changing(&core.taken_in(name, taker))),
            None => Ok(Arc::new(ClusterExport::new(core, volume))),
        },
        ExportName::Snapshot(snapshot) if is_hidden(&snapshot.snapshot) => Err(nothing()),
        ExportName::Snapshot(snapshot) => match core.node.replica_snapshot(volume, &snapshot.snapshot) {
            Ok(export) => Ok(export),
            // It may not have come here yet.
            Err(_) => {
                let found = RemoteSnapshot::open(core, volume, snapshot.snapshot.as_str())?;
                found.map(|found| Arc::new(found) as Arc<dyn Export>).ok_or_else(nothing)
            }
        },
    }
}

#[cfg(test)]
mod tests;
