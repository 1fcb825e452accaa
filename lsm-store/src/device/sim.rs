//! A device in memory with every fault a disk can have, for tests and simulation.
//!
//! It keeps what is stable apart from what was merely written, so that the state after a power cut at any moment can be
//! made ([`CrashPoint`], [`Recording`]). Faults follow a script ([`Faults`]). Everything else comes from the seed: one
//! thread that does the same things to a device of the same seed sees the same results in the same order.

mod change;
mod clock;
mod content;
mod crash;
mod disk;
mod fault;
mod file;
mod queue;
mod recording;
mod state;
#[cfg(test)]
mod tests;

pub use clock::VirtualClock;
pub use crash::{CrashChoice, CrashPoint};
pub use fault::{Fault, Faults, OperationKind, Trigger};
pub use recording::Recording;

use std::io;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use rustix::io::Errno;

use self::disk::{Disk, Operation};
use self::file::SimFile;
use self::queue::SimQueue;
use self::state::State;
use super::{Access, AccessMode, DIRECT_ALIGNMENT, Device, File, Lock, LockMode, ReadQueue, Space, path};
use crate::clock::Clock;
use crate::rng::SeededRng;

/// What a simulated device is made of.
#[derive(Clone)]
pub struct SimOptions {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// What goes wrong, counted from the start.
    pub faults: Faults,
    /// Room for files in bytes, each rounded up to 4 KiB, holes included; `None` is without bound.
    pub capacity_bytes: Option<u64>,
    /// What direct reads must be aligned to: a power of two, 512 to [`DIRECT_ALIGNMENT`] on real disks.
    pub read_alignment: usize,
    /// What slow reads take their time from.
    pub clock: Arc<dyn Clock>,
}

impl SimOptions {
    /// A healthy device without bound, with a [`VirtualClock`] of its own and the strictest alignment.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            faults: Faults::none(),
            capacity_bytes: None,
            read_alignment: DIRECT_ALIGNMENT,
            clock: Arc::new(VirtualClock::new()),
        }
    }
}

/// A device in memory. Clones are handles on the same device.
#[derive(Clone)]
pub struct SimDevice {
    shared: Arc<Shared>,
    access_mode: AccessMode,
}

struct Shared {
    state: Mutex<State>,
    rng: SeededRng,
    options: SimOptions,
    /// Threads that do not sleep through slow reads but gather how long they take.
    gathered_delays: Mutex<FxHashMap<ThreadId, Duration>>,
}

impl SimDevice {
    /// An empty device of unbounded capacity.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self::with_options(SimOptions { faults, ..SimOptions::new(seed) })
    }

    /// An empty device.
    #[must_use]
    pub fn with_options(options: SimOptions) -> Self {
        Self::over(Disk::default(), options)
    }

    fn over(disk: Disk, options: SimOptions) -> Self {
        let state = Mutex::new(State::new(disk, options.faults.clone(), options.capacity_bytes));
        let rng = SeededRng::new(options.seed);
        let shared = Shared { state, rng, options, gathered_delays: Mutex::default() };
        Self { shared: Arc::new(shared), access_mode: AccessMode::ReadWrite }
    }

    /// A handle on the same device that may only read.
    #[must_use]
    pub fn read_only(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), access_mode: AccessMode::ReadOnly }
    }

    /// Number of operations of any kind begun so far, failed ones included.
    #[must_use]
    pub fn operation_count(&self) -> u64 {
        self.shared.state.lock().operation_count()
    }

    /// Number of operations of one kind begun so far, failed ones included.
    #[must_use]
    pub fn operation_count_of(&self, kind: OperationKind) -> u64 {
        self.shared.state.lock().operation_count_of(kind)
    }

    /// Adds a fault to the script; its trigger counts from now.
    ///
    /// # Panics
    /// If operations of the trigger's kind cannot suffer the fault.
    pub fn inject(&self, trigger: Trigger, fault: Fault) {
        self.shared.state.lock().faults.add(trigger, fault);
    }

    /// Ends the script: nothing fails any more.
    pub fn clear_faults(&self) {
        self.shared.state.lock().faults.clear();
    }

    /// Changes the capacity; less than is used makes every growth fail. `None` is without bound.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) {
        self.shared.state.lock().capacity_bytes = capacity_bytes;
    }

    /// Bit rot: inverts a bit (0 to 7) of the byte at `offset` where it is at rest. A write to its sector that is still
    /// pending will cover it up again.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such file.
    ///
    /// # Panics
    /// If there is no such bit.
    pub fn flip_bit(&self, path: &str, offset: u64, bit: u8) -> io::Result<()> {
        assert!(bit < 8, "a byte has no bit {bit}");
        let mut state = self.shared.state.lock();
        let file = state.disk.lookup(path).ok_or(io::ErrorKind::NotFound)?;
        state.apply(Operation::FlipBit { file, offset, bit });
        Ok(())
    }

    /// The paths of all files, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.shared.state.lock().disk.paths()
    }

    /// Starts a recording of everything done to the device from now on, in place of an earlier one.
    pub fn record(&self) {
        self.shared.state.lock().start_recording();
    }

    /// The recording so far.
    ///
    /// # Panics
    /// If none was started.
    #[must_use]
    pub fn recording(&self) -> Recording {
        let (start, log) = self.shared.state.lock().recording();
        Recording { start, log, options: self.shared.options.clone() }
    }

    /// Puts a number into the recording, such as how many flushes have been answered.
    pub fn note(&self, note: u64) {
        self.shared.state.lock().apply(Operation::Note(note));
    }

    /// This moment, as one at which the power may fail.
    #[must_use]
    pub fn crash_point(&self) -> CrashPoint {
        let state = self.shared.state.lock();
        let options = SimOptions { capacity_bytes: state.capacity_bytes, ..self.shared.options.clone() };
        CrashPoint::new(state.disk.clone(), options)
    }

    /// A fresh device with what a power cut now leaves. This one goes on.
    #[must_use]
    pub fn crash_image(&self, choice: &CrashChoice) -> Self {
        self.crash_point().image(choice)
    }

    /// A fresh device as the next process finds it after `kill -9`: everything written is there. This one goes on.
    #[must_use]
    pub fn process_death(&self) -> Self {
        self.crash_point().process_death()
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.access_mode {
            AccessMode::ReadWrite => Ok(()),
            AccessMode::ReadOnly => Err(Errno::ROFS.into()),
        }
    }
}

