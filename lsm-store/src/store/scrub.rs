//! Scrubs: verification at rest while the store is in use (`docs/decisions/2026-11-26-scrub.md`).
//!
//! A *pass* goes through superblock, manifest, runs and segments, file after file ([`pass`]). Everything is read past the
//! page cache through files of its own, so that it displaces nothing; no faster than the rate that is set ([`bucket`]), and
//! slower while writers have to wait. What a reader of a volume trips over is looked at soon, pass or not. Damage is kept
//! as a list of places ([`place`]) with those it touches ([`trace`]) until a look at the same file finds it gone.
//!
//! What is remembered ([`progress`]) is in two records of the manifest. Losing it costs a repeated pass and nothing else.
//!
//! The journal is not verified: what it holds is in memory and goes into segments from there, which a pass has done first.

mod bucket;
mod pass;
mod place;
mod progress;
mod trace;
mod volume;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::BackgroundMode;
use super::inner::{Inner, chain};
use super::meta::Meta;
use crate::clock::Clock;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::id::{RunId, SegmentId, StoreId};
use crate::manifest::{Edit, State as ManifestState};
use crate::map::cache::NoCache;
use crate::map::{RunFiles, RunLimits};
use crate::page_cache::PageCache;
use crate::segment::Segments;
use bucket::Bucket;
pub(super) use place::PlaceKind;
use place::{Change, Places, ScrubFile};
pub use progress::SCRUB_RATE_DEFAULT;
use progress::{Pass, Progress};
pub use trace::{Touched, TouchedRange};
pub use volume::{DamagedRange, VolumeScrub};

/// The slowest rate there is, in bytes a second.
pub const SCRUB_RATE_MIN: u64 = 64 << 10;

const PROGRESS_KEY: &[u8] = b"scrub/progress";
const PLACES_KEY: &[u8] = b"scrub/damage";

/// How often the position is written down: what a crash has a scrub repeat.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// A pause shorter than this is put off; a longer one is made of such that end soon when the store is closed.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// How long, at a time and how often, a scrub waits for writers who are being slowed down.
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

/// Locked for moments only, after any other lock.
struct State {
    progress: Progress,
    places: Places,
    /// To be looked at.
    suspects: BTreeSet<ScrubFile>,
    /// Were suspects in this opening.
    suspected: BTreeSet<ScrubFile>,
    /// It is known whom all places touch.
    traced: bool,
    /// Something is not in the manifest yet, and when that was written last.
    unsaved: bool,
    places_unsaved: bool,
    saved_at: Duration,
}

impl State {
    fn load(records: &ManifestState) -> Self {
        let record = |key: &[u8]| records.records.get(key);
        let progress = record(PROGRESS_KEY).map(|bytes| Progress::decode(bytes));
        let places = record(PLACES_KEY).map(|bytes| Places::decode(bytes));
        if progress == Some(None) || places == Some(None) {
            tracing::warn!("another version has left scrub records that make no sense here; scrubs start anew");
        }
        let (progress, places) = (progress.flatten().unwrap_or_default(), places.flatten().unwrap_or_default());
        let traced = places.len() == 0;
        Self {
            progress,
            places,
            suspects: BTreeSet::new(),
            suspected: BTreeSet::new(),
            traced,
            unsaved: false,
            places_unsaved: false,
            saved_at: Duration::ZERO,
        }
    }

    fn note(&mut self, change: Change) {
        if change != Change::default() {
            self.progress.gone += change.gone as u64;
            self.traced &= change.new == 0;
            self.unsaved = true;
            self.places_unsaved = true;
        }
    }
}

/// What there is to do.
enum Task {
    Suspect(ScrubFile),
    Trace,
    Pass(Pass),
}

/// A pass under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrubPass {
    /// When it began, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// Bytes verified.
    pub bytes_done: u64,
    /// Bytes to verify in all, as far as that is known now.
    pub bytes_total: u64,
}

/// How scrubs are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrubSettings {
    /// Bytes read in a second at most, at least [`SCRUB_RATE_MIN`].
    pub rate_bytes: u64,
    /// How often the layer above should begin a pass; `None`: never by itself.
    pub every: Option<Duration>,
}

/// What decides whether a pass is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrubSchedule {
    /// How often, if at all.
    pub every: Option<Duration>,
    /// When the last pass ended, or else the store was made, in milliseconds since the Unix epoch.
    pub last_ms: u64,
    /// One is under way or paused.
    pub under_way: bool,
}

/// A place that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScrubDamage {
    /// The file, relative to the data directory.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What does not hold.
    pub what: &'static str,
    /// When it was found, in milliseconds since the Unix epoch.
    pub found_ms: u64,
    /// Whom it touches; `None` if that is not known yet.
    pub touched: Option<Touched>,
}

