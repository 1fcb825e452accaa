//! The census: what each volume holds, what it shares, and what the node stores.
//!
//! It reads the whole map, so it sees what has been flushed and not what is still in the journal. Memory is bounded: it
//! looks at a limited number of segments at a time and reads what each volume and snapshot sees once for each such window.

use std::collections::HashMap;

use lsm_store::id::{BLOCK_BYTES, Location, SegmentId, Slot, VolumeId};
use lsm_store::layers::Lineage;
use lsm_store::map::Target;
use lsm_store::map::version::Scan;
use lsm_store::segment::{Segment, Segments};
use lsm_store::store::{Store, VolumeInfo};
use lsm_store::{ErrorKind, Result};

/// Segments in a window: their slots take 4 bytes each, 128 MiB when every slot is used and 32 MiB as a rule.
const WINDOW_SEGMENTS: usize = 512;

/// What one volume holds, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VolumeCensus {
    /// Blocks with data, as the volume's reader sees them.
    pub mapped_bytes: u64,
    /// The same without blocks that the volume holds more than once.
    pub distinct_bytes: u64,
    /// What these take in segments, compressed.
    pub stored_bytes: u64,
    /// The part of `stored_bytes` that no other volume holds.
    pub unique_bytes: u64,
    /// The part that others hold too.
    pub shared_bytes: u64,
}

/// What a node holds, in bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Each volume.
    pub volumes: HashMap<VolumeId, VolumeCensus>,
    /// Blocks with data, of all volumes.
    pub mapped_bytes: u64,
    /// The same without blocks that are held more than once.
    pub distinct_bytes: u64,
    /// What these take in segments, compressed.
    pub stored_bytes: u64,
    /// What segments, runs, journal and manifest take on disk, dead blocks and directories included.
    pub disk_bytes: u64,
}

/// Takes the census of a store.
///
/// # Errors
/// `Corrupt` or `Io` if the map or a slot table cannot be read.
pub fn census(store: &Store) -> Result<Census> {
    // The map first: what is asked for later knows every layer in it.
    let map = store.map();
    let segments = store.segments();
    let readers = readers(store)?;
    let status = store.status();
    let mut census = Census { ..Census::default() };
    census.disk_bytes = status.segment_bytes + status.run_bytes + status.journal_bytes + status.manifest_bytes;
    for (volume, lineage) in &readers {
        let mapped = mapped_bytes(map.scan_all(lineage))?;
        census.mapped_bytes += mapped;
        census.volumes.insert(*volume, VolumeCensus { mapped_bytes: mapped, ..VolumeCensus::default() });
    }
    for ids in store.segment_ids().chunks(WINDOW_SEGMENTS) {
        let owners = ids.iter().map(|id| (*id, Vec::new())).collect();
        let mut window = Window { segments: &segments, owners, volumes: Vec::new() };
        for (volume, lineage) in &readers {
            window.count(*volume, map.scan_all(lineage), &mut census)?;
        }
        window.settle(&mut census)?;
    }
    for volume in census.volumes.values_mut() {
        volume.shared_bytes = volume.stored_bytes - volume.unique_bytes;
    }
    Ok(census)
}

/// The volumes and snapshots with what they see; those that are deleted meanwhile are left out.
fn readers(store: &Store) -> Result<Vec<(VolumeId, Lineage)>> {
    let lineage = |volume: VolumeInfo| match store.lineage(volume.id) {
        Ok(lineage) => Some(Ok((volume.id, lineage))),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(Err(error)),
    };
    store.volumes().into_iter().filter_map(lineage).collect()
}

fn mapped_bytes(seen: Scan) -> Result<u64> {
    let mut blocks = 0;
    for stretch in seen {
        let stretch = stretch?;
        blocks += if matches!(stretch.target, Target::Data(_)) { stretch.count } else { 0 };
    }
    Ok(blocks * BLOCK_BYTES as u64)
}

/// Who refers to a slot: 0 nobody, else one more than the place of a volume in the window's list, the last one that
/// did, with [`SEVERAL`] if there were others.
type Owner = u32;

/// Set when more than one volume refers to the slot.
const SEVERAL: Owner = 1 << 31;

/// Some segments, and who refers to their slots.
struct Window<'a> {
    segments: &'a Segments,
    /// Empty for a segment that nobody has referred to yet.
    owners: HashMap<SegmentId, Vec<Owner>>,
    volumes: Vec<VolumeId>,
}

impl Window<'_> {
    fn count(&mut self, volume: VolumeId, seen: Scan, census: &mut Census) -> Result<()> {
        self.volumes.push(volume);
        for stretch in seen {
            let stretch = stretch?;
            if let Target::Data(first) = stretch.target {
                self.claim(volume, first, stretch.count, census)?;
            }
        }
        Ok(())
    }

    /// Counts those of `count` slots from `first` on that `volume` had not referred to before.
    fn claim(&mut self, volume: VolumeId, first: Location, count: u64, census: &mut Census) -> Result<()> {
        let Some(owners) = self.owners.get_mut(&first.segment) else { return Ok(()) };
        let own = self.volumes.len() as Owner;
        let segment = self.segments.segment(first.segment)?;
        owners.resize(segment.geometry().slots() as usize, 0);
        let counted = census.volumes.entry(volume).or_default();
        for step in 0..count {
            let slot = Slot(first.slot.0 + step as u16);
            let stored_bytes = stored_bytes(&segment, slot)?;
            let owner = &mut owners[usize::from(slot.0)];
            if *owner & !SEVERAL == own {
                continue;
            }
            counted.distinct_bytes += BLOCK_BYTES as u64;
            counted.stored_bytes += stored_bytes;
            if *owner == 0 {
                census.distinct_bytes += BLOCK_BYTES as u64;
                census.stored_bytes += stored_bytes;
            }
            *owner = if *owner == 0 { own } else { own | SEVERAL };
        }
        Ok(())
    }

    /// Counts the slots that only one volume refers to.
    fn settle(self, census: &mut Census) -> Result<()> {
        for (id, owners) in self.owners.iter().filter(|(_, owners)| !owners.is_empty()) {
            let segment = self.segments.segment(*id)?;
            let single = owners.iter().enumerate().filter(|(_, owner)| **owner != 0 && **owner & SEVERAL == 0);
            for (slot, owner) in single {
                let volume = self.volumes[*owner as usize - 1];
                census.volumes.entry(volume).or_default().unique_bytes += stored_bytes(&segment, Slot(slot as u16))?;
            }
        }
        Ok(())
    }
}

/// The block's part of its frame.
fn stored_bytes(segment: &Segment, slot: Slot) -> Result<u64> {
    let place = segment.locate(slot)?;
    Ok(u64::from(place.len) / u64::from(place.blocks))
}

#[cfg(test)]
mod tests;
