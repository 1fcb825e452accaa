//! A store, open: volumes by id, the background work, and the way in and out.

mod allowance;
mod assembly;
mod background;
mod budget;
mod cache;
mod changes;
mod check;
mod collect;
mod decode;
mod early;
mod fingerprints;
mod flush;
mod forecast;
mod frames;
mod front;
mod inner;
mod known;
mod mapped;
mod meta;
mod open;
mod pace;
mod packers;
mod payload;
mod plan;
mod reads;
mod recovery;
mod restore;
mod scrub;
mod snapshots;
mod space;
mod states;
mod status;
mod sync;
mod upkeep;
mod view;
mod volume;
mod walk;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;

pub use allowance::Limits;
pub use background::BackgroundMode;
pub use budget::{Budget, MEMORY_BYTES_DEFAULT, MEMORY_BYTES_MIN};
pub use check::{CheckReport, Damage};
pub use collect::{ColdPlan, ColdScope, CollectPlan, CollectReport, collectable_bytes};
pub use frames::{STORED_BLOCKS_MAX, STORED_BYTES_MAX, StoredBlock};
pub use reads::VolumeReads;
pub use scrub::{
    DamagedRange, SCRUB_RATE_DEFAULT, SCRUB_RATE_MIN, ScrubDamage, ScrubPass, ScrubSchedule, ScrubSettings,
    ScrubStatus, Touched, TouchedRange, VolumeScrub,
};
pub use snapshots::SNAPSHOT_GROUP_MAX;
pub use status::{MemoryUse, StoreStatus};
pub use volume::{PREFETCH_BYTES_MAX, Volume};

use crate::clock::Clock;
use crate::codec::{Codec, GROUP_BLOCKS_MAX, ZstdLevel};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::id::{BLOCK_BYTES, BlockIndex, LayerId, Lsn, SegmentId, StoreId, VolumeId};
use crate::layers::{Lineage, Visibility};
use crate::manifest::{Edit, VolumeRecord};
use crate::map::Version;
use crate::request::Zeroing;
use crate::rng::Rng;
use crate::segment::{SegmentSummary, Segments};
use flush::ZSTD_GROUP_BLOCKS;
use inner::{Inner, chain};
use volume::VolumeState;

/// The largest volume, in bytes: 1 PiB.
pub const VOLUME_BYTES_MAX: u64 = BlockIndex::COUNT_MAX * BLOCK_BYTES as u64;

/// What the store needs of the machine.
#[derive(Clone)]
pub struct Environment {
    /// Where its files live.
    pub device: Arc<dyn Device>,
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// Its chance.
    pub rng: Arc<dyn Rng>,
}

/// What a new store is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Space to allocate ahead, in bytes; `None` lets the store grow on demand.
    pub capacity_bytes: Option<u64>,
}

/// How a store is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How the memory is divided.
    pub budget: Budget,
    /// Who does the background work.
    pub background: BackgroundMode,
    /// Open for reading only: nothing on disk changes, and other readers may have it open too.
    pub read_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { budget: Budget::divide(MEMORY_BYTES_DEFAULT), background: BackgroundMode::Threads, read_only: false }
    }
}

/// What a new volume is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VolumeSpec {
    /// Size in bytes, at most [`VOLUME_BYTES_MAX`]; any number.
    pub size_bytes: u64,
    /// How new blocks are compressed.
    pub codec: Codec,
}

/// A volume of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VolumeInfo {
    /// Its id.
    pub id: VolumeId,
    /// Size in bytes.
    pub size_bytes: u64,
    /// How new blocks are compressed.
    pub codec: Codec,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// It is a snapshot of this volume, which may have been deleted since.
    pub snapshot_of: Option<VolumeId>,
}

/// A durable key and value that the store keeps for the layer above, changed together with the volumes they describe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The key.
    pub key: Vec<u8>,
    /// The value; `None` removes the record.
    pub value: Option<Vec<u8>>,
}

impl Record {
    fn into_edit(self) -> Edit {
        Edit::SetRecord(self.key, self.value)
    }
}

/// An open store.
///
/// Dropping it stops its threads and leaves everything as it is, like a crash, and volumes that are still
/// open fail from then on; [`Store::close`] ends it in order.
pub struct Store {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Makes a new, empty store on the device.
    ///
    /// # Errors
    /// `Exists` if there is one, `Busy` if another process has it, `OutOfSpace`, `Io`.
    pub fn create(environment: &Environment, settings: Settings) -> Result<()> {
        open::create(environment, settings)
    }

