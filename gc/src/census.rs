//! The census: what each volume and snapshot holds, what it shares, and what its removal would give back.
//!
//! It reads the whole map, so it sees what has been flushed and not what is still in the journal. One pass tells of every
//! block version all who see it, whatever their number ([`lsm_store::map::version::ViewerScan`]). Memory is bounded: a pass
//! looks at a window of segments, whose slots take a part of the store's budget, and small maps fit in one.

mod cache;
mod group;
mod tally;
mod window;

use std::collections::{HashMap, HashSet};

use lsm_store::Result;
use lsm_store::id::{BLOCK_BYTES, VolumeId};
use lsm_store::layers::Visibility;
use lsm_store::map::{Target, Version};
use lsm_store::segment::SegmentSummary;
use lsm_store::store::Store;

pub use cache::CensusCache;
pub use group::GroupCensus;
use group::Members;
use tally::Tally;
use window::{SLOT_BYTES, Window};

/// The part of the store's memory that a window may take.
const WINDOW_PARTS: u64 = 32;

/// What one volume or snapshot holds, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VolumeCensus {
    /// Blocks with data, as the volume's reader sees them.
    pub mapped_bytes: u64,
    /// The same without blocks that the volume holds more than once.
    pub distinct_bytes: u64,
    /// What these take in segments, compressed.
    pub stored_bytes: u64,
    /// The part of `stored_bytes` that no other volume or snapshot holds.
    pub unique_bytes: u64,
    /// The part that others hold too.
    pub shared_bytes: u64,
    /// What collecting all that can be collected gives back after the removal, beyond what it gives back without: of each
    /// segment all, if nobody else sees anything in it; what is left when the rest was moved, if that is worth it; else
    /// nothing.
    pub frees_bytes: u64,
}

/// What a node holds, in bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Each volume and snapshot.
    pub volumes: HashMap<VolumeId, VolumeCensus>,
    /// Blocks with data, of all volumes.
    pub mapped_bytes: u64,
    /// The same without blocks that are held more than once.
    pub distinct_bytes: u64,
    /// What these take in segments, compressed.
    pub stored_bytes: u64,
    /// What segments, runs, journal and manifest take on disk, dead blocks and directories included.
    pub disk_bytes: u64,
    /// The volumes that were to be taken together.
    pub group: GroupCensus,
    /// Blocks are shared in more ways than could be kept apart: of what several hold, some may count for others that were
    /// made in between. What one holds alone is exact all the same.
    pub is_coarse: bool,
}

/// Takes the census of a store.
///
/// # Errors
/// `Corrupt` or `Io` if the map or a slot table cannot be read.
pub fn census(store: &Store) -> Result<Census> {
    census_with_group(store, &HashSet::new())
}

/// Takes the census of a store, and counts some volumes together too.
///
/// # Errors
/// As [`census`].
pub fn census_with_group(store: &Store, group: &HashSet<VolumeId>) -> Result<Census> {
    census_in_windows(store, store.status().budget.total_bytes / WINDOW_PARTS / SLOT_BYTES, group)
}

/// As [`census_with_group`], with windows of so many slots, or one segment.
fn census_in_windows(store: &Store, slots: u64, group: &HashSet<VolumeId>) -> Result<Census> {
    // The map first: what is asked for later knows every layer in it, and every segment.
    let map = store.map();
    let (volumes, visibility) = store.readers();
    let status = store.status();
    let of_group = volumes.iter().filter(|(volume, _)| group.contains(volume));
    let roots = of_group.filter_map(|(_, layer)| visibility.root_of(*layer));
    let members = Members::new(visibility.root_count(), roots);
    let mut tally = Tally::new(visibility.root_count(), members);
    let disk_bytes = status.segment_bytes + status.run_bytes + status.journal_bytes + status.manifest_bytes;
    let mut census = Census { disk_bytes, ..Census::default() };
    let segments = store.segment_summaries();
    let mut rest = &segments[..];
    let mut is_first = true;
    while is_first || !rest.is_empty() {
        let (window, behind) = rest.split_at(window_len(rest, slots));
        count_window(store, &map, &visibility, window, is_first, &mut tally, &mut census)?;
        (rest, is_first) = (behind, false);
    }
    let counted = tally.finish();
    let of_layer = |layer| visibility.root_of(layer).and_then(|root| counted.get(root as usize).copied());
    census.volumes = volumes.into_iter().map(|(volume, layer)| (volume, of_layer(layer).unwrap_or_default())).collect();
    census.group.mapped_bytes =
        group.iter().filter_map(|volume| census.volumes.get(volume)).map(|volume| volume.mapped_bytes).sum();
    census.mapped_bytes = census.volumes.values().map(|volume| volume.mapped_bytes).sum();
    Ok(census)
}

/// How many segments the next window has.
fn window_len(rest: &[SegmentSummary], slots: u64) -> usize {
    let mut total = 0;
    let fits = |summary: &&SegmentSummary| {
        total += u64::from(summary.geometry.slots());
        total <= slots
    };
    rest.iter().take_while(fits).count().max(1).min(rest.len())
}

/// One pass over the map. The first one also counts what is mapped.
fn count_window(
    store: &Store,
    map: &Version,
    visibility: &Visibility,
    segments: &[SegmentSummary],
    is_first: bool,
    tally: &mut Tally,
    census: &mut Census,
) -> Result<()> {
    let mut window = Window::new(segments);
    let mut scan = map.scan_viewers(visibility);
    while let Some(seen) = scan.next() {
        let (stretch, viewers) = seen?;
        let Target::Data(first) = stretch.target else { continue };
        let sets = scan.sets_mut();
        if is_first {
            let bytes = stretch.count * BLOCK_BYTES as u64;
            sets.intervals(viewers).for_each(|interval| tally.mapped.add(interval, bytes));
        }
        window.claim(first, stretch.count, viewers, sets)?;
    }
    census.is_coarse |= scan.sets_mut().is_coarse();
    window.settle(&store.segments(), scan.sets_mut(), tally, census)
}

#[cfg(test)]
mod tests;
