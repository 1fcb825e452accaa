//! Flush jobs: a frozen memtable becomes segments and a run.
//!
//! Blocks are taken in order, so that neighbours end up in neighbouring frames. Zeros become map entries; what is
//! stored already is referred to; the rest is compressed and appended. Segments and run are durable before the manifest
//! names them, and the journal generation is given up only after that. A job that fails for want of space leaves
//! nothing behind and is done again later.

mod batch;
mod helper;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustc_hash::FxHashMap;

use self::batch::{Batch, stored_block};
use self::helper::{Help, Shared};
use super::BackgroundMode;
use super::inner::Inner;
use super::meta::Meta;
use super::volume::VolumeState;
use crate::codec::{Codec, Compressor, Stored};
use crate::dedupe::{Dedupe, Verdict};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::id::{BLOCK_BYTES, Epoch, LayerId, Location, SegmentId, Sequence, Slot};
use crate::manifest::{Edit, VolumeRecord};
use crate::map::{Edit as MapEdit, Joiner, Run, RunWriter, Stretch, Target};
use crate::memtable::{Content, FrozenEntry, Memtable, retain_visible};
use crate::segment::{Class, Identity, SEGMENT_DIRECTORY, Sealing, SegmentSummary, SegmentWriter, WriteMode};

/// Entries looked up and compressed together.
const BATCH_ENTRIES: usize = 512;

/// Blocks per frame of a zstd volume: adjacent new blocks that arrive together. zstd gains little on 4 KiB; a reader
/// who wants one block decodes four.
pub(super) const ZSTD_GROUP_BLOCKS: usize = 4;

/// Level-0 runs at which a flush job first merges some: lookups go through each of them.
const LEVEL0_RUNS_MAX: usize = 16;

/// Segments whose fingerprints a flush job first reads into the index, as long as a new opening has not done so: half a
/// megabyte each, and a large import right after the opening finds its duplicates.
const INDEXED_FIRST: usize = 64;

/// Segments being sealed at once, while the next is written.
const SEALING_MAX: usize = 1;

impl Inner {
    /// Flushes the oldest frozen memtable; `false` if there is none.
    pub(super) fn flush_oldest(&self) -> Result<bool> {
        let _flushing = self.flushing.lock();
        let Some(memtable) = self.view().oldest_frozen().cloned() else { return Ok(false) };
        let last = self.frozen_files.lock().get(&memtable.generation()).expect("a frozen memtable has a file").last;
        if !self.written.wait(last) {
            return Err(self.poisoned());
        }
        while self.view().version.level0_runs() >= LEVEL0_RUNS_MAX && self.compact_once()? {}
        for _ in 0..INDEXED_FIRST {
            if !self.rebuild_index_once()? {
                break;
            }
        }
        self.top_up_ids()?;
        let _lent = self.lend_for_work()?;
        let flushed = self.flush(&memtable).map_err(|error| self.poison_unless_full(error));
        if flushed.is_err() {
            self.pace.restart_progress();
        }
        flushed.map(|()| true)
    }

