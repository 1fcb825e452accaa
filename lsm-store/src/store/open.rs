//! Making a store, opening it, and ending it in order.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use super::background::{Background, BackgroundMode};
use super::cache::BlockCache;
use super::collect::Collector;
use super::decode::Workers;
use super::early::EarlyWriteback;
use super::flush::ZSTD_GROUP_BLOCKS;
use super::forecast::Forecast;
use super::front::Front;
use super::inner::{Inner, chain};
use super::meta::Meta;
use super::pace::Pace;
use super::packers::Packers;
use super::payload::PayloadPool;
use super::recovery;
use super::scrub::Scrub;
use super::space::{self, SpaceLedger};
use super::status::Counters;
use super::view::View;
use super::volume::VolumeState;
use super::{Environment, Options, Settings};
use crate::device::{Device, File, LockMode};
use crate::error::{Error, Result};
use crate::id::{
    BLOCK_BYTES, BlockIndex, FamilyId, Generation, LayerId, Lsn, RunId, SegmentId, Sequence, StoreId, VolumeId,
};
use crate::index::FingerprintIndex;
use crate::journal::JOURNAL_DIRECTORY;
use crate::journal::batch::{Record, RecordKind};
use crate::journal::generation::{self, GenerationFile, GenerationHeader, Generations};
use crate::journal::watermark::Watermark;
use crate::manifest::{Edit, JournalStart, MANIFEST_DIRECTORY, Manifest, State, replay as replay_manifest};
use crate::map::run::DIRECTORY as RUN_DIRECTORY;
use crate::map::{Graveyard, RunFiles, RunLimits, Version};
use crate::memtable::{self, Memtable};
use crate::page_cache::PageCache;
use crate::segment::{SEGMENT_DIRECTORY, Segments};
use crate::superblock::{self, Features, SUPERBLOCK_FILE, Superblock};

const DIRECTORIES: [&str; 4] = [JOURNAL_DIRECTORY, SEGMENT_DIRECTORY, RUN_DIRECTORY, MANIFEST_DIRECTORY];

/// Segment files kept open, and as many run files.
const OPEN_FILES: usize = 256;

pub(super) fn exists(environment: &Environment) -> Result<bool> {
    let names = environment.device.list("").map_err(|error| Error::io("listing", "the data directory", error))?;
    Ok(names.iter().any(|name| name == SUPERBLOCK_FILE))
}

pub(super) fn create(environment: &Environment, settings: Settings) -> Result<()> {
    let device = &environment.device;
    let _lock = lock(&**device, LockMode::Exclusive)?;
    if exists(environment)? {
        return Err(Error::StoreExists);
    }
    for directory in DIRECTORIES {
        device.create_directory(directory).map_err(|error| Error::io("creating", directory, error))?;
    }
    let mut store = StoreId([0; 16]);
    environment.rng.fill(&mut store.0);
    let first = JournalStart { tail: Generation(1), first: Sequence(1), incarnation: 0, exists: false };
    let state = State {
        journal: first,
        next_segment: SegmentId(1),
        next_run: RunId(1),
        next_volume: VolumeId(1),
        next_layer: LayerId(1),
        capacity_bytes: settings.capacity_bytes,
        ..State::default()
    };
    let manifest = Manifest::create(device, store, 1, 1, &state)?;
    let created_ms = environment.clock.wall().as_millis() as u64;
    // The superblock comes last: with its name the store exists.
    let features = Features::KNOWN;
    superblock::create(
        &**device,
        &Superblock {
            store,
            generation: 1,
            manifest: manifest.id(),
            sequence: manifest.sequence(),
            created_ms,
            features,
        },
    )
}

pub(super) fn lock(device: &dyn Device, mode: LockMode) -> Result<Box<dyn crate::device::Lock>> {
    device.lock(mode).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::Locked,
        io::ErrorKind::NotFound => Error::NoStore,
        _ => Error::io("locking", "the data directory", error),
    })
}

/// What was found on disk.
struct Found {
    superblock: Superblock,
    state: State,
    sequence: u64,
}

pub(super) fn open(environment: Environment, options: Options) -> Result<Arc<Inner>> {
    if !exists(&environment)? {
        return Err(Error::NoStore);
    }
    let mode = if options.read_only { LockMode::Shared } else { LockMode::Exclusive };
    let lock = lock(&*environment.device, mode)?;
    let superblock = superblock::read(&*environment.device)?;
    if !options.read_only {
        superblock.features.permit_writing()?;
    }
    let opened = replay_manifest(&*environment.device, superblock.store, superblock.manifest, superblock.sequence)?;
    if opened.state.journal.first == Sequence(0) {
        return Err(Error::corrupt(MANIFEST_DIRECTORY, 0, "sequences of records begin with 1"));
    }
    let found = Found { superblock, state: opened.state, sequence: opened.sequence };
    if options.read_only {
        open_read_only(environment, options, found, lock)
    } else {
        open_for_writing(environment, options, found, lock)
    }
}

