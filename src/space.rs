//! Where the space goes.

use blockdev::lsm_store::store::VolumeInfo;
use gc::{Census, VolumeCensus};

/// How full a store is, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Space {
    /// What it may fill: its capacity, or the file system, others' files included.
    pub total_bytes: u64,
    /// What of that is taken.
    pub used_bytes: u64,
    /// What new data may still take, before dedupe and compression; a part of the rest is kept for collection and metadata.
    pub free_bytes: u64,
    /// What of `free_bytes` is reserved for volumes that do not use it yet.
    pub reserved_bytes: u64,
}

/// What the volumes and snapshots of a store take.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Each of them, volumes and snapshots by name.
    pub views: Vec<ViewUsage>,
    /// Data in all of them, before any reduction.
    pub mapped_bytes: u64,
    /// The same without what is held more than once.
    pub distinct_bytes: u64,
    /// What that takes, compressed.
    pub stored_bytes: u64,
    /// All that the store has on disk: data, dead data, map, journal.
    pub disk_bytes: u64,
}

/// What a volume or snapshot takes, in bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ViewUsage {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// How much of that is data.
    pub mapped_bytes: u64,
    /// The same without what it holds more than once.
    pub distinct_bytes: u64,
    /// What that takes, compressed.
    pub stored_bytes: u64,
    /// The part of `stored_bytes` that no other volume or snapshot holds.
    pub unique_bytes: u64,
    /// What [`Store::collect`](crate::Store::collect) with `now` gives back once it is removed, beyond what it gives back without.
    pub frees_bytes: u64,
}

/// What a collection did, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Collected {
    /// What the reclaimed segments took on disk.
    pub reclaimed_bytes: u64,
    /// What of that lived, and takes room elsewhere now.
    pub moved_bytes: u64,
}

impl Usage {
    pub(crate) fn new(views: impl Iterator<Item = (String, VolumeInfo)>, census: &Census) -> Self {
        let mut views: Vec<_> = views.map(|(name, info)| view_usage(name, &info, census)).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            views,
            mapped_bytes: census.mapped_bytes,
            distinct_bytes: census.distinct_bytes,
            stored_bytes: census.stored_bytes,
            disk_bytes: census.disk_bytes,
        }
    }
}

fn view_usage(name: String, info: &VolumeInfo, census: &Census) -> ViewUsage {
    let VolumeCensus { mapped_bytes, distinct_bytes, stored_bytes, unique_bytes, frees_bytes, .. } =
        census.volumes.get(&info.id).copied().unwrap_or_default();
    ViewUsage {
        name,
        size_bytes: info.size_bytes,
        mapped_bytes,
        distinct_bytes,
        stored_bytes,
        unique_bytes,
        frees_bytes,
    }
}
