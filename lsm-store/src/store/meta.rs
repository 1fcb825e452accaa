//! The durable state of an open store and the only way to change it: a manifest commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::inner::{Inner, chain};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::id::{LayerId, RunId, SegmentId, StoreId, VolumeId};
use crate::layers::{Lineage, Visibility};
use crate::manifest::{Edit, Manifest, State, VolumeRecord};
use crate::superblock::{self, Superblock};

/// Ids are reserved this many ahead of their use, so that an id given to a file that never got into the manifest is
/// still never given again.
const IDS_AHEAD: u32 = 256;

/// The manifest with its state, and the ids given out.
pub(super) struct Meta {
    superblock: Superblock,
    /// `None` in a store open for reading only.
    manifest: Option<Manifest>,
    pub(super) state: State,
    next_segment: SegmentId,
    next_run: RunId,
    next_volume: VolumeId,
    next_layer: LayerId,
}

impl Meta {
    /// The state as replayed, not to be changed.
    pub(super) fn read_only(superblock: Superblock, state: State) -> Self {
        Self::with(superblock, None, state)
    }

    fn with(superblock: Superblock, manifest: Option<Manifest>, state: State) -> Self {
        let (next_segment, next_run) = (state.next_segment, state.next_run);
        let (next_volume, next_layer) = (state.next_volume, state.next_layer);
        Self { superblock, manifest, state, next_segment, next_run, next_volume, next_layer }
    }

    /// Starts a new manifest file with a checkpoint of `state`: every opening does, so that nobody ever appends behind
    /// a torn commit.
    pub(super) fn begin(device: &Arc<dyn Device>, superblock: Superblock, state: State, sequence: u64) -> Result<Self> {
        let superblock = switch(device, superblock, sequence, &state)?;
        let manifest = superblock.1;
        Ok(Self::with(superblock.0, Some(manifest), state))
    }

    /// Has the superblock name the last commit, so that its loss is noticed.
    pub(super) fn vouch(&mut self, device: &Arc<dyn Device>) -> Result<()> {
        let (sequence, generation) = (self.sequence(), self.superblock.generation + 1);
        let superblock = Superblock { sequence, generation, ..self.superblock };
        superblock::update(&**device, &superblock)?;
        self.superblock = superblock;
        Ok(())
    }

    /// Sequence of the last commit.
    pub(super) fn sequence(&self) -> u64 {
        self.manifest.as_ref().map_or(0, Manifest::sequence)
    }

    /// Length of the manifest in bytes.
    pub(super) fn manifest_bytes(&self) -> u64 {
        self.manifest.as_ref().map_or(0, Manifest::len_bytes)
    }

    /// The current manifest file, with the sequence of its last commit and where that ends.
    pub(super) fn manifest_place(&self) -> (u64, (u64, u64)) {
        (self.superblock.manifest, (self.sequence(), self.manifest_bytes()))
    }

    /// Copies of the superblock that are not whole on the disk, as byte offsets.
    pub(super) fn rotten_superblocks(&self, device: &dyn Device) -> Result<Vec<u64>> {
        superblock::rotten_copies(device, &self.superblock)
    }

    /// Bytes of the files of the manifest, used or not.
    pub(super) fn manifest_allocated_bytes(&self) -> u64 {
        self.manifest.as_ref().map_or(0, Manifest::allocated_bytes)
    }

    /// When the store was created, in milliseconds since the Unix epoch.
    pub(super) fn created_ms(&self) -> u64 {
        self.superblock.created_ms
    }

    fn reserve_ids(&self) -> Edit {
        Edit::ReserveIds {
            segment: SegmentId(self.next_segment.0.saturating_add(IDS_AHEAD)),
            run: RunId(self.next_run.0 + u64::from(IDS_AHEAD)),
            volume: VolumeId(self.next_volume.0 + u64::from(IDS_AHEAD)),
            layer: LayerId(self.next_layer.0 + u64::from(IDS_AHEAD)),
        }
    }

    fn ids_run_low(&self) -> bool {
        let half = IDS_AHEAD / 2;
        self.next_segment.0.saturating_add(half) > self.state.next_segment.0
            || self.next_run.0 + u64::from(half) > self.state.next_run.0
            || self.next_volume.0 + u64::from(half) > self.state.next_volume.0
            || self.next_layer.0 + u64::from(half) > self.state.next_layer.0
    }