/// Where scrubs stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScrubStatus {
    /// How they are done.
    pub settings: ScrubSettings,
    /// A pass waits to be resumed, and none begins.
    pub paused: bool,
    /// The pass under way, paused or not.
    pub pass: Option<ScrubPass>,
    /// When the last pass ended that went to its end, in milliseconds since the Unix epoch.
    pub completed_ms: Option<u64>,
    /// Damage that is known: at most 256 places.
    pub damages: Vec<ScrubDamage>,
    /// Places the last pass found beside these.
    pub damages_left_out: u64,
    /// Places that a later look found gone, ever.
    pub damages_gone: u64,
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

    fn settings(&self) -> ScrubSettings {
        let progress = &self.state.lock().progress;
        ScrubSettings { rate_bytes: progress.rate_bytes, every: progress.every }
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

    pub(super) fn scrub_schedule(&self) -> ScrubSchedule {
        let created_ms = self.meta.lock().created_ms();
        let progress = &self.scrub.state.lock().progress;
        ScrubSchedule {
            every: progress.every,
            last_ms: progress.completed_ms.unwrap_or(created_ms),
            under_way: progress.pass.is_some() || progress.paused,
        }
    }

    pub(super) fn scrub_status(&self) -> ScrubStatus {
        let settings = self.scrub.settings();
        let under_way = self.scrub.state.lock().progress.pass;
        let pass = under_way.map(|pass| {
            let left = self.bytes_left(&pass);
            let in_file = self.scrub.in_file.load(Ordering::Relaxed).min(left);
            ScrubPass {
                began_ms: pass.began_ms,
                bytes_done: pass.bytes_done + in_file,
                bytes_total: pass.bytes_done + left,
            }
        });
        let state = self.scrub.state.lock();
        let damage = |place: &place::Place| ScrubDamage {
            file: place.file.path(),
            offset: place.offset,
            what: place.kind.text(),
            found_ms: place.found_ms,
            touched: place.touched.clone(),
        };
        ScrubStatus {
            settings,
            paused: state.progress.paused,
            pass,
            completed_ms: state.progress.completed_ms,
            damages: state.places.iter().map(damage).collect(),
            damages_left_out: state.places.left_out,
            damages_gone: state.progress.gone,
        }
    }

    /// How many damaged places are known, and how many are gone.
    pub(super) fn scrub_counts(&self) -> (u64, u64) {
        let state = self.scrub.state.lock();
        (state.places.len() as u64 + state.places.left_out, state.progress.gone)
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
        self.scrub_file(file, &mut |bytes| self.pace_scrub(bytes))?;
        self.scrub.state.lock().suspects.remove(&file);
        self.save_scrub()
    }

    /// A read met damage: the file is looked at soon, once in an opening.
    pub(super) fn suspect(&self, error: &Error) {
        let (Error::Corrupt { file, .. } | Error::Io { file, action: "reading" | "opening", .. }) = error else {
            return;
        };
        if let Some(file) = ScrubFile::at(file) {
            self.suspect_file(file);
        }
    }

    fn suspect_segment(&self, id: SegmentId) {
        self.suspect_file(ScrubFile::Segment(id));
    }

    fn suspect_file(&self, file: ScrubFile) {
        let mut state = self.scrub.state.lock();
        if !self.read_only && state.suspected.len() < SUSPECTS_MAX && state.suspected.insert(file) {
            state.suspects.insert(file);
            drop(state);
            self.background.wake();
        }
    }

    /// Takes `bytes` of the rate and waits for them, longer while writers are slowed down.
    fn pace_scrub(&self, bytes: u64) -> Result<()> {
        let mut left = self.scrub.bucket.lock().take(bytes, self.clock.monotonic());
        loop {
            self.refuse_if_poisoned()?;
            if self.background.is_stopping() {
                return Err(Error::Closed);
            }
            if left < PAUSE_MIN {
                break;
            }
            let pause = left.min(PAUSE_MAX);
            self.clock.sleep(pause);
            left -= pause;
        }
        if self.background.mode == BackgroundMode::Threads {
            let mut times = 0;
            while self.pace.is_pressed() && times < GIVE_WAY_TIMES && !self.background.is_stopping() {
                self.clock.sleep(GIVE_WAY);
                times += 1;
            }
        }
        Ok(())
    }

    fn save_scrub_now_and_then(&self) -> Result<()> {
        let now = self.clock.monotonic();
        let mut state = self.scrub.state.lock();
        let is_time = state.places_unsaved || now.saturating_sub(state.saved_at) >= SAVE_EVERY;
        state.unsaved = true;
        drop(state);
        if is_time { self.save_scrub() } else { Ok(()) }
    }

    /// Writes down what is not in the manifest yet. Without room for it that is put off: what is lost is verified again.
    pub(super) fn save_scrub(&self) -> Result<()> {
        let mut meta = self.meta.lock();
        let mut state = self.scrub.state.lock();
        if !std::mem::take(&mut state.unsaved) {
            return Ok(());
        }
        let places_unsaved = std::mem::take(&mut state.places_unsaved);
        state.saved_at = self.clock.monotonic();
        let mut edits = vec![Edit::SetRecord(PROGRESS_KEY.to_vec(), Some(state.progress.encode()))];
        if places_unsaved {
            edits.push(Edit::SetRecord(PLACES_KEY.to_vec(), Some(state.places.encode())));
        }
        drop(state);
        let committed = self.commit(&mut meta, edits);
        if committed.is_err() {
            let mut state = self.scrub.state.lock();
            state.unsaved = true;
            state.places_unsaved |= places_unsaved;
        }
        match committed {
            Err(Error::OutOfSpace) => {
                tracing::debug!("no room to remember how far the scrub has come");
                Ok(())
            }
            other => other,
        }
    }

    /// At a clean end: the next opening goes on where this one stops.
    pub(super) fn leave_scrub(&self) {
        if self.is_stopped() {
            return;
        }
        if let Err(error) = self.save_scrub() {
            tracing::warn!(error = %chain(&error), "how far the scrub has come is not remembered");
        }
    }
}