fn open_read_only(
    environment: Environment,
    options: Options,
    found: Found,
    lock: Box<dyn crate::device::Lock>,
) -> Result<Arc<Inner>> {
    let (start, store, sequence) = (found.state.journal, found.superblock.store, found.sequence);
    let memtable = Arc::new(Memtable::new(start.tail, start.first));
    let layers = found.state.layers.clone();
    let heads: BTreeMap<_, _> = found.state.volumes.iter().map(|(id, volume)| (*id, volume.layer)).collect();
    let mut next = start.first;
    let mut lsns: BTreeMap<VolumeId, Lsn> = BTreeMap::new();
    let limit = options.budget.memtable_bytes;
    let files = crate::journal::replay::list(&*environment.device)?;
    recovery::replay(&*environment.device, store, &files, &start, sequence, |_, payloads| {
        for (record, payload) in payloads {
            let layer = recovery::layer_of(record, heads.get(&record.volume).copied(), &layers);
            insert_copy(&memtable, (recovery::family_of(layer, &layers), layer), record, payload, next);
            next = next.next();
            let lsn = lsns.entry(record.volume).or_default();
            *lsn = record.lsn.max(*lsn);
        }
        // Nothing can be flushed, so all of it stays in memory.
        if (memtable.len() * (BLOCK_BYTES + memtable::ENTRY_BYTES)) as u64 > limit {
            return Err(Error::JournalTooLong { limit });
        }
        Ok(())
    })?;
    let meta = Meta::read_only(found.superblock, found.state);
    let file = GenerationFile { generation: start.tail, file: Arc::new(NoFile), bytes: 0 };
    let generations = Generations::new(Arc::clone(&environment.device), 0, 0, start.tail);
    let inner = assemble(environment, options, meta, generations, (file, memtable), (start.first, lock))?;
    for (id, lsn) in lsns {
        if let Ok(volume) = inner.volume_state(id) {
            volume.raise_lsn(lsn);
        }
    }
    Ok(inner)
}

fn insert_copy(memtable: &Memtable, of: (FamilyId, LayerId), record: &Record, payload: &[u8], sequence: Sequence) {
    match record.kind {
        // Block by block: one that is overwritten is not kept by its neighbours.
        RecordKind::Data => {
            for (step, block) in payload.chunks(BLOCK_BYTES).enumerate() {
                let at = BlockIndex(record.first.0 + step as u64);
                memtable.insert_data(of, at, sequence, &bytes::Bytes::copy_from_slice(block));
            }
        }
        RecordKind::Packed => unreachable!("replay unpacks"),
        RecordKind::Zero => memtable.insert_zeroed(of, record.first, record.count, sequence, false),
        RecordKind::Hole => memtable.insert_zeroed(of, record.first, record.count, sequence, true),
    }
}

fn open_for_writing(
    environment: Environment,
    options: Options,
    found: Found,
    lock: Box<dyn crate::device::Lock>,
) -> Result<Arc<Inner>> {
    let device = Arc::clone(&environment.device);
    let (start, store, sequence) = (found.state.journal, found.superblock.store, found.sequence);
    let files = crate::journal::replay::list(&*device)?;
    // A store that is damaged, or newer, is left as it is: nothing is changed before all of the journal was looked at.
    let chain = recovery::replay(&*device, store, &files, &start, sequence, |_, _| Ok(()))?;
    space::cut_ballast(&*device, FILES_MAX as u64 * options.budget.generation_bytes)?;
    let beyond = files.last().map_or(start.tail, |last| last.next()).max(start.tail);
    let generations = Generations::new(Arc::clone(&device), options.budget.generation_bytes, FILES_MAX, beyond);
    recovery::sync_old_journal(&*device, &chain)?;
    // The new manifest takes the room of a file that the superblock does not name: no copy of it may.
    superblock::settle(&*device, &found.superblock)?;
    // The new manifest file says the same as the old one; the journal it names is still the old one.
    let meta = Meta::begin(&device, found.superblock, found.state, found.sequence + 1)?;
    // Only now: the commits of the old file were read, which does not mean that they are on stable storage. If the last
    // of them were lost, what they had replaced would still be needed.
    remove_leftovers(&*device, &meta.state)?;
    // Files in which nothing counts take the copy of the journal where there is no room for new ones.
    for &generation in files.iter().filter(|generation| !chain.contains(generation)) {
        let file = GenerationFile::open(&*device, generation)?;
        // Whoever left it may not have synced its length, which the header will promise.
        file.sync()?;
        generations.adopt(file)?;
    }
    let file = generations.take()?;
    let memtable = Arc::new(Memtable::new(file.generation, start.first));
    let inner = assemble(environment, options, meta, generations, (file, memtable), (start.first, lock))?;
    recovery::replay(&*device, store, &chain, &start, sequence, |_, payloads| inner.append_replayed(payloads))?;
    inner.finish_recovery(&chain)?;
    inner.generations.ensure_spare()?;
    inner.open_ballast()?;
    Ok(inner)
}

