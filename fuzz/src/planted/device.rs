//! A device between the store and its real one that leaves out or spoils what the store asked for.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lsm_store::device::{Access, Device, File, Lock, LockMode, ReadQueue, Space};

use crate::full::RESERVE_BYTES;

/// What goes wrong. `below` is the start of the paths it goes wrong for: a directory, or a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// Syncs of files do nothing, as if they had been forgotten.
    SkipSync {
        /// Start of the paths.
        below: &'static str,
    },
    /// Syncs of directories do nothing.
    SkipDirectorySync {
        /// Start of the directories' paths.
        below: &'static str,
    },
    /// Every n-th write is acknowledged and dropped.
    LoseWrite {
        /// Start of the paths.
        below: &'static str,
        /// Which of them.
        every: u64,
    },
    /// Of every n-th write the last sector is missing.
    CutWrite {
        /// Start of the paths.
        below: &'static str,
        /// Which of them.
        every: u64,
    },
    /// Every n-th write goes one block further.
    MisplaceWrite {
        /// Start of the paths.
        below: &'static str,
        /// Which of them.
        every: u64,
    },
    /// Failed syncs are tried once more, which seems to succeed: what every program did before 2018.
    RetrySync,
    /// Failed writes are ignored.
    IgnoreWriteErrors,
    /// Failed syncs are ignored.
    IgnoreSyncErrors,
    /// Failed syncs of directories are ignored.
    IgnoreDirectorySyncErrors,
    /// Failed reads give zeros.
    ZerosForFailedReads,
    /// A file that was removed keeps its name: nothing is ever freed.
    KeepRemoved,
    /// Renames are left out.
    SkipRename,
    /// More room is reported than there is, as much as the store should keep in reserve.
    HideReserve,
}

/// A lie, and whether it is told at the moment.
#[derive(Clone)]
struct Told {
    lie: Lie,
    at_work: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
}

impl Told {
    fn now(&self) -> Option<Lie> {
        self.at_work.load(Ordering::Relaxed).then_some(self.lie)
    }

    fn is_nth(&self, every: u64) -> bool {
        self.writes.fetch_add(1, Ordering::Relaxed) % every == every - 1
    }
}

/// A device that lies.
pub struct LyingDevice {
    inner: Arc<dyn Device>,
    told: Told,
}

impl LyingDevice {
    /// Puts a lie in front of a device.
    #[must_use]
    pub fn new(inner: Arc<dyn Device>, lie: Lie) -> Self {
        Self::told_while(inner, lie, Arc::new(AtomicBool::new(true)))
    }

    /// Puts a lie in front of a device that is told only while `at_work` is set.
    #[must_use]
    pub fn told_while(inner: Arc<dyn Device>, lie: Lie, at_work: Arc<AtomicBool>) -> Self {
        Self { inner, told: Told { lie, at_work, writes: Arc::default() } }
    }

    fn wrap(&self, path: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(LyingFile { inner: file, path: path.to_owned(), told: self.told.clone() })
    }
}

impl Device for LyingDevice {
    fn create_directory(&self, path: &str) -> io::Result<()> {
        self.inner.create_directory(path)
    }

    fn create(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.inner.create(path, access).map(|file| self.wrap(path, file))
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.inner.open(path, access).map(|file| self.wrap(path, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if self.told.now() == Some(Lie::SkipRename) { Ok(()) } else { self.inner.rename(from, to) }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        if self.told.now() == Some(Lie::KeepRemoved) { Ok(()) } else { self.inner.remove(path) }
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.inner.list(directory)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        match self.told.now() {
            Some(Lie::SkipDirectorySync { below }) if directory.starts_with(below) => Ok(()),
            Some(Lie::IgnoreDirectorySyncErrors) => self.inner.sync_directory(directory).or(Ok(())),
            _ => self.inner.sync_directory(directory),
        }
    }

    fn space(&self) -> io::Result<Space> {
        let mut space = self.inner.space()?;
        if self.told.now() == Some(Lie::HideReserve) {
            space.available_bytes = (space.available_bytes + RESERVE_BYTES).min(space.total_bytes);
        }
        Ok(space)
    }

    fn read_queue(&self, depth: usize) -> io::Result<Box<dyn ReadQueue>> {
        self.inner.read_queue(depth)
    }

    fn lock(&self, mode: LockMode) -> io::Result<Box<dyn Lock>> {
        self.inner.lock(mode)
    }
}

struct LyingFile {
    inner: Arc<dyn File>,
    path: String,
    told: Told,
}

impl LyingFile {
    fn is_nth(&self, below: &str, every: u64) -> bool {
        self.path.starts_with(below) && self.told.is_nth(every)
    }
}

impl File for LyingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let result = self.inner.read_at(buf, offset);
        if self.told.now() == Some(Lie::ZerosForFailedReads) && result.is_err() {
            buf.fill(0);
            return Ok(());
        }
        result
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        match self.told.now() {
            Some(Lie::LoseWrite { below, every }) if self.is_nth(below, every) => Ok(()),
            Some(Lie::MisplaceWrite { below, every }) if self.is_nth(below, every) => {
                self.inner.write_at(bufs, offset + 4096)
            }
            Some(Lie::CutWrite { below, every }) if self.is_nth(below, every) => {
                let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
                let kept = bytes.len().saturating_sub(1) / 512 * 512;
                self.inner.write_at(&[IoSlice::new(&bytes[..kept])], offset)
            }
            Some(Lie::IgnoreWriteErrors) => self.inner.write_at(bufs, offset).or(Ok(())),
            _ => self.inner.write_at(bufs, offset),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.told.now() {
            Some(Lie::SkipSync { below }) if self.path.starts_with(below) => Ok(()),
            Some(Lie::RetrySync) => self.inner.sync_data().or_else(|_| self.inner.sync_data()),
            Some(Lie::IgnoreSyncErrors) => self.inner.sync_data().or(Ok(())),
            _ => self.inner.sync_data(),
        }
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.allocate(offset, len)
    }

    fn alignment(&self) -> usize {
        self.inner.alignment()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.fd()
    }
}
