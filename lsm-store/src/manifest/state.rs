//! The store's durable state as the manifest's commits leave it.

use std::collections::BTreeMap;

use super::edit::{Edit, JournalStart, VolumeRecord};
use crate::id::{LayerId, RunId, SegmentId, VolumeId};
use crate::layers::LayerTree;
use crate::map::RunMeta;
use crate::segment::SegmentSummary;

/// What is durable besides the journal and the bytes of segments and runs themselves.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct State {
    /// The volumes, and the snapshots.
    pub volumes: BTreeMap<VolumeId, VolumeRecord>,
    /// Their layers, and those below.
    pub layers: LayerTree,
    /// The catalog's records.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The sealed segments.
    pub segments: BTreeMap<SegmentId, SegmentSummary>,
    /// The finished runs.
    pub runs: BTreeMap<RunId, RunMeta>,
    /// Where replay of the journal starts.
    pub journal: JournalStart,
    /// Segment ids from here on were never used.
    pub next_segment: SegmentId,
    /// Run ids from here on were never used.
    pub next_run: RunId,
    /// Volume ids from here on were never used.
    pub next_volume: VolumeId,
    /// Layer ids from here on were never used.
    pub next_layer: LayerId,
    /// Space to hold for the store, in bytes; `None` lets it grow on demand.
    pub capacity_bytes: Option<u64>,
}

impl State {
    /// Applies one edit. `false` if the edit contradicts the state (adds what exists, removes what does not, moves an
    /// id backwards), which no program commits: the manifest is damaged or the caller is wrong.
    #[must_use]
    pub fn apply(&mut self, edit: &Edit) -> bool {
        match edit {
            Edit::SetVolume(id, volume) => {
                self.set_volume(*id, *volume);
                true
            }
            Edit::RemoveVolume(id) => {
                let removed = self.volumes.remove(id);
                removed.inspect(|volume| self.layers.remove_root(volume.layer)).is_some()
            }
            Edit::AddLayer(layer, parent) => {
                let is_new = !self.layers.contains(*layer);
                let fits = is_new && parent.is_none_or(|parent| parent < *layer && self.layers.contains(parent));
                if fits {
                    self.layers.add(*layer, *parent);
                }
                fits
            }
            Edit::SetRecord(key, Some(value)) => {
                self.records.insert(key.clone(), value.clone());
                true
            }
            Edit::SetRecord(key, None) => {
                self.records.remove(key);
                true
            }
            Edit::AddSegment(segment) => self.segments.insert(segment.identity.id, *segment).is_none(),
            Edit::RemoveSegment(id) => self.segments.remove(id).is_some(),
            Edit::AddRun(run) => self.runs.insert(run.id, *run).is_none(),
            Edit::RemoveRun(id) => self.runs.remove(id).is_some(),
            Edit::SetJournal(start) => {
                let forward = start.tail >= self.journal.tail && start.incarnation >= self.journal.incarnation;
                self.journal = *start;
                forward
            }
            Edit::ReserveIds { segment, run, volume, layer } => {
                let forward = *segment >= self.next_segment
                    && *run >= self.next_run
                    && *volume >= self.next_volume
                    && *layer >= self.next_layer;
                (self.next_segment, self.next_run) = (*segment, *run);
                (self.next_volume, self.next_layer) = (*volume, *layer);
                forward
            }
            Edit::SetCapacity(capacity) => {
                self.capacity_bytes = *capacity;
                true
            }
        }
    }

    fn set_volume(&mut self, id: VolumeId, volume: VolumeRecord) {
        if !self.layers.contains(volume.layer) {
            // Commits of version 1 do not name layers: each volume has one of its own.
            self.layers.add(volume.layer, None);
        }
        // The new one first: what lies below both stays.
        self.layers.add_root(volume.layer);
        if let Some(before) = self.volumes.insert(id, volume) {
            self.layers.remove_root(before.layer);
        }
    }

    /// The edits that make this state out of an empty one: the content of a checkpoint.
    #[must_use]
    pub fn to_edits(&self) -> Vec<Edit> {
        let mut edits = vec![
            Edit::ReserveIds {
                segment: self.next_segment,
                run: self.next_run,
                volume: self.next_volume,
                layer: self.next_layer,
            },
            Edit::SetJournal(self.journal),
            Edit::SetCapacity(self.capacity_bytes),
        ];
        edits.extend(self.layers.iter().map(|(layer, parent)| Edit::AddLayer(layer, parent)));
        edits.extend(self.volumes.iter().map(|(id, volume)| Edit::SetVolume(*id, *volume)));
        edits.extend(self.records.iter().map(|(key, value)| Edit::SetRecord(key.clone(), Some(value.clone()))));
        edits.extend(self.segments.values().copied().map(Edit::AddSegment));
        edits.extend(self.runs.values().copied().map(Edit::AddRun));
        edits
    }
}
