//! The parts of an open store, shared by its handles, volumes and background threads.
//!
//! Lock order: the turn of a volume's allowance before `front` before `meta` before `layers`, `unsynced` and `view`. No lock but
//! the first three is held during I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::background::Background;
use super::budget::Budget;
use super::cache::BlockCache;
use super::collect::Collector;
use super::decode::Workers;
use super::early::EarlyWriteback;
use super::forecast::Forecast;
use super::front::Front;
use super::meta::Meta;
use super::pace::Pace;
use super::packers::Packers;
use super::payload::PayloadPool;
use super::scrub::Scrub;
use super::space::SpaceLedger;
use super::status::Counters;
use super::view::View;
use super::volume::VolumeState;
use crate::clock::Clock;
use crate::device::{Device, Lock};
use crate::error::{Error, Result};
use crate::id::{Generation, SegmentId, Sequence, StoreId, VolumeId};
use crate::index::FingerprintIndex;
use crate::journal::generation::{GenerationFile, Generations};
use crate::journal::watermark::Watermark;
use crate::layers::LayerTree;
use crate::map::{Graveyard, RunFiles};
use crate::memtable::Memtable;
use crate::page_cache::PageCache;
use crate::segment::Segments;

pub(super) struct Inner {
    pub(super) device: Arc<dyn Device>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: StoreId,
    pub(super) read_only: bool,
    pub(super) budget: Budget,
    /// Which opening of the store this is.
    pub(super) incarnation: u64,
    /// Replay is under way: the manifest still points at the old journal.
    pub(super) recovering: AtomicBool,

    pub(super) front: Mutex<Front>,
    pub(super) written: Watermark,
    /// Every record up to this sequence is on stable storage.
    pub(super) synced: AtomicU64,
    /// Whoever holds this syncs, for all who wait for it.
    pub(super) sync_turn: Mutex<()>,
    pub(super) early_writeback: EarlyWriteback,
    /// Generations with batches that may not be on stable storage, oldest first.
    pub(super) unsynced: Mutex<Vec<GenerationFile>>,
    /// The newest synced sequence that another batch names.
    pub(super) marked: AtomicU64,
    /// The newest manifest commit that a batch names.
    pub(super) marked_manifest: AtomicU64,
    pub(super) generations: Generations,
    /// Files of frozen generations, to be recycled when they have been flushed.
    pub(super) frozen_files: Mutex<BTreeMap<Generation, FrozenFile>>,

    pub(super) view: RwLock<Arc<View>>,
    pub(super) volumes: RwLock<BTreeMap<VolumeId, Arc<VolumeState>>>,
    /// Those of them that have a reservation or a quota.
    pub(super) limited: RwLock<Vec<Arc<VolumeState>>>,
    /// The layers with those who read them, also what the manifest does not say yet.
    pub(super) layers: Mutex<LayerTree>,
    /// Held while a volume is resized, deleted, cut or moved to another layer; before any other lock.
    pub(super) volume_changes: Mutex<()>,
    pub(super) meta: Mutex<Meta>,
    pub(super) manifest_sequence: AtomicU64,

    pub(super) segments: Arc<Segments>,
    pub(super) runs: Arc<RunFiles>,
    pub(super) graveyard: Mutex<Graveyard>,
    pub(super) index: FingerprintIndex,
    /// Segments whose fingerprints the index does not know yet, newest last.
    pub(super) to_index: Mutex<Vec<SegmentId>>,
    /// Held by whoever flushes, and by whoever merges.
    pub(super) flushing: Mutex<()>,
    pub(super) merging: Mutex<()>,
    /// A merge could not read a run: none is tried again before the next opening.
    pub(super) merging_stopped: AtomicBool,
    pub(super) collector: Collector,
    pub(super) scrub: Scrub,
    pub(super) pages: Arc<PageCache>,
    pub(super) blocks: BlockCache,

    pub(super) payloads: Arc<PayloadPool>,
    pub(super) packers: Packers,
    /// Memory of blocks that reads bring.
    pub(super) read_payloads: Arc<PayloadPool>,
    pub(super) decode_workers: Workers,
    pub(super) pace: Pace,
    pub(super) space: SpaceLedger,
    pub(super) forecast: Forecast,
    pub(super) counters: Counters,
    /// Blocks per frame that flush jobs make of zstd volumes.
    pub(super) zstd_group_blocks: AtomicUsize,
    pub(super) background: Background,
    pub(super) poison: OnceLock<Error>,
    /// The lock on the device, until the store is closed.
    pub(super) lock: Mutex<Option<Box<dyn Lock>>>,
}

/// The file of a frozen generation and its last record.
pub(super) struct FrozenFile {
    pub(super) file: GenerationFile,
    pub(super) last: Sequence,
}

impl Inner {
    /// The current view.
    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }

    /// Replaces the view by one made from it.
    pub(super) fn update_view(&self, change: impl FnOnce(&View) -> View) {
        let mut view = self.view.write();
        let next = Arc::new(change(&view));
        if !Arc::ptr_eq(&next.version, &view.version) {
            self.collector.exits.replaced(&view.version);
        }
        *view = next;
    }

    pub(super) fn publish_rotated(&self, active: &Arc<Memtable>) {
        self.update_view(|view| view.rotated(Arc::clone(active)));
    }

    pub(super) fn wall_ms(&self) -> u64 {
        self.clock.wall().as_millis() as u64
    }

    /// Stops the store for good after an I/O error that must not be retried. Everything in flight and everything later
    /// fails with the first error.
    pub(super) fn poison(&self, error: Error) -> Error {
        if self.poison.set(error.clone()).is_ok() {
            tracing::error!(error = %chain(&error), "the store stops: it must be opened again");
        }
        self.written.fail();
        self.pace.stop();
        self.poisoned()
    }

    /// The error of a poisoned store.
    pub(super) fn poisoned(&self) -> Error {
        match self.poison.get() {
            Some(Error::Closed) => Error::Closed,
            Some(cause) => Error::Poisoned(Arc::new(cause.clone())),
            None => Error::Poisoned(Arc::new(Error::ReadOnly)),
        }
    }

    /// True if nothing is accepted any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.poison.get().is_some()
    }

    pub(super) fn refuse_if_poisoned(&self) -> Result<()> {
        if self.poison.get().is_some() { Err(self.poisoned()) } else { Ok(()) }
    }

    pub(super) fn refuse_if_unwritable(&self) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        self.refuse_if_poisoned()
    }

    /// The volume's state.
    pub(super) fn volume_state(&self, id: VolumeId) -> Result<Arc<VolumeState>> {
        self.volumes.read().get(&id).cloned().ok_or(Error::NoSuchVolume(id))
    }

    /// Raises an atomic watermark.
    pub(super) fn raise(watermark: &AtomicU64, to: Sequence) {
        watermark.fetch_max(to.0, Ordering::AcqRel);
    }
}

/// An error with its causes, for a log line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
