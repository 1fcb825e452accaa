//! Scrubs: verification at rest while the store is in use (`docs/decisions/2026-11-26-scrub.md`).
//!
//! A *pass* goes through superblock, manifest, runs and segments, file after file ([`pass`]). Everything is read past the
//! page cache through files of its own, so that it displaces nothing; no faster than the rate that is set ([`bucket`]), and
//! slower while writers have to wait. What a reader of a volume trips over is looked at soon, pass or not. Damage is kept
//! as a list of places ([`place`]) with those it touches ([`trace`]) until a look at the same file finds it gone.
//!
//! What is remembered ([`progress`], [`state`]) is in two records of the manifest. Losing it costs a repeated pass and nothing else.
//!
//! The journal is not verified: what it holds is in memory and goes into segments from there, which a pass has done first.

mod bucket;
mod pass;
mod place;
mod progress;
mod state;
mod status;
mod trace;
mod volume;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashSet;

use super::BackgroundMode;
use super::inner::Inner;
use super::meta::Meta;
use crate::clock::Clock;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::id::{RunId, SegmentId, StoreId};
use crate::map::cache::NoCache;
use crate::map::{RunFiles, RunLimits};
use crate::page_cache::PageCache;
use crate::segment::Segments;
use bucket::Bucket;
pub(super) use place::PlaceKind;
use place::ScrubFile;
use progress::Pass;
pub use progress::SCRUB_RATE_DEFAULT;
use state::State;
pub use status::{ScrubDamage, ScrubPass, ScrubSchedule, ScrubSettings, ScrubStatus};
pub use trace::{Touched, TouchedRange};
pub use volume::{DamagedRange, VolumeScrub};

/// The slowest rate there is, in bytes a second.
pub const SCRUB_RATE_MIN: u64 = 64 << 10;

/// A pause shorter than this is put off; a longer one is made of such that end soon when the store is closed.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// How long, at a time and how often, a scrub waits after each MiB for writers who are being slowed down.
const GIVE_WAY: Duration = Duration::from_millis(5);
const GIVE_WAY_TIMES: u32 = 20;

/// Files that readers tripped over, of one opening.
const SUSPECTS_MAX: usize = 4096;

/// Scrubs of a store.
pub(super) struct Scrub {
    state: Mutex<State>,
    bucket: Mutex<Bucket>,
    /// Held by whoever verifies files and changes what is known of them.
    turn: Mutex<()>,
    /// Files of its own, so that no cache of the store changes.
    segments: Segments,
    runs: Arc<RunFiles>,
    /// Bytes verified of the file at hand.
    in_file: AtomicU64,
}

/// What there is to do.
enum Task {
    Suspect(ScrubFile),
    Trace,
    Pass(Pass),
}

impl Scrub {
    pub(super) fn new(device: &Arc<dyn Device>, clock: &Arc<dyn Clock>, store: StoreId, meta: &Meta) -> Self {
        let state = State::load(&meta.state);
        let segments = Segments::new(Arc::clone(device), store, Arc::new(PageCache::new(0)), 1);
        let limits = RunLimits { handles: 1, index_bytes: 0, filter_bytes: 0 };
        let runs = RunFiles::new(Arc::clone(device), store, Arc::clone(clock), Arc::new(NoCache), limits);
        let bucket = Mutex::new(Bucket::new(state.progress.rate_bytes));
        Self { state: Mutex::new(state), bucket, turn: Mutex::new(()), segments, runs, in_file: AtomicU64::new(0) }
    }

    /// Segments that are damaged, or to be looked at because a reader tripped over them. What equals a block of one is stored
    /// again, or the damage would come back with it.
    pub(super) fn doubted_segments(&self) -> FxHashSet<SegmentId> {
        let state = self.state.lock();
        let of = |file: &ScrubFile| match file {
            ScrubFile::Segment(id) => Some(*id),
            ScrubFile::Superblock | ScrubFile::Manifest | ScrubFile::Run(_) => None,
        };
        state.suspects.iter().chain(state.places.files()).filter_map(of).collect()
    }

    fn next_task(&self) -> Option<Task> {
        let state = self.state.lock();
        if let Some(file) = state.suspects.first() {
            return Some(Task::Suspect(*file));
        }
        let pass = state.progress.pass.filter(|_| !state.progress.paused);
        // A pass does it at its end.
        if pass.is_none() && !state.traced {
            return Some(Task::Trace);
        }
        pass.map(Task::Pass)
    }
}

