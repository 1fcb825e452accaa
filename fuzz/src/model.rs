//! What a store must hold: the oracle that every harness compares with.
//!
//! A volume is its bytes and the order in which they were written. After a crash each volume must equal a prefix of
//! that order, with every write the last answered flush covers in it (promise 2 of `docs/ARCHITECTURE.md`); after the
//! death of the process alone, with every answered write in it. Creation, deletion and resizing are durable when answered.

mod image;
mod volume;

pub use image::{Image, StoreImage};
pub use volume::{Survives, VolumeModel};

use std::collections::{BTreeMap, BTreeSet};

use lsm_store::id::VolumeId;
use lsm_store::request::Zeroing;

#[cfg(test)]
mod tests;

/// A store that is not what it must be.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

/// What happened to a volume, or perhaps happened.
#[derive(Clone, Debug)]
pub enum Change {
    /// A volume of this many bytes was made.
    Create(VolumeId, u64),
    /// A volume was deleted.
    Delete(VolumeId),
    /// A volume got this many bytes.
    Resize(VolumeId, u64),
    /// A volume or a snapshot, which may be new, holds what another one did.
    Become(VolumeId, Box<VolumeModel>),
}

impl Change {
    fn volume(&self) -> VolumeId {
        match self {
            Self::Create(id, _) | Self::Delete(id) | Self::Resize(id, _) | Self::Become(id, _) => *id,
        }
    }

    /// The state between the two steps of making a volume smaller: what lies beyond the new end is discarded, the size
    /// still the old one.
    fn discards(&self, volume: Option<VolumeModel>) -> Option<VolumeModel> {
        let Self::Resize(_, size_bytes) = *self else { return None };
        let mut volume = volume?;
        let before = volume.size_bytes();
        (size_bytes < before).then(|| {
            volume.begin_zero(size_bytes, before - size_bytes, Zeroing::Hole);
            volume
        })
    }

    fn apply(&self, volume: Option<VolumeModel>) -> Option<VolumeModel> {
        match self {
            Self::Create(_, size_bytes) => Some(VolumeModel::new(*size_bytes)),
            Self::Delete(_) => None,
            Self::Resize(_, size_bytes) => volume.map(|mut volume| {
                volume.resize(*size_bytes);
                volume
            }),
            Self::Become(_, other) => {
                let mut other = (**other).clone();
                // What it had written before may be asked for again.
                volume.iter().for_each(|volume| other.touch(volume));
                Some(other)
            }
        }
    }
}

/// The oracle for a whole store.
#[derive(Clone, Debug, Default)]
pub struct StoreModel {
    volumes: BTreeMap<VolumeId, VolumeModel>,
    gone: BTreeSet<VolumeId>,
    /// The snapshots that ever were, each with its volume.
    snapshots: BTreeMap<VolumeId, VolumeId>,
    /// Changes that were begun and not answered, or answered with an error that leaves them open.
    open_changes: Vec<Change>,
}

impl StoreModel {
    /// The volumes that certainly exist, by id.
    #[must_use]
    pub fn volumes(&self) -> &BTreeMap<VolumeId, VolumeModel> {
        &self.volumes
    }

    /// The volumes that can be written.
    pub fn living(&self) -> impl Iterator<Item = VolumeId> {
        self.volumes.keys().copied().filter(|id| !self.snapshots.contains_key(id))
    }

    /// The snapshots that certainly exist, each with its volume.
    pub fn snapshots(&self) -> impl Iterator<Item = (VolumeId, VolumeId)> {
        let snapshots = self.snapshots.iter().map(|(id, of)| (*id, *of));
        snapshots.filter(|(id, _)| self.volumes.contains_key(id))
    }

    /// Notes that a snapshot of `of` is being made.
    pub fn begin_snapshot(&mut self, id: VolumeId, of: VolumeId) {
        self.snapshots.insert(id, of);
        self.begin_copy(id, of);
    }

    /// Notes that `id` is about to hold what `of` holds.
    ///
    /// # Panics
    /// If `of` does not exist.
    pub fn begin_copy(&mut self, id: VolumeId, of: VolumeId) {
        let mut copy = self.volumes[&of].clone();
        copy.flush();
        self.begin(Change::Become(id, Box::new(copy)));
    }