    /// True if there is a store on the device.
    ///
    /// # Errors
    /// `Io` if the device cannot be listed.
    pub fn exists(environment: &Environment) -> Result<bool> {
        open::exists(environment)
    }

    /// Opens the store, replaying its journal. An opening for writing is exclusive.
    ///
    /// # Errors
    /// `NotFound` if there is none, `Busy` if another process has it, `Unsupported` if a newer version wrote it (nothing
    /// was changed then), `Corrupt` if something that had been flushed is damaged, `OutOfSpace`, `Io`.
    pub fn open(environment: Environment, options: Options) -> Result<Arc<Self>> {
        let inner = open::open(environment, options)?;
        let threads = match options.background {
            BackgroundMode::Threads if !options.read_only => inner.spawn()?,
            _ => Vec::new(),
        };
        Ok(Arc::new(Self { inner, threads: Mutex::new(threads) }))
    }

    /// Ends the store in order: everything accepted goes into segments and the journal is removed. If the disk is too
    /// full for that, the journal stays, synced. Later calls on the store and its volumes fail with `Busy`.
    ///
    /// # Errors
    /// `Poisoned` if the store met an I/O error, now or before.
    pub fn close(&self) -> Result<()> {
        self.stop_threads();
        if self.inner.read_only {
            return Ok(());
        }
        self.inner.close()
    }

