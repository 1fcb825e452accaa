//! Work behind the writers' backs: flush jobs, compaction, preparing journal files, marks, collection, scrubs.
//!
//! The work is the same whoever does it: threads in a daemon, or the caller of [`Inner::step`] in a simulation, where
//! everything must happen in one thread and in an order that can be repeated.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::inner::{Inner, chain};
use super::space::Claims;
use super::volume::VolumeState;
use crate::error::{Error, Result};

/// How long a thread sleeps when nothing wakes it. Also how soon an idle journal is marked.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// How long a writer waits for memory before it asks again whether there is still space for what it brings.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// So often at most that is repeated for a change that needs no space: whatever keeps flush jobs from their work, it may
/// end by what is trimmed.
const MEMORY_WAITS_MAX: u32 = 10;

/// How long a write that finds no room waits for a collection that is due, at a time and how often: who writes over what is
/// there should be slowed down, not refused.
const COLLECTION_WAIT: Duration = Duration::from_millis(10);
const COLLECTION_WAITS_MAX: u32 = 1000;

/// How long a flush job waits for space before it looks again.
const SPACE_WAIT: Duration = Duration::from_millis(250);

/// How long the threads wait when the machine is short of something else.
const SHORTAGE_WAIT: Duration = Duration::from_secs(1);

/// Journal files kept prepared.
pub(super) const READY_FILES: usize = 2;

/// Who does the background work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BackgroundMode {
    /// Threads of the store.
    #[default]
    Threads,
    /// Nobody but the callers of [`super::Store::step`], and writers that would otherwise wait for ever.
    Manual,
}

/// The bell of the background threads.
pub(super) struct Background {
    pub(super) mode: BackgroundMode,
    state: Mutex<Bell>,
    ringing: Condvar,
}

#[derive(Default)]
struct Bell {
    rung: u64,
    stopping: bool,
}

impl Background {
    pub(super) fn new(mode: BackgroundMode) -> Self {
        Self { mode, state: Mutex::default(), ringing: Condvar::new() }
    }

    /// Tells the threads that there is work.
    pub(super) fn wake(&self) {
        self.state.lock().rung += 1;
        self.ringing.notify_all();
    }

    /// Tells the threads to end.
    pub(super) fn stop(&self) {
        self.state.lock().stopping = true;
        self.ringing.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }

    /// Waits until the bell rings after `seen`, or `timeout` has passed; returns what to wait for next.
    fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let mut state = self.state.lock();
        if state.rung == seen && !state.stopping {
            self.ringing.wait_for(&mut state, timeout);
        }
        state.rung
    }
}

/// Stops the store if the thread that holds it panics: others would wait for its work for ever.
pub(super) struct Fuse<'a>(pub(super) &'a Inner);

impl Drop for Fuse<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison(Error::Panicked);
        }
    }
}