    fn commit(&mut self, device: &Arc<dyn Device>, mut edits: Vec<Edit>) -> Result<()> {
        if self.ids_run_low() {
            edits.push(self.reserve_ids());
        }
        let manifest = self.manifest.as_mut().ok_or(Error::ReadOnly)?;
        manifest.commit(&edits)?;
        for edit in &edits {
            assert!(self.state.apply(edit), "a commit agrees with the state: {edit:?}");
        }
        if manifest.is_long() {
            let sequence = manifest.sequence() + 1;
            match switch(device, self.superblock, sequence, &self.state) {
                Ok((superblock, manifest)) => (self.superblock, self.manifest) = (superblock, Some(manifest)),
                // The commit itself is made: the checkpoint can wait until there is room for it.
                Err(error) if matches!(error, Error::OutOfSpace) || error.is_shortage() => {
                    tracing::debug!(error = %chain(&error), "no new manifest file; the old one grows on");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes a checkpoint into the next manifest file, names it in the superblock and removes the others. After
/// [`Error::OutOfSpace`] or a shortage the old file is still the current one; after any other error it is not known which one is.
fn switch(
    device: &Arc<dyn Device>,
    superblock: Superblock,
    sequence: u64,
    state: &State,
) -> Result<(Superblock, Manifest)> {
    let mut manifest = Manifest::create(device, superblock.store, superblock.manifest + 1, sequence, state)?;
    let generation = superblock.generation + 1;
    let superblock = Superblock { manifest: manifest.id(), sequence: manifest.sequence(), generation, ..superblock };
    superblock::update(&**device, &superblock).map_err(|error| match error {
        Error::OutOfSpace => {
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull).into();
            Error::Io { action: "updating", file: superblock::SUPERBLOCK_FILE.to_owned(), source }
        }
        error => error,
    })?;
    if let Err(error) = manifest.remove_others() {
        tracing::warn!(error = %chain(&error), "an old manifest file stays until the next checkpoint");
    }
    Ok((superblock, manifest))
}

impl Inner {
    /// Who reads what now.
    pub(super) fn visibility(&self) -> Visibility {
        self.layers.lock().visibility()
    }

    /// Makes `edits` durable and part of the state. A full disk changes nothing; any other failure stops the store.
    pub(super) fn commit(&self, meta: &mut Meta, edits: Vec<Edit>) -> Result<()> {
        self.refuse_if_unwritable()?;
        meta.commit(&self.device, edits).map_err(|error| match error {
            Error::OutOfSpace => error,
            error => self.poison(error),
        })?;
        self.manifest_sequence.store(meta.sequence(), Ordering::Release);
        Ok(())
    }

    /// Reserves ids durably if few reserved ones are left: enough for any flush job or merge afterwards.
    pub(super) fn top_up_ids(&self) -> Result<()> {
        let mut meta = self.meta.lock();
        if meta.ids_run_low() { self.commit(&mut meta, Vec::new()) } else { Ok(()) }
    }

    /// A segment id that was never given out before. [`Inner::top_up_ids`] comes first.
    pub(super) fn new_segment_id(&self) -> SegmentId {
        let mut meta = self.meta.lock();
        let id = meta.next_segment;
        meta.next_segment = id.next();
        assert!(id < meta.state.next_segment, "segment ids are reserved before they are used");
        id
    }

    /// A run id that was never given out before. [`Inner::top_up_ids`] comes first.
    pub(super) fn new_run_id(&self) -> RunId {
        let mut meta = self.meta.lock();
        let id = meta.next_run;
        meta.next_run = id.next();
        assert!(id < meta.state.next_run, "run ids are reserved before they are used");
        id
    }
}

impl Meta {
    /// A volume id that was never given out before. The commit that names it reserves beyond it.
    pub(super) fn new_volume_id(&mut self) -> VolumeId {
        let id = self.next_volume;
        self.next_volume = id.next();
        id
    }

    /// A layer id that was never given out before. The commit that names it reserves beyond it; a layer that is written
    /// to before its commit comes after [`Inner::top_up_ids`].
    pub(super) fn new_layer_id(&mut self) -> LayerId {
        let id = self.next_layer;
        self.next_layer = id.next();
        id
    }

    /// What the manifest knows of a volume.
    ///
    /// # Panics
    /// If it knows none of this id: volumes are in memory only as long as they are in the manifest.
    pub(super) fn known_volume(&self, id: VolumeId) -> VolumeRecord {
        *self.state.volumes.get(&id).expect("a volume is in the manifest")
    }

    /// What puts a volume into the newest layer of `lineage`.
    pub(super) fn move_edits(&self, id: VolumeId, lineage: &Lineage) -> Vec<Edit> {
        let mut edits = self.missing_layers(lineage);
        edits.push(Edit::SetVolume(id, VolumeRecord { layer: lineage.newest(), ..self.known_volume(id) }));
        edits
    }

    /// What the manifest has still to be told so that the volume's record may name the layer it is in.
    pub(super) fn missing_layers(&self, lineage: &Lineage) -> Vec<Edit> {
        let layers = lineage.layers();
        let known = layers.iter().rposition(|layer| self.state.layers.contains(*layer)).map_or(0, |last| last + 1);
        let parent_of = |at: usize| at.checked_sub(1).map(|below| layers[below]);
        (known..layers.len()).map(|at| Edit::AddLayer(layers[at], parent_of(at))).collect()
    }

    /// The store's identity.
    pub(super) fn store(&self) -> StoreId {
        self.superblock.store
    }
}
