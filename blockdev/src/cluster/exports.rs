//! The exports of a node: its own volumes, and those of the cluster it is in.

use std::str::FromStr;
use std::sync::Arc;

use lsm_store::{Error, Result};
use net::config::state::{Volume, VolumeState};

use super::ClusterSlot;
use super::core::Core;
use super::export::{ClusterExport, RemoteSnapshot};
use crate::access::Principal;
use crate::export::{Changes, Export, Exports};
use crate::name::ExportName;
use crate::node::{Node, seed_of};

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
}

impl Exports for AllExports {
    fn names(&self, client: &Principal) -> Vec<String> {
        let mut names = Exports::names(&*self.node, client);
        if let Some(core) = self.core() {
            let configuration = core.configuration();
            let is_usable = |volume: &&Volume| volume.trashed.is_none() && volume.state == VolumeState::Ready;
            let usable = configuration.volumes().filter(is_usable);
            names.extend(usable.map(|volume| volume.name.as_str().to_owned()));
        }
        names.sort();
        names.dedup();
        names
    }

    fn open(&self, name: &str, client: &Principal) -> Result<Arc<dyn Export>> {
        let Some(core) = self.core() else { return self.node.open(name, client) };
        match self.node.open(name, client) {
            Err(Error::NoSuchVolume(_)) => open_of_cluster(&core, name),
            found => found,
        }
    }

    fn snapshots(&self, name: &str, client: &Principal) -> Vec<String> {
        Exports::snapshots(&*self.node, name, client)
    }

    fn changes_since(&self, name: &str, snapshot: &str, client: &Principal) -> Result<Arc<dyn Changes>> {
        self.node.changes_since(name, snapshot, client)
    }
}

fn open_of_cluster(core: &Arc<Core>, name: &str) -> Result<Arc<dyn Export>> {
    let nothing = || Error::NoSuchVolume(lsm_store::id::VolumeId::default());
    let name = ExportName::from_str(name).map_err(|_| nothing())?;
    let volume = core.ready_volume(name.volume()).map_err(|_| nothing())?.id;
    match &name {
        ExportName::Volume(_) => Ok(Arc::new(ClusterExport::new(core, volume))),
        ExportName::Snapshot(snapshot) if seed_of(&snapshot.snapshot).is_some() => Err(nothing()),
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