/// The buffers of reads are kept for the next ones up to this part of the memory.
const READ_PAYLOADS_PARTS: u64 = 32;

/// Journal files kept for use beside the one being written.
const FILES_MAX: usize = 4;

fn assemble(
    environment: Environment,
    options: Options,
    meta: Meta,
    generations: Generations,
    (file, memtable): (GenerationFile, Arc<Memtable>),
    (first, lock): (Sequence, Box<dyn crate::device::Lock>),
) -> Result<Arc<Inner>> {
    let Environment { device, clock, .. } = environment;
    let (budget, read_only) = (options.budget, options.read_only);
    let (store, incarnation) = (meta.store(), meta.state.journal.incarnation + 1);
    let pages = Arc::new(PageCache::new(budget.page_cache_bytes as usize));
    let segments = Segments::new(Arc::clone(&device), store, Arc::clone(&pages), OPEN_FILES);
    meta.state.segments.values().for_each(|summary| segments.learn(summary));
    let limits = RunLimits {
        handles: OPEN_FILES,
        index_bytes: budget.run_index_bytes / 3,
        filter_bytes: budget.run_index_bytes / 3 * 2,
    };
    let runs = RunFiles::new(Arc::clone(&device), store, Arc::clone(&clock), pages.clone(), limits);
    let metas: Vec<_> = meta.state.runs.values().copied().collect();
    let version = Arc::new(Version::open(&runs, &metas)?);
    let header = GenerationHeader {
        generation: file.generation,
        incarnation,
        first,
        previous: 0,
        synced: Sequence(first.0 - 1),
        manifest: meta.sequence(),
        file_bytes: file.bytes,
    };
    if !read_only {
        file.write(&[IoSlice::new(&header.encode(store))], 0)?;
        file.sync()?;
    }
    let layers = meta.state.layers.clone();
    let volumes = meta.state.volumes.iter();
    let volumes: BTreeMap<_, _> = volumes.map(|(id, record)| (*id, Arc::new(VolumeState::new(*id, record)))).collect();
    volumes.values().filter(|volume| volume.snapshot_of().is_none()).for_each(|volume| volume.settle(&layers));
    let reached = Sequence(first.0 - 1);
    let to_index = meta.state.segments.keys().copied().collect();
    let collector = Collector::new(space::used_bytes(&meta.state));
    let scrub = Scrub::new(&device, &clock, store, &meta);
    Ok(Arc::new(Inner {
        space: SpaceLedger::new(meta.state.capacity_bytes),
        front: Mutex::new(Front::new(
            generation::seal(store, file.generation),
            file.clone(),
            &header,
            Arc::clone(&memtable),
        )),
        written: Watermark::new(reached),
        synced: AtomicU64::new(reached.0),
        sync_turn: Mutex::new(()),
        early_writeback: EarlyWriteback::default(),
        unsynced: Mutex::new(vec![file]),
        marked: AtomicU64::new(reached.0),
        marked_manifest: AtomicU64::new(0),
        generations,
        frozen_files: Mutex::new(BTreeMap::new()),
        view: RwLock::new(Arc::new(View::new(memtable, version))),
        volumes: RwLock::new(volumes),
        limited: RwLock::default(),
        layers: Mutex::new(layers),
        volume_changes: Mutex::new(()),
        manifest_sequence: AtomicU64::new(meta.sequence()),
        meta: Mutex::new(meta),
        index: FingerprintIndex::new(budget.index_bytes as usize),
        flushing: Mutex::new(()),
        merging: Mutex::new(()),
        merging_stopped: AtomicBool::new(false),
        collector,
        scrub,
        to_index: Mutex::new(to_index),
        segments: Arc::new(segments),
        runs,
        pages,
        graveyard: Mutex::new(Graveyard::default()),
        blocks: BlockCache::new(budget.block_cache_bytes),
        payloads: PayloadPool::new(budget.memtable_bytes as usize),
        packers: Packers::default(),
        read_payloads: PayloadPool::new((budget.total_bytes / READ_PAYLOADS_PARTS) as usize),
        decode_workers: Workers::default(),
        pace: Pace::new(budget.memtable_bytes),
        forecast: Forecast::default(),
        counters: Counters::default(),
        zstd_group_blocks: AtomicUsize::new(ZSTD_GROUP_BLOCKS),
        background: Background::new(options.background),
        poison: OnceLock::new(),
        recovering: AtomicBool::new(true),
        device,
        clock,
        store,
        read_only,
        budget,
        incarnation,
        lock: Mutex::new(Some(lock)),
    }))
}