impl Shared {
    /// Spends the time of a slow read.
    fn pause(&self, delay: Duration) {
        let mut gathered = self.gathered_delays.lock();
        if let Some(total) = gathered.get_mut(&thread::current().id()) {
            *total += delay;
            return;
        }
        drop(gathered);
        self.options.clock.sleep(delay);
    }

    /// Runs `read` and returns how long it should have taken, without spending the time.
    fn gather_delay<T>(&self, read: impl FnOnce() -> T) -> (T, Duration) {
        let thread = thread::current().id();
        self.gathered_delays.lock().insert(thread, Duration::ZERO);
        let result = read();
        let delay = self.gathered_delays.lock().remove(&thread).unwrap_or_default();
        (result, delay)
    }
}

impl Device for SimDevice {
    fn create_directory(&self, path: &str) -> io::Result<()> {
        self.check_writable()?;
        path::check_directory(path)?;
        self.shared.state.lock().create_directory(path)
    }

    fn create(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.check_writable()?;
        path::split(path)?;
        let file = self.shared.state.lock().create(path)?;
        Ok(Arc::new(SimFile::new(Arc::clone(&self.shared), file, path, access, self.access_mode)))
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        path::split(path)?;
        let file = self.shared.state.lock().open(path)?;
        Ok(Arc::new(SimFile::new(Arc::clone(&self.shared), file, path, access, self.access_mode)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_writable()?;
        path::split(from)?;
        path::split(to)?;
        self.shared.state.lock().rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.check_writable()?;
        path::split(path)?;
        self.shared.state.lock().remove(path)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.shared.state.lock().list(directory)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        self.check_writable()?;
        self.shared.state.lock().sync_directory(directory)
    }

    fn space(&self) -> io::Result<Space> {
        Ok(self.shared.state.lock().space())
    }

    fn read_queue(&self, depth: usize) -> io::Result<Box<dyn ReadQueue>> {
        Ok(Box::new(SimQueue::new(Arc::clone(&self.shared), depth)))
    }

    fn lock(&self, mode: LockMode) -> io::Result<Box<dyn Lock>> {
        self.shared.state.lock().locks.take(mode)?;
        Ok(Box::new(SimLock { shared: Arc::clone(&self.shared), mode }))
    }
}

struct SimLock {
    shared: Arc<Shared>,
    mode: LockMode,
}

impl Lock for SimLock {}

impl std::fmt::Debug for SimLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimLock({:?})", self.mode)
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.shared.state.lock().locks.release(self.mode);
    }
}