    fn flush(&self, memtable: &Arc<Memtable>) -> Result<()> {
        let visibility = self.visibility();
        let (condemned, doubted) = (self.collector.exits.condemned(), self.scrub.doubted_segments());
        let eligible = |id: SegmentId| self.segments.knows(id) && !condemned.contains(&id) && !doubted.contains(&id);
        let run_id = self.new_run_id();
        let dedupe = Dedupe::new(&self.index, &self.segments, eligible);
        let mut job = FlushJob {
            codecs: FxHashMap::default(),
            compressor: Compressor::new(),
            output: Output {
                inner: self,
                dedupe,
                writer: None,
                sealing: VecDeque::new(),
                sealed: Vec::new(),
                created: Vec::new(),
            },
            run: RunWriter::create(&self.runs, run_id, 0, true)?,
            joiner: Joiner::default(),
        };
        let mut entries = memtable.sorted();
        retain_visible(&mut entries, &visibility);
        let made = thread::scope(|scope| {
            let is_alone = self.background.mode == BackgroundMode::Manual;
            job.work(&entries, memtable.held_bytes(), Help::new(Some(scope).filter(|_| !is_alone)))
        });
        drop(entries);
        let made = made.map(|()| job.output.begin_seal());
        job.output.writer = None;
        let is_empty = job.run.is_empty();
        // The run is written while the last segment is synced.
        let made = made.and_then(|()| if is_empty { Ok(None) } else { job.run.finish().map(Some) });
        let sealed = job.output.finish_seals(0);
        let Output { dedupe, sealed: summaries, created, .. } = job.output;
        let run = match made.and_then(|run| sealed.map(|()| run)) {
            Ok(Some(run)) => Some(run),
            unmade => {
                self.runs.delete(run_id)?;
                if unmade.is_err() {
                    self.remove_segments(&created);
                }
                unmade?
            }
        };
        self.device
            .sync_directory(SEGMENT_DIRECTORY)
            .map_err(|error| Error::io("syncing", SEGMENT_DIRECTORY, error))?;
        self.runs.sync_directory()?;
        if let Err(error) = self.publish_flushed(memtable, &summaries, run) {
            if matches!(error, Error::OutOfSpace) {
                self.runs.delete(run_id)?;
                self.remove_segments(&created);
            }
            return Err(error);
        }
        dedupe.own().for_each(|(fingerprint, location)| self.index.insert(fingerprint, location));
        self.counters.count_dedupe(dedupe.counts());
        self.give_up_generation(memtable)
    }

    /// How what was written to the layer is compressed: as its volume or a snapshot of it says, or, if neither is left,
    /// somebody who sees it.
    pub(super) fn codec_of(&self, layer: LayerId) -> Codec {
        let volumes = self.volumes.read();
        let own = volumes.values().find(|volume| volume.layer() == layer);
        let sees = |volume: &&Arc<VolumeState>| volume.lineage().is_ok_and(|lineage| lineage.contains(layer));
        let heads = || volumes.values().filter(|volume| volume.snapshot_of().is_none()).find(sees);
        own.or_else(heads).map_or(Codec::Lz4, |volume| volume.codec())
    }

    pub(super) fn remove_segments(&self, ids: &[SegmentId]) {
        for id in ids {
            let path = crate::segment::path(*id);
            if let Err(error) = self.device.remove(&path) {
                tracing::warn!(path, %error, "an unused segment stays until the next start");
            }
        }
    }

    fn publish_flushed(&self, memtable: &Memtable, sealed: &[SegmentSummary], run: Option<Arc<Run>>) -> Result<()> {
        let mut meta = self.meta.lock();
        let mut edits: Vec<_> = sealed.iter().copied().map(Edit::AddSegment).collect();
        let edit = run.map(MapEdit::flushed).unwrap_or_default();
        edits.extend(edit.added_metas().into_iter().map(Edit::AddRun));
        edits.extend(self.volume_edits(&meta));
        let view = self.view();
        let next = view.memtables().filter(|other| other.generation() > memtable.generation()).last();
        let next = next.expect("a frozen memtable has a successor");
        let last = Sequence(next.first().0 - 1);
        if !self.is_recovering() {
            edits.push(self.journal_start(next));
        }
        self.commit(&mut meta, edits)?;
        sealed.iter().for_each(|summary| self.segments.learn(summary));
        self.counters.count_written(sealed, &edit.added_metas());
        self.update_view(|view| {
            let version = Arc::new(view.version.apply(&edit));
            view.after_flush(memtable.generation(), last, version)
        });
        Ok(())
    }