/// Removes segments and runs that no commit names: an earlier opening was making them when it ended.
fn remove_leftovers(device: &dyn Device, state: &State) -> Result<()> {
    let known_segment =
        |name: &str| crate::segment::parse_name(name).is_some_and(|id| state.segments.contains_key(&id));
    let known_run = |name: &str| u64::from_str_radix(name, 16).is_ok_and(|id| state.runs.contains_key(&RunId(id)));
    remove_unknown(device, SEGMENT_DIRECTORY, known_segment)?;
    remove_unknown(device, RUN_DIRECTORY, known_run)
}

fn remove_unknown(device: &dyn Device, directory: &str, is_known: impl Fn(&str) -> bool) -> Result<()> {
    let names = device.list(directory).map_err(|error| Error::io("listing", directory, error))?;
    for name in names.iter().filter(|name| !is_known(name)) {
        let path = format!("{directory}/{name}");
        device.remove(&path).map_err(|error| Error::io("removing", path, error))?;
    }
    Ok(())
}

impl Inner {
    /// Freezes the memtable unless it is empty.
    pub(super) fn freeze(&self) -> Result<()> {
        let mut front = self.front.lock();
        if front.memtable.is_empty() {
            return Ok(());
        }
        self.rotate(&mut front)
    }

    /// The journal as it is needed now: from the oldest generation still in memory on.
    pub(super) fn journal_start_edit(&self) -> Edit {
        let view = self.view();
        let oldest = view.memtables().last().expect("a view has an active memtable");
        self.journal_start(oldest)
    }

    pub(super) fn journal_start(&self, oldest: &Memtable) -> Edit {
        Edit::SetJournal(JournalStart {
            tail: oldest.generation(),
            first: oldest.first(),
            incarnation: self.incarnation,
            exists: true,
        })
    }

    /// Everything accepted goes into segments, and the journal is removed. The threads have ended.
    pub(super) fn close(&self) -> Result<()> {
        self.await_collection();
        self.leave_scrub();
        match self.empty_journal() {
            Ok(()) => {}
            Err(error) if matches!(error, Error::OutOfSpace) || error.is_shortage() => {
                let why = "the journal cannot be emptied; it stays, and is replayed at the next start";
                tracing::warn!(error = %chain(&error), "{why}");
                self.sync_all()?;
            }
            Err(error) => return Err(error),
        }
        let _ = self.poison.set(Error::Closed);
        self.written.fail();
        self.pace.stop();
        self.refill_ballast();
        self.lock.lock().take();
        Ok(())
    }

    /// Ends the store as it is. Nobody flushes for its writers any more, so they fail instead of waiting.
    pub(super) fn abandon(&self) {
        if self.background.mode == BackgroundMode::Threads && !self.read_only {
            let _ = self.poison.set(Error::Closed);
            self.written.fail();
            self.pace.stop();
        }
    }

    /// Flushes and removes the journal, again while writers who do not know of the end add to it.
    fn empty_journal(&self) -> Result<()> {
        loop {
            self.flush_everything()?;
            if self.remove_journal()? {
                return Ok(());
            }
        }
    }

    fn flush_everything(&self) -> Result<()> {
        self.freeze()?;
        while self.flush_oldest()? {}
        Ok(())
    }

    /// Removes the journal, after which nothing is accepted any more; `false` if it is not empty.
    fn remove_journal(&self) -> Result<bool> {
        let front = self.front.lock();
        if !front.memtable.is_empty() || self.view().oldest_frozen().is_some() {
            return Ok(false);
        }
        // Beyond every prepared file, so that none of them is ever taken for a journal.
        let tail = Generation(front.file.generation.0 + 1 + self.generations.ready_count() as u64);
        let start = JournalStart { tail, first: front.next, incarnation: self.incarnation, exists: false };
        let mut meta = self.meta.lock();
        self.commit(&mut meta, vec![Edit::SetJournal(start)])?;
        // No journal will vouch for this commit: the superblock does.
        meta.vouch(&self.device).map_err(|error| self.poison(error))?;
        let _ = self.poison.set(Error::Closed);
        self.generations.stop(front.file.clone())?;
        Ok(true)
    }

    /// True while replay is under way.
    pub(super) fn is_recovering(&self) -> bool {
        self.recovering.load(Ordering::Acquire)
    }
}

/// What stands for the journal's file in a store open for reading only: nothing can be written to it.
struct NoFile;

impl File for NoFile {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn alignment(&self) -> usize {
        1
    }
}
