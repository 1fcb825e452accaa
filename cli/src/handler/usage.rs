//! Space by volume and snapshot, from a census of the store.

use siltstone::control::{Failure, Kind, NodeUsage, ObjectsUsage, Peer, Progress, Response, Usage, VolumeUsage};
use siltstone::gc;
use siltstone::name::ExportName;
use siltstone::node::ObjectTotals;
use siltstone::store::id::VolumeId;

use super::pages::{PAGE_ENTRIES, page};
use super::{NodeHandler, failure, name};

impl NodeHandler {
    /// What the volumes and snapshots in `names` (all if empty) take, all at once or from the volume behind `after` on a page,
    /// and the whole node.
    pub(super) fn usage(
        &self,
        names: &[String],
        after: Option<&str>,
        peer: &mut dyn Peer,
    ) -> Result<Response, Failure> {
        let names = names.iter().map(|text| name(text)).collect::<Result<Vec<ExportName>, _>>()?;
        let held = self.cluster().map(|cluster| cluster.held()).unwrap_or_default();
        let is_held = |name: &ExportName| held.iter().any(|(held, _)| held == name);
        for name in names.iter().filter(|name| !is_held(name)) {
            self.check_counted(name)?;
        }
        peer.progress(&Progress { done: 0, total: None, what: "reading the map".into() })?;
        let hidden = self.node.hidden_volumes();
        let census =
            self.census.census_with_group(self.node.store(), &hidden).map_err(|error| failure(error.into()))?;
        let volumes = self.node.volumes();
        let totals = self.node.object_totals();
        let objects = (!hidden.is_empty()).then(|| objects_usage(totals, &census.group));
        let size_bytes: u64 = volumes.iter().map(|volume| volume.info.size_bytes).sum();
        let replicas = held.iter().filter(|(name, _)| matches!(name, ExportName::Volume(_)));
        let size_bytes = size_bytes + totals.length_bytes + replicas.map(|(_, info)| info.size_bytes).sum::<u64>();
        let receptions = self.node.receptions();
        let size_bytes = size_bytes + receptions.iter().map(|(_, entry)| entry.size_bytes).sum::<u64>();
        let receptions = receptions.into_iter().map(|(name, entry)| (ExportName::Volume(name), entry));
        let asked = receptions.filter(|(name, _)| names.is_empty() || names.contains(name));
        let receptions = asked.map(|(name, entry)| volume_usage(&name, entry.size_bytes, entry.id, &census)).collect();
        let volumes = volumes.into_iter().map(|volume| (ExportName::Volume(volume.name), volume.info));
        let snapshots = self.node.all_snapshots().into_iter();
        let snapshots = snapshots.map(|snapshot| (ExportName::Snapshot(snapshot.name), snapshot.info));
        let mut wanted: Vec<_> =
            volumes.chain(snapshots).chain(held).filter(|(name, _)| names.is_empty() || names.contains(name)).collect();
        // A volume, then its snapshots from the oldest.
        wanted.sort_by(|(a, _), (b, _)| a.volume().cmp(b.volume()));
        let (wanted, next) = match after {
            Some(after) => page(wanted, |(name, _)| name.volume().as_str(), after, PAGE_ENTRIES),
            None => (wanted, None),
        };
        let volumes = wanted.iter().map(|(name, info)| volume_usage(name, info.size_bytes, info.id, &census)).collect();
        Ok(Response::Usage(Usage { volumes, objects, receptions, node: node_usage(size_bytes, &census), next }))
    }

    /// That something is there, and its blocks are on this node.
    fn check_counted(&self, name: &ExportName) -> Result<(), Failure> {
        let Some(replicated) = self.replicated(name.volume())? else { return self.check_exists(name) };
        if let ExportName::Snapshot(snapshot) = name {
            replicated.find_snapshot(snapshot)?;
        }
        let message =
            format!("this node holds nothing of {name}: ask one of those that `silt info {}` lists", name.volume());
        Err(Failure::new(Kind::Unsupported, message))
    }
}

fn volume_usage(name: &ExportName, size_bytes: u64, id: VolumeId, census: &gc::Census) -> VolumeUsage {
    let counted = census.volumes.get(&id).copied().unwrap_or_default();
    VolumeUsage {
        name: name.to_string(),
        size_bytes,
        mapped_bytes: counted.mapped_bytes,
        distinct_bytes: counted.distinct_bytes,
        stored_bytes: counted.stored_bytes,
        unique_bytes: counted.unique_bytes,
        shared_bytes: counted.shared_bytes,
        frees_bytes: counted.frees_bytes,
        dedupe_ratio: ratio(counted.mapped_bytes, counted.distinct_bytes),
        compression_ratio: ratio(counted.distinct_bytes, counted.stored_bytes),
    }
}

fn objects_usage(totals: ObjectTotals, group: &gc::GroupCensus) -> ObjectsUsage {
    ObjectsUsage {
        count: totals.count,
        size_bytes: totals.length_bytes,
        mapped_bytes: group.mapped_bytes,
        distinct_bytes: group.distinct_bytes,
        stored_bytes: group.stored_bytes,
        unique_bytes: group.unique_bytes,
    }
}

fn node_usage(size_bytes: u64, census: &gc::Census) -> NodeUsage {
    NodeUsage {
        size_bytes,
        mapped_bytes: census.mapped_bytes,
        distinct_bytes: census.distinct_bytes,
        stored_bytes: census.stored_bytes,
        coarse: census.is_coarse,
        disk_bytes: census.disk_bytes,
        dedupe_ratio: ratio(census.mapped_bytes, census.distinct_bytes),
        compression_ratio: ratio(census.distinct_bytes, census.stored_bytes),
    }
}

/// 1 where there is nothing to compare.
fn ratio(before_bytes: u64, after_bytes: u64) -> f64 {
    if after_bytes == 0 { 1.0 } else { before_bytes as f64 / after_bytes as f64 }
}