    /// What the manifest does not know yet of the volumes: their LSNs, and the layers that runs may name from now on.
    pub(super) fn volume_edits(&self, meta: &Meta) -> Vec<Edit> {
        let mut edits = Vec::new();
        for volume in self.volumes.read().values().filter(|volume| volume.snapshot_of().is_none()) {
            let known = meta.state.volumes.get(&volume.id()).copied();
            let (Some(known), Ok(lineage)) = (known, volume.lineage()) else { continue };
            let now = VolumeRecord { lsn: volume.record().lsn, layer: lineage.newest(), ..known };
            if now != known {
                edits.extend(meta.missing_layers(&lineage));
                edits.push(Edit::SetVolume(volume.id(), now));
            }
        }
        edits
    }

    /// The memtable's content is in the map: its memory and its file are free.
    fn give_up_generation(&self, memtable: &Memtable) -> Result<()> {
        let generation = memtable.generation();
        let frozen = self.frozen_files.lock().remove(&generation).expect("a frozen memtable has a file");
        Self::raise(&self.synced, frozen.last);
        self.unsynced.lock().retain(|file| file.generation > generation);
        self.pace.release(memtable.held_bytes());
        self.counters.flush_jobs.fetch_add(1, Ordering::Relaxed);
        self.generations.retire(frozen.file)
    }
}

struct FlushJob<'a, F> {
    /// Of the layers met so far.
    codecs: FxHashMap<LayerId, Codec>,
    compressor: Compressor,
    output: Output<'a, F>,
    run: RunWriter,
    /// The stretches under construction.
    joiner: Joiner,
}

impl<F: Fn(SegmentId) -> bool> FlushJob<'_, F> {
    fn work<'s, 'e: 's>(&mut self, entries: &'e [FrozenEntry], held: u64, mut help: Help<'s, '_, 'e>) -> Result<()> {
        let count = entries.len().max(1) as u64;
        for batch in entries.chunks(BATCH_ENTRIES) {
            self.flush_batch(batch, &mut help)?;
            self.output.inner.pace.progressed(held * batch.len() as u64 / count);
            self.output.inner.refuse_if_poisoned()?;
        }
        self.joiner.finish();
        self.push_joined()
    }

    fn flush_batch<'s, 'e: 's>(&mut self, entries: &'e [FrozenEntry], help: &mut Help<'s, '_, 'e>) -> Result<()> {
        let mut batch = Batch::new(entries);
        let fingerprints = batch.fingerprints();
        let verdicts = self.output.dedupe.look_up(&fingerprints);
        let inner = self.output.inner;
        let codec_of =
            |entry: &FrozenEntry| *self.codecs.entry(entry.layer).or_insert_with(|| inner.codec_of(entry.layer));
        batch.divide(&verdicts, inner.zstd_group_blocks.load(Ordering::Relaxed), codec_of);
        let locations = self.append_new(help.begin(batch), &fingerprints, &verdicts)?;
        let mut locations = locations.into_iter();
        for entry in entries {
            let target = match &entry.content {
                Content::Hole => Target::Hole,
                Content::Zero => Target::Zero,
                Content::Data(_) if stored_block(entry).is_none() => Target::Zero,
                Content::Data(_) | Content::Packed(_) => {
                    Target::Data(locations.next().expect("every stored block has a location"))
                }
            };
            let FrozenEntry { family, layer, first, count, .. } = *entry;
            if matches!(entry.content, Content::Hole | Content::Zero) {
                self.output.inner.collector.schedule.note_freed(count.saturating_mul(BLOCK_BYTES as u64));
            }
            self.push(Stretch { family, layer, first, count, target })?;
        }
        Ok(())
    }

    /// Appends the blocks that are not stored yet and returns the locations of all.
    fn append_new(
        &mut self,
        mut batch: Shared<'_, '_>,
        fingerprints: &[Fingerprint],
        verdicts: &[Verdict],
    ) -> Result<Vec<Location>> {
        let mut locations: Vec<Location> = Vec::with_capacity(verdicts.len());
        let mut group = 0;
        while locations.len() < verdicts.len() {
            match verdicts[locations.len()] {
                Verdict::Stored(location) => locations.push(location),
                Verdict::SameAs(first) => locations.push(locations[first]),
                Verdict::New => {
                    self.append(&mut batch, group, fingerprints, &mut locations)?;
                    group += 1;
                }
            }
        }
        Ok(locations)
    }

    /// Appends a group of new blocks, as one frame if that saves anything.
    fn append(
        &mut self,
        batch: &mut Shared<'_, '_>,
        group: usize,
        fingerprints: &[Fingerprint],
        locations: &mut Vec<Location>,
    ) -> Result<()> {
        let blocks = batch.batch().groups[group].blocks.clone();
        let fingerprints = &fingerprints[blocks.clone()];
        if let Some(stored) = batch.compressed(group, &mut self.compressor) {
            return self.output.append_frame(fingerprints, stored, locations);
        }
        batch.batch().blocks[blocks].iter().zip(fingerprints).try_for_each(|((_, form), fingerprint)| {
            self.output.append_frame(std::slice::from_ref(fingerprint), form.uncompressed(), locations)
        })
    }

    /// Adds a stretch to the run, joined with those before where they are one.
    fn push(&mut self, stretch: Stretch) -> Result<()> {
        self.joiner.push(stretch);
        self.push_joined()
    }

    fn push_joined(&mut self) -> Result<()> {
        while let Some(stretch) = self.joiner.pop() {
            self.run.push(stretch)?;
        }
        Ok(())
    }
}

