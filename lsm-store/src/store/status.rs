//! Numbers about an open store.

use std::sync::atomic::{AtomicU64, Ordering};

use super::budget::Budget;
use super::inner::Inner;
use super::space;
use crate::dedupe::DedupeCounts;
use crate::id::StoreId;
use crate::map::RunMeta;
use crate::segment::{Class, SegmentSummary};

/// What happened since the store was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) syncs: AtomicU64,
    pub(super) flush_jobs: AtomicU64,
    pub(super) merges: AtomicU64,
    pub(super) blocks_shared: AtomicU64,
    pub(super) blocks_stored: AtomicU64,
    pub(super) run_bytes_written: AtomicU64,
    pub(super) segment_bytes_written: AtomicU64,
    pub(super) segments_reclaimed: AtomicU64,
    pub(super) bytes_reclaimed: AtomicU64,
    pub(super) bytes_relocated: AtomicU64,
}

impl Counters {
    pub(super) fn count_dedupe(&self, counts: DedupeCounts) {
        self.blocks_shared.fetch_add(counts.predicted + counts.own + counts.indexed, Ordering::Relaxed);
        self.blocks_stored.fetch_add(counts.new, Ordering::Relaxed);
    }
}

impl Counters {
    pub(super) fn count_written(&self, segments: &[SegmentSummary], runs: &[RunMeta]) {
        let segment_bytes = segments.iter().map(|segment| u64::from(segment.geometry.file_bytes())).sum();
        self.segment_bytes_written.fetch_add(segment_bytes, Ordering::Relaxed);
        self.run_bytes_written.fetch_add(runs.iter().map(|run| run.bytes).sum(), Ordering::Relaxed);
    }
}

/// Memory held now, by use, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryUse {
    /// Accepted writes not yet in segments.
    pub memtable_bytes: u64,
    /// Map and directory pages.
    pub page_cache_bytes: u64,
    /// Blocks.
    pub block_cache_bytes: u64,
    /// Filters of runs.
    pub filter_bytes: u64,
}

/// Numbers about an open store at one moment; counters count from its opening.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreStatus {
    /// The store's identity.
    pub id: StoreId,
    /// Why the store has stopped, if it has.
    pub stopped: Option<String>,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How the memory is divided.
    pub budget: Budget,
    /// How much of it is held.
    pub memory: MemoryUse,
    /// Volumes.
    pub volume_count: u64,
    /// Sealed segments, and the bytes of their files.
    pub segment_count: u64,
    /// Bytes of sealed segments.
    pub segment_bytes: u64,
    /// Bytes of those segments that hold cold data, compressed in groups.
    pub cold_bytes: u64,
    /// Runs of the map.
    pub run_count: u64,
    /// Bytes of runs.
    pub run_bytes: u64,
    /// Bytes of journal files, used or prepared.
    pub journal_bytes: u64,
    /// Bytes of the manifest.
    pub manifest_bytes: u64,
    /// Space held for the store, if it is.
    pub capacity_bytes: Option<u64>,
    /// Bytes that new data may still take, before any reduction.
    pub room_bytes: u64,
    /// Bytes that the store may fill: its capacity, or the file system.
    pub total_bytes: u64,
    /// Bytes of these that nobody has taken.
    pub free_bytes: u64,
    /// Bytes that writes leave alone: for collection, the map and the manifest.
    pub kept_bytes: u64,
    /// In what time the room is used up, in seconds, at the rate of the last hour; `None` if that is not known, or not soon.
    pub full_in_s: Option<u64>,
    /// Bytes that are reserved for volumes and not used by them yet.
    pub reserved_bytes: u64,
    /// Segments whose fingerprints the index has still to learn.
    pub segments_to_index: u64,
    /// Blocks that were stored already when they were flushed.
    pub blocks_shared: u64,
    /// Blocks that were not.
    pub blocks_stored: u64,
    /// Flush jobs done.
    pub flush_jobs: u64,
    /// Merges of runs done.
    pub merges: u64,
    /// Syncs of the journal done.
    pub syncs: u64,
    /// Bytes of runs written.
    pub run_bytes_written: u64,
    /// Bytes of segments written.
    pub segment_bytes_written: u64,
    /// Segments reclaimed.
    pub segments_reclaimed: u64,
    /// Bytes of these.
    pub bytes_reclaimed: u64,
    /// Bytes of blocks that outlived their segments and were moved, as stored.
    pub bytes_relocated: u64,
    /// Damaged places that are known.
    pub damage_count: u64,
    /// Damaged places that a later look found gone, ever.
    pub damage_gone: u64,
    /// The part of the segments that lived when it was looked at last, in thousandths; `None` if it never was.
    pub live_permille: Option<u64>,
}

impl Inner {
    pub(super) fn status(&self) -> StoreStatus {
        let (damage_count, damage_gone) = self.scrub_counts();
        let meta = self.meta.lock();
        let state = &meta.state;
        let (total_bytes, free_bytes) = self.space.total_and_available(&*self.device).unwrap_or((0, 0));
        let kept_bytes = space::kept_bytes(total_bytes);
        let room_bytes = free_bytes.saturating_sub(kept_bytes);
        let cold = state.segments.values().filter(|segment| segment.identity.class == Class::Cold);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreStatus {
            id: self.store,
            stopped: self.poison.get().map(|error| super::chain(error)),
            created_ms: meta.created_ms(),
            budget: self.budget,
            memory: MemoryUse {
                memtable_bytes: self.pace.held(),
                page_cache_bytes: self.pages.bytes(),
                block_cache_bytes: self.blocks.memory_bytes(),
                filter_bytes: self.runs.filter_bytes(),
            },
            volume_count: state.volumes.len() as u64,
            segment_count: state.segments.len() as u64,
            segment_bytes: state.segments.values().map(|segment| u64::from(segment.geometry.file_bytes())).sum(),
            cold_bytes: cold.map(|segment| u64::from(segment.geometry.file_bytes())).sum(),
            run_count: state.runs.len() as u64,
            run_bytes: state.runs.values().map(|run| run.bytes).sum(),
            journal_bytes: self.generations.total_bytes(),
            manifest_bytes: meta.manifest_bytes(),
            capacity_bytes: self.space.capacity_bytes(),
            room_bytes,
            full_in_s: self.forecast.full_in(room_bytes).map(|span| span.as_secs()),
            total_bytes,
            free_bytes,
            kept_bytes,
            reserved_bytes: self.unfilled_bytes(None).0,
            segments_to_index: self.to_index.lock().len() as u64,
            blocks_shared: count(&self.counters.blocks_shared),
            blocks_stored: count(&self.counters.blocks_stored),
            flush_jobs: count(&self.counters.flush_jobs),
            merges: count(&self.counters.merges),
            syncs: count(&self.counters.syncs),
            run_bytes_written: count(&self.counters.run_bytes_written),
            segment_bytes_written: count(&self.counters.segment_bytes_written),
            segments_reclaimed: count(&self.counters.segments_reclaimed),
            bytes_reclaimed: count(&self.counters.bytes_reclaimed),
            bytes_relocated: count(&self.counters.bytes_relocated),
            damage_count,
            damage_gone,
            live_permille: self.collector.live_permille(),
        }
    }
}