    fn stop_threads(&self) {
        self.inner.background.stop();
        self.inner.decode_workers.stop();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a background thread of the store has panicked");
            }
        }
    }

    /// The store's identity.
    #[must_use]
    pub fn id(&self) -> StoreId {
        self.inner.store
    }

    /// How its memory is divided.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.inner.budget
    }

    /// Takes so many bytes from the cache of blocks, for memory that somebody else holds within the same budget; all of it at most.
    /// Replaces what was taken before.
    pub fn lend_memory(&self, bytes: u64) {
        self.inner.blocks.limit(self.inner.budget.block_cache_bytes.saturating_sub(bytes));
    }

    /// True if it was opened for reading only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.inner.read_only
    }

    /// Makes a volume, all hole. `records` gets its id and says what else to remember in the same commit.
    ///
    /// # Errors
    /// `Invalid` for an impossible size, `OutOfSpace`, `Poisoned`.
    pub fn create_volume(&self, spec: VolumeSpec, records: impl FnOnce(VolumeId) -> Vec<Record>) -> Result<VolumeId> {
        self.inner.refuse_if_unwritable()?;
        check_size(spec.size_bytes)?;
        let mut meta = self.inner.meta.lock();
        let (id, lineage) = (meta.new_volume_id(), Lineage::first(meta.new_layer_id()));
        let record = VolumeRecord {
            size_bytes: spec.size_bytes,
            codec: spec.codec,
            layer: lineage.newest(),
            lsn: Lsn(0),
            created_ms: self.inner.wall_ms(),
            snapshot_of: None,
        };
        let mut edits = meta.missing_layers(&lineage);
        edits.push(Edit::SetVolume(id, record));
        edits.extend(records(id).into_iter().map(Record::into_edit));
        self.inner.commit(&mut meta, edits)?;
        let mut layers = self.inner.layers.lock();
        layers.add(lineage.newest(), None);
        layers.add_root(lineage.newest());
        self.inner.adopt(id, &record, Some(lineage));
        Ok(id)
    }

    /// Freezes what volumes hold now, all of them at one moment, and returns the ids of the snapshots in the order of `of`.
    /// They have ids of the kind that volumes have, and are read like volumes. `records` gets the ids and says what else to
    /// remember in the same commit. Costs one sync, whatever the volumes hold.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for more than [`SNAPSHOT_GROUP_MAX`] volumes, none, one twice or a snapshot, `OutOfSpace`,
    /// `Poisoned`.
    pub fn snapshot_volumes(
        &self,
        of: &[VolumeId],
        records: impl FnOnce(&[VolumeId]) -> Vec<Record>,
    ) -> Result<Vec<VolumeId>> {
        self.inner.snapshot(of, records)
    }

    /// Makes a volume that holds what `of`, a volume or a snapshot, holds now. Neither needs the other afterwards.
    ///
    /// # Errors
    /// `NotFound`, `OutOfSpace`, `Poisoned`.
    pub fn clone_volume(&self, of: VolumeId, records: impl FnOnce(VolumeId) -> Vec<Record>) -> Result<VolumeId> {
        self.inner.clone_of(of, records)
    }

    /// Puts a volume back to what one of its snapshots holds, its size too. What was written since is gone, and so is what
    /// is being written meanwhile.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` if it is not a snapshot of that volume, `OutOfSpace`, `Poisoned`.
    pub fn roll_back_volume(&self, volume: VolumeId, to: VolumeId) -> Result<()> {
        self.inner.roll_back(volume, to)
    }

    /// Puts what the volume `by` holds in place of what another holds, its size too, and freezes it as a snapshot of that
    /// one; `by` is gone. `records` gets the snapshot's id and says what else to remember in the same commit: all of this
    /// happens or nothing. What was written to the volume since its last snapshot is gone, and so is what is being written
    /// meanwhile.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` if the two are one or either is a snapshot, `OutOfSpace`, `Poisoned`.
    pub fn replace_volume(
        &self,
        volume: VolumeId,
        by: VolumeId,
        records: impl FnOnce(VolumeId) -> Vec<Record>,
    ) -> Result<VolumeId> {
        self.inner.replace(volume, by, records)
    }

    /// Changes a volume's size. What lies beyond a smaller size is gone at once, also if the volume grows again.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `OutOfSpace`, `Poisoned`.
    pub fn resize_volume(&self, id: VolumeId, size_bytes: u64) -> Result<()> {
        self.inner.refuse_if_unwritable()?;
        check_size(size_bytes)?;
        let _changing = self.inner.volume_changes.lock();
        let volume = self.volume(id)?;
        if volume.is_read_only() {
            return Err(Error::ReadOnly);
        }
        let state = self.inner.volume_state(id)?;
        let before = state.size_bytes();
        if size_bytes < before {
            // Writes beyond the new end are refused from here on.
            state.resize(size_bytes);
        }
        let (from, to) = (size_bytes.min(before), size_bytes.max(before));
        // What an earlier size or a write in flight left beyond the end is hidden before a larger size shows it.
        let hidden = if size_bytes > before {
            volume.zero_range(from, to - from, Zeroing::Hole).and_then(|()| volume.flush())
        } else {
            Ok(())
        };
        let changed = hidden.and_then(|()| {
            let mut meta = self.inner.meta.lock();
            let record = VolumeRecord { size_bytes, ..meta.known_volume(id) };
            self.inner.commit(&mut meta, vec![Edit::SetVolume(id, record)])
        });
        if changed.is_ok() && size_bytes < before {
            // Gives the space back sooner; that it is gone does not depend on it.
            if let Err(error) = volume.zero_range(from, to - from, Zeroing::Hole) {
                tracing::debug!(error = %chain(&error), "what lies beyond the volume's new end stays for now");
            }
        }
        state.resize(if changed.is_ok() { size_bytes } else { before });
        changed
    }

    /// Removes a volume or a snapshot and forgets or changes `records` in the same commit. Snapshots and clones of it stay
    /// as they are.
    ///
    /// # Errors
    /// `NotFound`, `Poisoned`.
    pub fn delete_volume(&self, id: VolumeId, records: Vec<Record>) -> Result<()> {
        self.inner.refuse_if_unwritable()?;
        let _changing = self.inner.volume_changes.lock();
        let mut meta = self.inner.meta.lock();
        let state = self.inner.volume_state(id)?;
        let mut edits = vec![Edit::RemoveVolume(id)];
        edits.extend(records.into_iter().map(Record::into_edit));
        // Before anything of it can be dropped, so that no reader takes what is left for what it held.
        state.set_removed(true);
        let committed = self.inner.commit(&mut meta, edits);
        if committed.is_err() {
            state.set_removed(false);
            return committed;
        }
        self.inner.layers.lock().remove_root(state.layer());
        self.inner.volumes.write().remove(&id);
        self.inner.limited.write().retain(|volume| volume.id() != id);
        self.inner.collector.schedule.note_freed(state.size_bytes());
        Ok(())
    }

    /// Sets what a volume may take, and what is kept for it, until the store is closed: whoever wants it to last keeps it in a
    /// record and calls [`Store::restore_limits`] after the next opening. Reads what the volume maps.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a snapshot, a reservation larger than the volume, or a quota below it; `OutOfSpace` if there
    /// is no room for the reservation; `Poisoned`. Nothing has changed then.
    pub fn set_limits(&self, id: VolumeId, limits: Limits) -> Result<()> {
        if !limits.is_none() {
            self.inner.count_for_limits(id)?;
        }
        self.inner.set_counted_limits(id, limits)
    }

    /// Reads what the volume maps, which takes seconds for each TiB, so that [`Store::set_counted_limits`] need not.
    ///
    /// # Errors
    /// `NotFound`; those of reading the map.
    pub fn count_for_limits(&self, id: VolumeId) -> Result<()> {
        self.inner.count_for_limits(id)
    }

    /// As [`Store::set_limits`], for a volume that has just been counted: what was written meanwhile is known within bounds.
    ///
    /// # Errors
    /// As there.
    pub fn set_counted_limits(&self, id: VolumeId, limits: Limits) -> Result<()> {
        self.inner.set_counted_limits(id, limits)
    }

    /// As [`Store::set_limits`], for limits that were accepted before: they are not checked. What the volume maps is counted
    /// in the background; until then all its reservation counts as unused, and its quota as not reached.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn restore_limits(&self, id: VolumeId, limits: Limits) -> Result<()> {
        self.inner.restore_limits(id, limits)
    }

    /// As [`Store::restore_limits`], of a reservation alone, and of no more of it than there is room for now; what was kept stays.
    /// Says how much that is. Asked again it may be more. `None`, and nothing is kept, as long as it is not known what the volume
    /// maps: it is counted soon.
    ///
    /// # Errors
    /// `NotFound`; `Io` if the device does not say what is free.
    pub fn reserve_backed(&self, id: VolumeId, wanted_bytes: u64) -> Result<Option<u64>> {
        self.inner.reserve_backed(id, wanted_bytes)
    }

    /// The records of the layer above, by key.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let meta = self.inner.meta.lock();
        let records = meta.state.records.iter();
        records.map(|(key, value)| Record { key: key.clone(), value: Some(value.clone()) }).collect()
    }

    /// Changes records, all or none, durably.
    ///
    /// # Errors
    /// `OutOfSpace`, `Poisoned`.
    pub fn put_records(&self, records: Vec<Record>) -> Result<()> {
        let mut meta = self.inner.meta.lock();
        let edits = records.into_iter().map(Record::into_edit).collect();
        self.inner.commit(&mut meta, edits)
    }

    /// The clock it was opened with.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// The volumes and snapshots, by id.
    #[must_use]
    pub fn volumes(&self) -> Vec<VolumeInfo> {
        let info = |state: &Arc<VolumeState>| VolumeInfo {
            id: state.id(),
            size_bytes: state.size_bytes(),
            codec: state.codec(),
            created_ms: state.record().created_ms,
            snapshot_of: state.snapshot_of(),
        };
        self.inner.volumes.read().values().map(info).collect()
    }

    /// The map as it is now: what has been flushed, of all volumes.
    #[must_use]
    pub fn map(&self) -> Arc<Version> {
        Arc::clone(&self.inner.view().version)
    }

    /// The sealed segments.
    #[must_use]
    pub fn segments(&self) -> Arc<Segments> {
        Arc::clone(&self.inner.segments)
    }

    /// The ids of the sealed segments, in order.
    #[must_use]
    pub fn segment_ids(&self) -> Vec<SegmentId> {
        self.inner.meta.lock().state.segments.keys().copied().collect()
    }

    /// Who reads what of the map. Take it after the map: then it knows every layer in it.
    #[must_use]
    pub fn visibility(&self) -> Visibility {
        self.inner.visibility()
    }

    /// What is known of the sealed segments, in order.
    #[must_use]
    pub fn segment_summaries(&self) -> Vec<SegmentSummary> {
        self.inner.meta.lock().state.segments.values().copied().collect()
    }

    /// The volumes and snapshots with the layer that each reads, and who reads what at that moment. Take it after the map.
    #[must_use]
    pub fn readers(&self) -> (Vec<(VolumeId, LayerId)>, Visibility) {
        // Volumes change their layer under this lock.
        let layers = self.inner.layers.lock();
        let volumes = self.inner.volumes.read().values().map(|volume| (volume.id(), volume.layer())).collect();
        (volumes, layers.visibility())
    }

    /// The layers that the reader of a volume or a snapshot sees. Take it after the map.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn lineage(&self, id: VolumeId) -> Result<Lineage> {
        let state = self.inner.volume_state(id)?;
        self.inner.layers.lock().lineage_of(state.layer()).ok_or(Error::NoSuchVolume(id))
    }

    /// A volume to read and write, or a snapshot to read.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn volume(&self, id: VolumeId) -> Result<Volume> {
        let state = self.inner.volume_state(id)?;
        state.settle(&self.inner.layers.lock());
        Ok(Volume::new(Arc::clone(&self.inner), state))
    }

    /// Does one unit of background work; `false` if there is none. For [`BackgroundMode::Manual`].
    ///
    /// # Errors
    /// `OutOfSpace` if the work needs room, `Poisoned` after an I/O error.
    pub fn step(&self) -> Result<bool> {
        self.inner.step()
    }

    /// Starts a new journal generation, so that everything accepted so far can be flushed into segments.
    ///
    /// # Errors
    /// `OutOfSpace`, `Poisoned`.
    pub fn freeze(&self) -> Result<()> {
        self.inner.refuse_if_unwritable()?;
        self.inner.freeze()
    }

    /// Gives back the room of blocks that nobody sees any more, here and now, until nothing is worth it. The store does so
    /// by itself when much may have died; with `now` also segments of which little is dead are collected. What is still
    /// in the journal counts as it was before.
    ///
    /// # Errors
    /// `OutOfSpace` if there is no room for the blocks that have to be moved: nothing is lost, and what was dead as a
    /// whole is gone. `Corrupt` if the map cannot be read, `Busy` if the store is being closed, `Poisoned`.
    pub fn collect(&self, now: bool) -> Result<CollectReport> {
        self.inner.collect(now)
    }

    /// What the next batch of [`Store::collect`] would do; reads the map.
    ///
    /// # Errors
    /// As [`Store::collect`].
    pub fn collect_plan(&self, now: bool) -> Result<CollectPlan> {
        self.inner.collect_plan(now)
    }

    /// Begins to verify at rest everything there is now, by the store's own thread; `false` if a pass is under way, which
    /// goes on if it was paused. [`Store::scrub_status`] tells how far it has come and what it found.
    ///
    /// # Errors
    /// `ReadOnly`, `Poisoned`.
    pub fn start_scrub(&self) -> Result<bool> {
        self.inner.start_scrub()
    }

    /// Lets the pass under way, or the next one, wait until it is resumed. Survives a restart.
    ///
    /// # Errors
    /// `ReadOnly`, `Poisoned`.
    pub fn pause_scrub(&self) -> Result<()> {
        self.inner.pause_scrub(true)
    }

    /// Goes on after [`Store::pause_scrub`].
    ///
    /// # Errors
    /// `ReadOnly`, `Poisoned`.
    pub fn resume_scrub(&self) -> Result<()> {
        self.inner.pause_scrub(false)
    }

    /// Changes how scrubs are done, from now on and in later openings.
    ///
    /// # Errors
    /// `Invalid` for a rate below [`SCRUB_RATE_MIN`], `ReadOnly`, `Poisoned`.
    pub fn set_scrub(&self, settings: ScrubSettings) -> Result<()> {
        self.inner.set_scrub(settings)
    }

    /// What the layer above decides by whether a pass is due: the store begins none by itself.
    #[must_use]
    pub fn scrub_schedule(&self) -> ScrubSchedule {
        self.inner.scrub_schedule()
    }

    /// Where scrubs stand, and the damage that is known.
    #[must_use]
    pub fn scrub_status(&self) -> ScrubStatus {
        self.inner.scrub_status()
    }

    /// Verifies the next file of a scrub, or one that a reader has met damage in; `false` if there is none to verify. For
    /// [`BackgroundMode::Manual`]; [`Store::step`] does not do it.
    ///
    /// # Errors
    /// `ReadOnly`, `Poisoned`. Damage is no error: [`Store::scrub_status`] has it.
    pub fn step_scrub(&self) -> Result<bool> {
        self.inner.step_scrub()
    }

    /// Verifies here and now, at the rate of scrubs, what a volume or snapshot sees on disk: its part of the map, and the
    /// blocks that this names, in their order. What is still in the journal is not looked at. `progress` hears (bytes of
    /// the volume passed, bytes in all) now and then, and ends it by an error.
    ///
    /// # Errors
    /// `NotFound`, `Busy` if the store is being closed, `Poisoned`, and those of `progress`. Damage is in the report.
    pub fn scrub_volume(&self, id: VolumeId, progress: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<VolumeScrub> {
        self.inner.scrub_volume(id, progress)
    }

    /// Has the store compress what nobody has read for an hour in groups of up to 16 blocks, by zstd at this level, while it
    /// has nothing else to do; `None`, as after opening, stops it. What is compressed already stays as it is. Random reads of
    /// such data are slower. Volumes with [`Codec::None`] are left alone.
    pub fn set_cold(&self, level: Option<ZstdLevel>) {
        self.inner.set_cold(level);
    }

    /// Has what is written to zstd volumes from now on compressed in frames of up to 16 adjacent blocks in place of 4, or in 4 again, as
    /// after opening. Larger ones take less room and time to make, and a random read of a block decodes all of one.
    pub fn set_large_frames(&self, large: bool) {
        let blocks = if large { GROUP_BLOCKS_MAX } else { ZSTD_GROUP_BLOCKS };
        self.inner.zstd_group_blocks.store(blocks, Ordering::Relaxed);
    }

    /// What [`Store::pack_cold`] has still to do. Reads nothing.
    #[must_use]
    pub fn cold_plan(&self, scope: ColdScope, last: SegmentId) -> ColdPlan {
        self.inner.cold_plan(scope, last)
    }

    /// Packs some segments of [`Store::cold_plan`] now, at the level of [`Store::set_cold`] or else 3. A pass is over when
    /// nothing is left of the plan; what is written meanwhile is in segments behind `last`, and never part of it.
    ///
    /// # Errors
    /// As [`Store::collect`].
    pub fn pack_cold(&self, scope: ColdScope, last: SegmentId) -> Result<CollectReport> {
        self.inner.pack_cold(scope, last)
    }

    /// Numbers about the store now.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        self.inner.status()
    }

    /// Bytes of room, counted as [`room_of_write`] does, that writes may still take until one is refused for want of space:
    /// in any order, whatever they bring and however little of it the store has flushed by then. What is reserved for any
    /// volume but `own` is left out. `beside_64ths` is what others on the same disk take for every 64 bytes of it, which counts as long as
    /// the store has no capacity.
    ///
    /// # Errors
    /// `Poisoned`, `ReadOnly`, `Io` if the device does not say what is free.
    pub fn room_to_write(&self, own: Option<VolumeId>, beside_64ths: u64) -> Result<u64> {
        self.inner.room_to_write(own, beside_64ths)
    }

    /// Changes how much space is allocated ahead; `None` lets the store grow on demand.
    ///
    /// # Errors
    /// `OutOfSpace` if the space is not there, `Invalid` if the store already holds more, `Poisoned`.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) -> Result<()> {
        self.inner.set_capacity(capacity_bytes)
    }

    /// Verifies a stopped store from end to end without changing it: every structure, and every block against its
    /// fingerprint. `progress` hears (bytes done, bytes in all) now and then.
    ///
    /// # Errors
    /// `NotFound`, `Busy`, `Unsupported`, `Io`: what kept the check from being made. Damage is in the report.
    pub fn check(environment: &Environment, progress: &mut dyn FnMut(u64, u64)) -> Result<CheckReport> {
        check::check(environment, progress)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop_threads();
        self.inner.abandon();
    }
}

/// Room that a write of `len` bytes at `offset` takes at most, and what [`Store::room_to_write`] counts.
#[must_use]
pub fn room_of_write(offset: u64, len: u64) -> u64 {
    front::held_bytes_max(offset, len)
}

fn check_size(size_bytes: u64) -> Result<()> {
    if size_bytes == 0 || size_bytes > VOLUME_BYTES_MAX {
        return Err(Error::Invalid { what: "a volume's size", must: "from 1 byte to 1 PiB" });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
