//! Seeds: what clones of the cluster's volumes start with.
//!
//! A seed is a snapshot of the clone's source that people do not see. It is made and removed by the source's log, and goes with
//! the source's content to other nodes; so the seed of a clone holds the same wherever it is there. Once it was removed no
//! replica starts from one that is made again.

use lsm_store::id::VolumeId;
use net::id::VolumeId as ClusterVolume;

use super::replica::{catalog_name, entry, note};
use super::{Node, NodeError, Result, refuse_if_taken};
use crate::catalog::{self, Catalog, Entry, State};
use crate::name::{SnapshotName, VolumeName};

const PREFIX: &str = "seed-";

/// What the seed of a clone is called among the snapshots of its source.
pub(crate) fn seed_name(clone: ClusterVolume) -> VolumeName {
    format!("{PREFIX}{:016x}", clone.0).parse().expect("letters, a hyphen and digits are a name")
}

/// The clone that a snapshot of this name is the seed of, if it is one.
pub(crate) fn seed_of(name: &VolumeName) -> Option<ClusterVolume> {
    let clone = u64::from_str_radix(name.as_str().strip_prefix(PREFIX)?, 16).ok().map(ClusterVolume)?;
    (seed_name(clone) == *name).then_some(clone)
}

fn find(catalog: &Catalog, source: ClusterVolume, clone: ClusterVolume) -> Option<VolumeId> {
    catalog.snapshot(entry(catalog, source).ok()?.id, &seed_name(clone))
}

impl Node {
    /// Freezes what a clone starts with: what a replica of its source holds now, or what a snapshot of that does. Of a
    /// snapshot that is gone there is no seed, on any replica.
    pub(crate) fn make_seed(&self, source: ClusterVolume, clone: ClusterVolume, of: Option<&VolumeName>) -> Result<()> {
        let seed = seed_name(clone);
        let Some(of) = of else { return self.snapshot_replica(source, &seed) };
        let mut catalog = self.catalog.write();
        let volume = entry(&catalog, source)?.id;
        let Some(id) = catalog.snapshot(volume, of) else { return Ok(()) };
        if catalog.snapshot(volume, &seed).is_some() {
            return Ok(());
        }
        self.name_again(&mut catalog, volume, seed, id)
    }

    /// Gives a snapshot of a replica a second name.
    pub(super) fn name_again(&self, catalog: &mut Catalog, of: VolumeId, name: VolumeName, id: VolumeId) -> Result<()> {
        self.store.put_records(vec![catalog::snapshot_record(of, &name, id)])?;
        catalog.insert_snapshot(of, name, id);
        Ok(())
    }

    /// Whether a replica of `source` here has the seed of a clone.
    pub(crate) fn has_seed(&self, source: ClusterVolume, clone: ClusterVolume) -> bool {
        find(&self.catalog.read(), source, clone).is_some()
    }

    /// The clones that a replica of `source` here has seeds of.
    pub(crate) fn seeds(&self, source: ClusterVolume) -> Vec<ClusterVolume> {
        let catalog = self.catalog.read();
        let Ok(Entry { id, .. }) = entry(&catalog, source) else { return Vec::new() };
        catalog.snapshots(id).filter_map(|(name, _)| seed_of(name)).collect()
    }

    /// Makes the content of a clone's replica from its seed, and notes for good that there is or was one, in one commit.
    pub(crate) fn plant_replica(&self, clone: ClusterVolume, source: ClusterVolume) -> Result<()> {
        let mut catalog = self.catalog.write();
        let name = catalog_name(clone);
        refuse_if_taken(&catalog, &name)?;
        let missing = || SnapshotName { volume: catalog_name(source), snapshot: seed_name(clone) };
        let seed = find(&catalog, source, clone).ok_or_else(|| NodeError::NoSuchSnapshot(missing()))?;
        let planted = |id| Entry { id, state: State::Replica, origin: None };
        let records = |id| vec![catalog::record(&name, planted(id)), note(clone)];
        let id = self.store.clone_volume(seed, records)?;
        catalog.insert(name, planted(id));
        Ok(())
    }
}
