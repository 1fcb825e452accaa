//! A device over a real directory of a Linux file system.
//!
//! Every path is resolved relative to a directory that is held open, without following symbolic links below the top, so
//! nothing outside the directory is ever touched. A read-only device creates and writes nothing.

mod file;
mod lock;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::pool::{PoolQueue, ReadPool};
use super::uring::{self, UringQueue};
use super::{Access, AccessMode, Device, File, Lock, LockMode, ReadQueue, Space, path};
use file::DirectoryFile;

/// How a [`DirectoryDevice`] carries out the reads of its queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadEngine {
    /// io_uring if the kernel (or the container around us) allows it, else the pool. Found out once per device.
    #[default]
    Probe,
    /// io_uring, or an error where it is not available.
    Uring,
    /// A pool of threads that block in `pread`.
    Pool,
}

/// The files below one directory.
pub struct DirectoryDevice {
    top: Arc<OwnedFd>,
    directories: RwLock<FxHashMap<String, Arc<OwnedFd>>>,
    access_mode: AccessMode,
    engine: ReadEngine,
    probed_engine: OnceLock<ReadEngine>,
    pool: OnceLock<Arc<ReadPool>>,
}

impl DirectoryDevice {
    /// Opens an existing directory, with the best read engine there is.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] or [`io::ErrorKind::NotADirectory`] if there is no such directory.
    pub fn open(path: &Path, access_mode: AccessMode) -> io::Result<Self> {
        Self::open_with(path, access_mode, ReadEngine::Probe)
    }

    /// Opens an existing directory with a chosen read engine.
    ///
    /// # Errors
    /// Those of [`DirectoryDevice::open`]. A missing io_uring shows when a queue is asked for.
    pub fn open_with(path: &Path, access_mode: AccessMode, engine: ReadEngine) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
        Ok(Self {
            top: Arc::new(top),
            directories: RwLock::default(),
            access_mode,
            engine,
            probed_engine: OnceLock::new(),
            pool: OnceLock::new(),
        })
    }

    /// The engine in use: never [`ReadEngine::Probe`].
    #[must_use]
    pub fn read_engine(&self) -> ReadEngine {
        if self.engine != ReadEngine::Probe {
            return self.engine;
        }
        *self.probed_engine.get_or_init(|| match uring::probe() {
            Ok(()) => ReadEngine::Uring,
            Err(error) => {
                tracing::info!(%error, "io_uring is not available: reading by a pool of threads");
                ReadEngine::Pool
            }
        })
    }

    fn directory(&self, path: &str) -> io::Result<Arc<OwnedFd>> {
        if path.is_empty() {
            return Ok(Arc::clone(&self.top));
        }
        if let Some(directory) = self.directories.read().get(path) {
            return Ok(Arc::clone(directory));
        }
        path::check_directory(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = retry_on_intr(|| rustix::fs::openat(&self.top, path, flags, Mode::empty()))?;
        let opened = Arc::new(opened);
        self.directories.write().insert(path.to_owned(), Arc::clone(&opened));
        Ok(opened)
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.access_mode {
            AccessMode::ReadWrite => Ok(()),
            AccessMode::ReadOnly => Err(Errno::ROFS.into()),
        }
    }

    fn open_file(&self, path: &str, access: Access, how: OFlags) -> io::Result<Arc<dyn File>> {
        let (directory, name) = path::split(path)?;
        let directory = self.directory(directory)?;
        let flags = how | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| rustix::fs::openat(&directory, name, flags, Mode::RUSR | Mode::WUSR))?;
        Ok(Arc::new(DirectoryFile::new(fd, access, self.access_mode)?))
    }
}

impl Device for DirectoryDevice {
    fn create_directory(&self, path: &str) -> io::Result<()> {
        self.check_writable()?;
        path::check_directory(path)?;
        match rustix::fs::mkdirat(&self.top, path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        // An existing directory may have been made by a process that died before its sync.
        self.directory(path)?;
        self.sync_directory("")
    }

    fn create(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.check_writable()?;
        self.open_file(path, access, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let how = match self.access_mode {
            AccessMode::ReadWrite => OFlags::RDWR,
            AccessMode::ReadOnly => OFlags::RDONLY,
        };
        self.open_file(path, access, how)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_writable()?;
        let (from_directory, from_name) = path::split(from)?;
        let (to_directory, to_name) = path::split(to)?;
        let (from_directory, to_directory) = (self.directory(from_directory)?, self.directory(to_directory)?);
        Ok(rustix::fs::renameat(&from_directory, from_name, &to_directory, to_name)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.check_writable()?;
        let (directory, name) = path::split(path)?;
        Ok(rustix::fs::unlinkat(self.directory(directory)?, name, AtFlags::empty())?)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let fd = self.directory(directory)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            // The store's names are ASCII: others are not its files.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if is_file(&fd, name, entry.file_type())? && !(directory.is_empty() && name == path::LOCK_NAME) {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        self.check_writable()?;
        let directory = self.directory(directory)?;
        Ok(retry_on_intr(|| rustix::fs::fsync(&directory))?)
    }

    fn space(&self) -> io::Result<Space> {
        let status = rustix::fs::fstatvfs(&self.top)?;
        Ok(Space {
            total_bytes: status.f_blocks.saturating_mul(status.f_frsize),
            available_bytes: status.f_bavail.saturating_mul(status.f_frsize),
        })
    }

    fn read_queue(&self, depth: usize) -> io::Result<Box<dyn ReadQueue>> {
        match self.read_engine() {
            ReadEngine::Uring => Ok(Box::new(UringQueue::new(depth)?)),
            ReadEngine::Probe | ReadEngine::Pool => {
                let pool = self.pool.get_or_init(|| Arc::new(ReadPool::new()));
                Ok(Box::new(PoolQueue::new(Arc::clone(pool), depth)?))
            }
        }
    }

    fn lock(&self, mode: LockMode) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(lock::take(&self.top, mode, self.access_mode)?))
    }
}

/// Some file systems do not say in a listing what an entry is.
fn is_file(directory: &OwnedFd, name: &str, listed: FileType) -> io::Result<bool> {
    if listed != FileType::Unknown {
        return Ok(listed == FileType::RegularFile);
    }
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(FileType::from_raw_mode(status.st_mode) == FileType::RegularFile),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
