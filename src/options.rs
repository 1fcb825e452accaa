//! How a store is made and opened.

use std::path::Path;

use blockdev::lsm_store::store::MEMORY_BYTES_DEFAULT;

use crate::Store;
#[cfg(feature = "connect")]
use crate::backend::connected;
use crate::backend::embedded;
use crate::error::{Cause, Result};

/// How a store is made and opened, in the manner of [`std::fs::OpenOptions`].
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("siltstone-options-{}", std::process::id()));
/// let store = siltstone::Options::new().memory_bytes(128 << 20).open_or_create(&dir)?;
/// store.close()?;
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok::<(), siltstone::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    pub(crate) memory_bytes: u64,
    pub(crate) capacity_bytes: Option<u64>,
    pub(crate) read_only: bool,
    pub(crate) duties: bool,
    pub(crate) large_frames: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY_BYTES_DEFAULT,
            capacity_bytes: None,
            read_only: false,
            duties: false,
            large_frames: false,
        }
    }
}

impl Options {
    /// 1 GiB of memory, space that grows on demand, reading and writing, no duties, frames of 16 KiB.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bounds the memory that the store takes: at least 128 MiB. About a quarter holds what was written and not yet flushed, the
    /// rest are caches and the fingerprint index.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Allocates so much disk space for a store that is made; `None` lets it grow on demand. A store that exists keeps what it has.
    #[must_use]
    pub fn capacity_bytes(mut self, bytes: Option<u64>) -> Self {
        self.capacity_bytes = bytes;
        self
    }

    /// Opens for reading only: nothing on disk changes, and any number of processes may do so at once.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Has the store do by itself what a daemon does by the clock: scrub every 30 days, follow the snapshot schedules of
    /// volumes, and empty the trash of what has expired. Without it none of these happens while the store is open.
    #[must_use]
    pub fn duties(mut self, duties: bool) -> Self {
        self.duties = duties;
        self
    }

    /// Compresses what is written to volumes and objects with zstd in frames of 64 KiB in place of 16, where it is adjacent: 2 to 3 % less room
    /// for data such as programs and documents. A random read of 4 KiB decodes a whole frame then, so this is for what is read in
    /// sequence, such as backups. It holds while the store is open here; what is stored stays readable by all.
    #[must_use]
    pub fn large_frames(mut self, large: bool) -> Self {
        self.large_frames = large;
        self
    }

    /// Makes a store in `dir`, which is made too if need be, and opens it.
    ///
    /// # Errors
    /// [`Exists`](crate::ErrorKind::Exists) if there is a store; else those of [`Options::open`].
    pub fn create(&self, dir: impl AsRef<Path>) -> Result<Store> {
        embedded::create(dir.as_ref(), self)?;
        self.open(dir)
    }

    /// Opens the store in `dir`, and replays its journal.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none. [`Busy`](crate::ErrorKind::Busy) if another process has it:
    /// `Store::connect` reaches it through its daemon. [`Unsupported`](crate::ErrorKind::Unsupported) if a newer version wrote it;
    /// nothing has changed then. [`Corrupt`](crate::ErrorKind::Corrupt) if something that had been flushed is damaged.
    /// [`Invalid`](crate::ErrorKind::Invalid) for too little memory. [`OutOfSpace`](crate::ErrorKind::OutOfSpace),
    /// [`Io`](crate::ErrorKind::Io).
    pub fn open(&self, dir: impl AsRef<Path>) -> Result<Store> {
        Ok(Store::over(embedded::open(dir.as_ref(), self)?))
    }

    /// Opens the store in `dir`; makes it first if there is none.
    ///
    /// # Errors
    /// Those of [`Options::open`].
    pub fn open_or_create(&self, dir: impl AsRef<Path>) -> Result<Store> {
        match embedded::open(dir.as_ref(), self) {
            Err(Cause::NoStore(_)) if !self.read_only => {}
            opened => return Ok(Store::over(opened?)),
        }
        match embedded::create(dir.as_ref(), self) {
            // Somebody else was quicker, or is at it: opening tells.
            Err(Cause::StoreExists(_) | Cause::InUse(_)) => {}
            created => created?,
        }
        self.open(dir)
    }

    /// Connects to the daemon that serves `dir`, whose memory, access and duties are its own; opens the store if none does. So a
    /// tool works whether a daemon runs or not.
    ///
    /// # Errors
    /// Those of [`Options::open`] and of [`Store::connect`]. [`Busy`](crate::ErrorKind::Busy) if another process has the store and
    /// answers no calls; a daemon that is just starting is one.
    #[cfg(feature = "connect")]
    pub fn connect_or_open(&self, dir: impl AsRef<Path>) -> Result<Store> {
        match connected::connect(dir.as_ref()) {
            Err(Cause::NoDaemon { .. }) => {}
            connected => return Ok(Store::over(connected?)),
        }
        match embedded::open(dir.as_ref(), self) {
            // A daemon may have come in between.
            Err(in_use @ Cause::InUse(_)) => Ok(Store::over(connected::connect(dir.as_ref()).map_err(|_| in_use)?)),
            opened => Ok(Store::over(opened?)),
        }
    }
}
