//! An independent mark: what every reader refers to, to hold against what the store's collector thinks.
//!
//! It shares nothing with the collector but the runs: it follows each volume and snapshot by its lineage, one after the
//! other, as a census does. The collector walks all versions of the map once and asks the tree of layers who sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lsm_store::device::Device;
use lsm_store::id::{SegmentId, Slot, VolumeId};
use lsm_store::map::Target;
use lsm_store::segment::{SEGMENT_DIRECTORY, SegmentSummary, Segments, parse_name};
use lsm_store::store::CollectPlan;
use lsm_store::{Error, Result, Store};

/// Slots by segment.
pub type Slots = BTreeMap<SegmentId, BTreeSet<u16>>;

/// What one volume or snapshot refers to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reader {
    /// It is a snapshot.
    pub is_snapshot: bool,
    /// What it refers to.
    pub slots: Slots,
}

/// What a store has, and who refers to it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// The segments that the manifest names.
    pub segments: BTreeMap<SegmentId, SegmentSummary>,
    /// The segments that have files.
    pub files: BTreeSet<SegmentId>,
    /// The volumes and snapshots.
    pub readers: BTreeMap<VolumeId, Reader>,
    /// What a reader would stumble over.
    pub dangling: Vec<String>,
}

impl Mark {
    /// Marks a store that nobody changes meanwhile.
    ///
    /// # Errors
    /// Those of reading the map and the footers of segments.
    pub fn take(store: &Store, device: &dyn Device) -> Result<Self> {
        let (map, segments) = (store.map(), store.segments());
        let mut mark = Self { files: files(device)?, ..Self::default() };
        for id in store.segment_ids().into_iter().filter(|id| mark.files.contains(id)) {
            mark.segments.insert(id, segments.summary(id)?);
        }
        let missing = store.segment_ids().into_iter().filter(|id| !mark.files.contains(id));
        mark.dangling.extend(missing.map(|id| format!("segment {id} of the manifest has no file")));
        for volume in store.volumes() {
            let mut reader = Reader { is_snapshot: volume.snapshot_of.is_some(), ..Reader::default() };
            for stretch in map.scan_all(&store.lineage(volume.id)?) {
                let stretch = stretch?;
                let Target::Data(first) = stretch.target else { continue };
                let slots = (0..stretch.count).map(|step| Slot(first.slot.0 + step as u16));
                for slot in slots {
                    reader.slots.entry(first.segment).or_default().insert(slot.0);
                    if let Some(why) = mark.stumble(&segments, first.segment, slot) {
                        mark.dangling.push(format!(
                            "volume {} refers to slot {} of segment {}: {why}",
                            volume.id, slot.0, first.segment
                        ));
                    }
                }
            }
            mark.readers.insert(volume.id, reader);
        }
        Ok(mark)
    }

    fn stumble(&self, segments: &Segments, id: SegmentId, slot: Slot) -> Option<String> {
        if !self.segments.contains_key(&id) {
            return Some("there is no such segment".to_owned());
        }
        let located = segments.segment(id).and_then(|segment| segment.locate(slot));
        located.err().map(|error| error.to_string())
    }

    /// What any of those readers refers to that `counts`.
    #[must_use]
    pub fn live(&self, counts: impl Fn(&Reader) -> bool) -> Slots {
        let mut live = Slots::new();
        for reader in self.readers.values().filter(|reader| counts(reader)) {
            for (id, slots) in &reader.slots {
                live.entry(*id).or_default().extend(slots);
            }
        }
        live
    }

    /// Where the mark and the collector, which plans to collect `plan` and is not at work, disagree; and what is wrong
    /// whatever the collector thinks. `plan` is that of [`Store::collect_plan`] with `now`.
    #[must_use]
    pub fn disagreements(&self, plan: &CollectPlan) -> Vec<String> {
        let mut found = self.dangling.clone();
        let unnamed = self.files.iter().filter(|id| !self.segments.contains_key(id));
        found.extend(unnamed.map(|id| format!("segment {id} has a file, and no commit names it")));
        let live = self.live(|_| true);
        let doomed = plan.dead.iter().filter(|id| live.contains_key(id));
        found.extend(doomed.map(|id| format!("segment {id} counts as dead, and is referred to")));
        // A store of more segments than the collector looks at in one go is compared as far as that.
        if plan.examined_segments == self.segments.len() as u64 {
            let dead = self.segments.keys().filter(|id| !live.contains_key(id) && !plan.dead.contains(id));
            found.extend(dead.map(|id| format!("nobody refers to segment {id}, and it does not count as dead")));
            let bytes = self.live_bytes(&live);
            if bytes != plan.live_bytes {
                found.push(format!("{bytes} bytes live, the collector thinks {}", plan.live_bytes));
            }
        }
        found
    }

    /// The segments' bytes, each in proportion to how many of its blocks live.
    fn live_bytes(&self, live: &Slots) -> u64 {
        let bytes = |(id, summary): (&SegmentId, &SegmentSummary)| {
            let slots = live.get(id).map_or(0, BTreeSet::len) as u64;
            u64::from(summary.geometry.file_bytes()) * slots / u64::from(summary.blocks.max(1))
        };
        self.segments.iter().map(bytes).sum()
    }
}

fn files(device: &dyn Device) -> Result<BTreeSet<SegmentId>> {
    let failed = |error| Error::Io { action: "listing", file: SEGMENT_DIRECTORY.into(), source: Arc::new(error) };
    let names = device.list(SEGMENT_DIRECTORY).map_err(failed)?;
    Ok(names.iter().filter_map(|name| parse_name(name)).collect())
}