impl Inner {
    /// Begins a pass of everything there is now; `false` if one is under way, which goes on if it was paused.
    pub(super) fn start_scrub(&self) -> Result<bool> {
        self.refuse_if_unwritable()?;
        // What is in the journal is verified once it is in segments. If the disk is too full, it stays there.
        match self.freeze() {
            Ok(()) | Err(Error::OutOfSpace) => {}
            Err(error) => return Err(error),
        }
        let meta = self.meta.lock();
        let last = |id: Option<&SegmentId>| id.copied().unwrap_or(SegmentId(0));
        let pass = Pass {
            began_ms: self.wall_ms(),
            after: None,
            last_run: meta.state.runs.last_key_value().map_or(RunId(0), |(id, _)| *id),
            last_segment: last(meta.state.segments.last_key_value().map(|(id, _)| id)),
            bytes_done: 0,
        };
        drop(meta);
        let mut state = self.scrub.state.lock();
        state.progress.paused = false;
        state.unsaved = true;
        let is_new = state.progress.pass.is_none();
        if is_new {
            state.progress.pass = Some(pass);
            state.places.left_out = 0;
        }
        drop(state);
        self.save_scrub()?;
        self.background.wake();
        Ok(is_new)
    }

    pub(super) fn pause_scrub(&self, paused: bool) -> Result<()> {
        self.refuse_if_unwritable()?;
        let mut state = self.scrub.state.lock();
        state.progress.paused = paused;
        state.unsaved = true;
        drop(state);
        self.save_scrub()?;
        self.background.wake();
        Ok(())
    }

    pub(super) fn set_scrub(&self, settings: ScrubSettings) -> Result<()> {
        self.refuse_if_unwritable()?;
        if settings.rate_bytes < SCRUB_RATE_MIN {
            return Err(Error::Invalid { what: "the rate of scrubs", must: "at least 64 KiB a second" });
        }
        let mut state = self.scrub.state.lock();
        (state.progress.rate_bytes, state.progress.every) = (settings.rate_bytes, settings.every);
        state.unsaved = true;
        drop(state);
        self.scrub.bucket.lock().set_rate(settings.rate_bytes);
        self.save_scrub()
    }

    /// Verifies the next file, if there is something to verify; `false` if there is not.
    pub(super) fn step_scrub(&self) -> Result<bool> {
        self.refuse_if_unwritable()?;
        let Some(_turn) = self.scrub.turn.try_lock() else { return Ok(false) };
        let Some(task) = self.scrub.next_task() else { return Ok(false) };
        let done = match task {
            Task::Suspect(file) => self.scrub_suspect(file),
            Task::Trace => self.trace_places(),
            Task::Pass(pass) => self.scrub_next(&pass),
        };
        match done {
            Ok(()) => Ok(true),
            // Somebody has paused the pass.
            Err(Error::Closed) if !self.is_stopped() && !self.background.is_stopping() => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn scrub_suspect(&self, file: ScrubFile) -> Result<()> {
        self.scrub_file(file, &mut |bytes| self.pace_scrub(bytes, false))?;
        self.scrub.state.lock().suspects.remove(&file);
        self.save_scrub()
    }

    /// A read met damage: the file is looked at soon, once in an opening.
    pub(super) fn suspect(&self, error: &Error) {
        let (Error::Corrupt { file, .. } | Error::Io { file, action: "reading" | "opening", .. }) = error else {
            return;
        };
        // What could not be opened for want of a descriptor says nothing of the file.
        if let Some(file) = ScrubFile::at(file).filter(|_| !error.is_shortage()) {
            self.suspect_file(file);
        }
    }

    fn suspect_segment(&self, id: SegmentId) {
        self.suspect_file(ScrubFile::Segment(id));
    }

    /// Something in a segment is damaged for certain: nothing is shared with it until it was looked at, however often it was
    /// looked at before. Damage that is known need not be looked at.
    pub(super) fn doubt_segment(&self, id: SegmentId) {
        let file = ScrubFile::Segment(id);
        let mut state = self.scrub.state.lock();
        if !self.read_only && !state.places.has(file) && state.suspects.insert(file) {
            drop(state);
            self.background.wake();
        }
    }

    fn suspect_file(&self, file: ScrubFile) {
        let mut state = self.scrub.state.lock();
        if !self.read_only && state.suspected.len() < SUSPECTS_MAX && state.suspected.insert(file) {
            state.suspects.insert(file);
            drop(state);
            self.background.wake();
        }
    }

    /// Takes `bytes` of the rate and waits for them, longer while writers are slowed down. A pass that is paused ends here.
    fn pace_scrub(&self, mut bytes: u64, of_pass: bool) -> Result<()> {
        loop {
            self.refuse_if_poisoned()?;
            let (taken, mut left, is_turn) = self.scrub.bucket.lock().take_some(bytes, self.clock.monotonic());
            bytes -= taken;
            if is_turn {
                self.give_way_to_writers();
            }
            while left >= PAUSE_MIN {
                let pause = left.min(PAUSE_MAX);
                self.clock.sleep(pause);
                left -= pause;
            }
            if self.background.is_stopping() || of_pass && self.scrub.state.lock().progress.paused {
                return Err(Error::Closed);
            }
            if bytes == 0 {
                return Ok(());
            }
        }
    }

    fn give_way_to_writers(&self) {
        if self.background.mode != BackgroundMode::Threads {
            return;
        }
        let mut times = 0;
        while self.pace.is_pressed() && times < GIVE_WAY_TIMES && !self.background.is_stopping() {
            self.clock.sleep(GIVE_WAY);
            times += 1;
        }
    }
}