    /// A volume that exists.
    ///
    /// # Panics
    /// If it does not: the driver asks for volumes it has made only.
    pub fn volume_mut(&mut self, id: VolumeId) -> &mut VolumeModel {
        self.volumes.get_mut(&id).expect("the driver names living volumes only")
    }

    /// Every id that was ever seen, with the blocks of it that were ever written.
    pub fn known(&self) -> impl Iterator<Item = (VolumeId, Vec<u64>)> {
        let ids: BTreeSet<VolumeId> = self
            .volumes
            .keys()
            .chain(&self.gone)
            .copied()
            .chain(self.open_changes.iter().map(|change| change.volume()))
            .collect();
        ids.into_iter().map(|id| (id, self.touched(id)))
    }

    /// The blocks of a volume that any state it may be in has ever written.
    fn touched(&self, id: VolumeId) -> Vec<u64> {
        let copies = self.open_changes.iter().filter_map(|change| match change {
            Change::Become(copy, volume) if *copy == id => Some(&**volume),
            _ => None,
        });
        let blocks: BTreeSet<u64> =
            self.volumes.get(&id).into_iter().chain(copies).flat_map(VolumeModel::touched).collect();
        blocks.into_iter().collect()
    }

    /// Notes that a change has begun: a crash from now on may show it or not.
    pub fn begin(&mut self, change: Change) {
        self.open_changes.push(change);
    }

    /// The change begun last was answered: it is durable.
    pub fn answer(&mut self) {
        if let Some(change) = self.open_changes.pop() {
            let id = change.volume();
            match change.apply(self.volumes.remove(&id)) {
                Some(volume) => _ = self.volumes.insert(id, volume),
                None => _ = self.gone.insert(id),
            }
        }
    }

    /// The change begun last was refused and did nothing.
    pub fn refuse(&mut self) {
        self.open_changes.pop();
    }

    /// Checks what a store holds after a crash, and returns the model that goes on from there: what was found is durable
    /// from now on, since recovery makes it so before it serves.
    pub fn admits(&self, image: &StoreImage, survives: Survives) -> Result<Self, Violation> {
        let mut volumes = BTreeMap::new();
        let mut gone = self.gone.clone();
        for (id, _) in self.known() {
            let found = image.volumes.get(&id);
            self.admits_volume(id, found, survives)?;
            match found {
                Some(found) => _ = volumes.insert(id, VolumeModel::settled(found)),
                None => _ = gone.insert(id),
            }
        }
        Ok(Self { volumes, gone, snapshots: self.snapshots.clone(), open_changes: Vec::new() })
    }

    fn admits_volume(&self, id: VolumeId, found: Option<&Image>, survives: Survives) -> Result<(), Violation> {
        let mut first_violation = None;
        for expected in self.alternatives(id) {
            let verdict = match (expected, found) {
                (None, None) => Ok(()),
                (None, Some(_)) => Err(Violation("it exists, and should not".to_owned())),
                (Some(_), None) => Err(Violation("it does not exist, and should".to_owned())),
                (Some(expected), Some(found)) => expected.admits(found, survives),
            };
            match verdict {
                Ok(()) => return Ok(()),
                Err(violation) => _ = first_violation.get_or_insert(violation),
            }
        }
        let Violation(why) = first_violation.expect("a volume has at least one admitted state");
        Err(Violation(format!("volume {id}: {why}")))
    }

    /// The states a volume may be in, by which of the open changes took effect; the one without them comes first.
    fn alternatives(&self, id: VolumeId) -> Vec<Option<VolumeModel>> {
        let mut states = vec![self.volumes.get(&id).cloned()];
        for change in self.open_changes.iter().filter(|change| change.volume() == id) {
            let discarded = states.iter().filter_map(|state| change.discards(state.clone())).collect::<Vec<_>>();
            let changed: Vec<_> = states.iter().map(|state| change.apply(state.clone())).collect();
            states.extend(changed);
            states.extend(discarded.into_iter().map(Some));
        }
        states
    }
}