impl Inner {
    /// Starts the background threads.
    pub(super) fn spawn(self: &Arc<Self>) -> Result<Vec<std::thread::JoinHandle<()>>> {
        let spawn = |name: &str, work: fn(&Inner) -> Result<bool>| {
            let inner = Arc::clone(self);
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || inner.work_until_stopped(work))
                .map_err(|error| Error::io("starting", format!("thread {name}"), error))
        };
        self.decode_workers.start(&self.read_payloads);
        Ok(vec![
            spawn("silt-flush", Inner::step_flush)?,
            spawn("silt-compact", Inner::step_upkeep)?,
            spawn("silt-collect", Inner::step_slow)?,
            spawn("silt-scrub", Inner::step_scrub)?,
        ])
    }

    fn work_until_stopped(&self, work: fn(&Self) -> Result<bool>) {
        let _fuse = Fuse(self);
        let mut seen = 0;
        while !self.background.is_stopping() {
            let wait = match work(self) {
                Ok(true) => continue,
                Ok(false) => IDLE_WAIT,
                Err(Error::OutOfSpace) => SPACE_WAIT,
                Err(error) if error.is_shortage() => {
                    let why =
                        "the machine is short of open files or memory; raise the limit of open files if this goes on";
                    tracing::warn!(error = %chain(&error), "{why}");
                    SHORTAGE_WAIT
                }
                Err(Error::Poisoned(_) | Error::Closed) => return,
                Err(error) => {
                    self.poison(error);
                    return;
                }
            };
            seen = self.background.wait(seen, wait);
        }
    }

    /// Flushes the oldest frozen memtable, if there is one.
    fn step_flush(&self) -> Result<bool> {
        self.refuse_if_poisoned()?;
        self.flush_oldest()
    }

    /// Everything else, most urgent first.
    fn step_upkeep(&self) -> Result<bool> {
        self.refuse_if_poisoned()?;
        self.note_room();
        let mut unprepared = None;
        if self.generations.is_short(READY_FILES) {
            match self.prepare_generation().map_err(|error| self.poison_unless_full(error)) {
                Ok(()) => return Ok(true),
                // The rest needs less room, and a merge may even give some back.
                Err(Error::OutOfSpace) => unprepared = Some(Error::OutOfSpace),
                Err(error) => return Err(error),
            }
        }
        if self.fill_generation().map_err(|error| self.poison_unless_full(error))? {
            return Ok(true);
        }
        let worked = self.compact_once()? || self.rebuild_index_once()? || self.mark_if_idle()?;
        unprepared.filter(|_| !worked).map_or(Ok(worked), Err)
    }

    /// What reads much of the map: a count that a limit waits for, a batch of collection, or if none is due, of packing.
    fn step_slow(&self) -> Result<bool> {
        self.refuse_if_poisoned()?;
        Ok(self.count_one()? || self.step_collect()? || self.step_cold()?)
    }

    /// One unit of background work; `false` if there is none.
    pub(super) fn step(&self) -> Result<bool> {
        if self.read_only {
            return Ok(false);
        }
        let worked = self.step_flush().and_then(|flushed| if flushed { Ok(true) } else { self.step_upkeep() });
        match worked {
            Ok(true) => Ok(true),
            Ok(false) => self.step_slow(),
            Err(Error::OutOfSpace) if self.count_one()? || self.step_collect()? => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Stops the store unless the error passes by itself and has left nothing behind: a full disk, or a shortage of open files
    /// or memory.
    pub(super) fn poison_unless_full(&self, error: Error) -> Error {
        match error {
            error if error.is_shortage() => error,
            Error::OutOfSpace | Error::Poisoned(_) | Error::Closed => error,
            error => self.poison(error),
        }
    }

    /// Back-pressure at the door: waits or is delayed until there is memory for a change of `payload_bytes`, and refuses
    /// it if it could not be flushed for want of space.
    ///
    /// On success `bytes` of memory are held, to be released by the flush job or, if nothing was placed, by the caller.
    pub(super) fn admit(&self, volume: &VolumeState, payload_bytes: u64, bytes: u64) -> Result<()> {
        self.refuse_if_poisoned()?;
        self.collector.cold.note_request();
        if payload_bytes == 0 {
            return self.admit_without_data(bytes);
        }
        let mut waits = 0;
        loop {
            match self.try_admit(volume, bytes) {
                Err(Error::OutOfSpace) if self.give_up_surplus()? => continue,
                // What others have reserved may be less than is known.
                Err(Error::OutOfSpace) if self.count_one()? => continue,
                Err(Error::OutOfSpace) if waits < COLLECTION_WAITS_MAX && self.awaits_collection() => {
                    waits += 1;
                    self.background.wake();
                    self.clock.sleep(COLLECTION_WAIT);
                    self.refuse_if_poisoned()?;
                    continue;
                }
                Ok(true) => break,
                Ok(false) => self.relieve(bytes)?,
                Err(error) => return Err(error),
            }
        }
        self.delay(bytes, self.room_delay(bytes));
        Ok(())
    }

    /// Zeroing and trimming go on also when data has to wait for space: they are what makes some. They wait for memory, like
    /// everybody, as long as flush jobs can give it back.
    fn admit_without_data(&self, bytes: u64) -> Result<()> {
        for _ in 0..MEMORY_WAITS_MAX {
            if self.pace.try_hold(bytes) {
                self.delay(bytes, Duration::ZERO);
                return Ok(());
            }
            if !self.has_room_to_flush()? {
                break;
            }
            match self.relieve(bytes) {
                Err(Error::OutOfSpace) => break,
                relieved => relieved?,
            }
        }
        self.pace.hold(bytes);
        Ok(())
    }

    /// Slows down a writer that holds `bytes` more, and owes `more` for other reasons.
    fn delay(&self, bytes: u64, more: Duration) {
        if let Some(pause) = self.pace.pause(bytes, more)
            && self.background.mode == BackgroundMode::Threads
        {
            self.clock.sleep(pause);
        }
    }

    /// Holds `bytes` of memory if there is space for what they are held for; `false` if the memory has to be waited for.
    fn try_admit(&self, volume: &VolumeState, bytes: u64) -> Result<bool> {
        if self.space.take_grant(bytes) {
            return Ok(self.pace.try_hold(bytes));
        }
        let asking = self.space.ask();
        let is_held = self.pace.try_hold(bytes);
        let held = self.pace.held() + if is_held { 0 } else { bytes };
        let claims =
            || Claims { journal: self.generations.missing_bytes(held), reserved: self.reserved_beside(volume) };
        let admitted = self.space.admit(&asking, &*self.device, held, claims);
        if is_held && admitted.is_err() {
            self.pace.give_back(bytes);
        }
        admitted.map(|()| is_held)
    }

    /// Holds memory for replayed records, making room by flushing here and now: nobody else does during recovery.
    ///
    /// Without room for a flush job the budget is exceeded rather than the store left shut: by no more than the journal's
    /// length, which the budget of the opening that wrote it bounds.
    pub(super) fn hold_replayed(&self, bytes: u64) -> Result<()> {
        while self.pace.is_full(bytes) && self.has_room_to_work()? {
            match self.step_flush().and_then(|flushed| if flushed { Ok(()) } else { self.freeze() }) {
                Ok(()) => {}
                Err(Error::OutOfSpace) => break,
                Err(error) => return Err(error),
            }
        }
        self.pace.hold(bytes);
        Ok(())
    }

    fn relieve(&self, bytes: u64) -> Result<()> {
        match self.background.mode {
            BackgroundMode::Threads => {
                self.background.wake();
                self.pace.wait_for_room(bytes, ROOM_WAIT);
                self.refuse_if_poisoned()
            }
            BackgroundMode::Manual => {
                if !self.step_flush()? {
                    self.freeze()?;
                }
                Ok(())
            }
        }
    }
}
