//! Space by volume, from a census of the store.

use siltstone::control::{Failure, NodeUsage, Peer, Progress, Response, Usage, VolumeUsage};
use siltstone::gc;
use siltstone::node::NamedVolume;

use super::{NodeHandler, failure, name};

impl NodeHandler {
    /// What the volumes in `names` (all if empty) take, and the whole node.
    pub(super) fn usage(&self, names: &[String], peer: &mut dyn Peer) -> Result<Response, Failure> {
        let names = names.iter().map(|text| name(text)).collect::<Result<Vec<_>, _>>()?;
        for name in &names {
            self.node.volume(name).map_err(failure)?;
        }
        peer.progress(&Progress { done: 0, total: None, what: "reading the map".into() })?;
        let census = gc::census(self.node.store()).map_err(|error| failure(error.into()))?;
        let volumes = self.node.volumes();
        let node = node_usage(&volumes, &census);
        let wanted = |volume: &&NamedVolume| names.is_empty() || names.contains(&volume.name);
        let volumes = volumes.iter().filter(wanted).map(|volume| volume_usage(volume, &census)).collect();
        Ok(Response::Usage(Usage { volumes, node }))
    }
}

fn volume_usage(volume: &NamedVolume, census: &gc::Census) -> VolumeUsage {
    let counted = census.volumes.get(&volume.info.id).copied().unwrap_or_default();
    VolumeUsage {
        name: volume.name.to_string(),
        size_bytes: volume.info.size_bytes,
        mapped_bytes: counted.mapped_bytes,
        distinct_bytes: counted.distinct_bytes,
        stored_bytes: counted.stored_bytes,
        unique_bytes: counted.unique_bytes,
        shared_bytes: counted.shared_bytes,
        dedupe_ratio: ratio(counted.mapped_bytes, counted.distinct_bytes),
        compression_ratio: ratio(counted.distinct_bytes, counted.stored_bytes),
    }
}

fn node_usage(volumes: &[NamedVolume], census: &gc::Census) -> NodeUsage {
    NodeUsage {
        size_bytes: volumes.iter().map(|volume| volume.info.size_bytes).sum(),
        mapped_bytes: census.mapped_bytes,
        distinct_bytes: census.distinct_bytes,
        stored_bytes: census.stored_bytes,
        disk_bytes: census.disk_bytes,
        dedupe_ratio: ratio(census.mapped_bytes, census.distinct_bytes),
        compression_ratio: ratio(census.distinct_bytes, census.stored_bytes),
    }
}

/// 1 where there is nothing to compare.
fn ratio(before_bytes: u64, after_bytes: u64) -> f64 {
    if after_bytes == 0 { 1.0 } else { before_bytes as f64 / after_bytes as f64 }
}