/// The segments that a job writes.
struct Output<'a, F> {
    inner: &'a Inner,
    dedupe: Dedupe<'a, F>,
    writer: Option<SegmentWriter>,
    /// Segments that are full and not yet known to be sealed, oldest first.
    sealing: VecDeque<Sealing>,
    sealed: Vec<SegmentSummary>,
    /// Segments that have files, sealed or not.
    created: Vec<SegmentId>,
}

impl<F: Fn(SegmentId) -> bool> Output<'_, F> {
    fn append_frame(
        &mut self,
        fingerprints: &[Fingerprint],
        stored: Stored<'_>,
        locations: &mut Vec<Location>,
    ) -> Result<()> {
        let full = self.writer.as_ref().is_some_and(|writer| !writer.room_for(fingerprints.len(), stored.bytes.len()));
        if full {
            self.begin_seal();
            self.finish_seals(SEALING_MAX)?;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => {
                let writer = empty.insert(self.inner.new_segment(Class::Flush)?);
                self.created.push(writer.identity().id);
                writer
            }
        };
        let segment = writer.identity().id;
        let first = writer.append_group(fingerprints, stored)?;
        for (step, fingerprint) in fingerprints.iter().enumerate() {
            let location = Location { segment, slot: Slot(first.0 + step as u16) };
            self.dedupe.appended(*fingerprint, location);
            locations.push(location);
        }
        Ok(())
    }

    /// Begins to seal the segment under construction, if there is one.
    fn begin_seal(&mut self) {
        self.sealing.extend(self.writer.take().map(SegmentWriter::seal_behind));
    }

    /// Waits until at most `left` segments are still being sealed. After an error, until none is: nobody may write to
    /// files that are about to be removed.
    fn finish_seals(&mut self, left: usize) -> Result<()> {
        let mut result = Ok(());
        while self.sealing.len() > if result.is_ok() { left } else { 0 }
            && let Some(sealing) = self.sealing.pop_front()
        {
            match sealing.wait() {
                Ok(summary) => self.sealed.push(summary),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }
}

impl Inner {
    /// A daemon compresses while it writes; a simulation does one thing after the other.
    fn write_mode(&self) -> WriteMode {
        match self.background.mode {
            BackgroundMode::Threads => WriteMode::Behind,
            BackgroundMode::Manual => WriteMode::Inline,
        }
    }

    pub(super) fn new_segment(&self, class: Class) -> Result<SegmentWriter> {
        let identity = Identity {
            id: self.new_segment_id(),
            epoch: Epoch(self.incarnation),
            class,
            domain: 0,
            created: Duration::from_millis(self.wall_ms()),
        };
        SegmentWriter::create(Arc::clone(&self.device), self.store, identity, self.write_mode())
    }
}
