//! A device that calls a test before each read and write: the way to do something at exactly that moment.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::SimDevice;
use crate::device::{Access, Device, File, Lock, LockMode, ReadQueue, Space};

/// Hears the path and the length in bytes of every write, before it is made; of a read, the path is preceded by `read:`, of
/// what the device is to begin with, by `begin:`. Being asked for space is `space`.
pub(super) type Hook = Arc<dyn Fn(&str, usize) + Send + Sync>;

pub(super) struct HookedDevice {
    pub(super) below: SimDevice,
    pub(super) hook: Hook,
}

struct HookedFile {
    below: Arc<dyn File>,
    path: String,
    hook: Hook,
}

impl HookedDevice {
    fn hooked(&self, path: &str, below: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(HookedFile { below, path: path.to_owned(), hook: Arc::clone(&self.hook) })
    }
}

impl Device for HookedDevice {
    fn create_directory(&self, path: &str) -> io::Result<()> {
        self.below.create_directory(path)
    }

    fn create(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        Ok(self.hooked(path, self.below.create(path, access)?))
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        Ok(self.hooked(path, self.below.open(path, access)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.below.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.below.remove(path)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.below.list(directory)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        self.below.sync_directory(directory)
    }

    fn space(&self) -> io::Result<Space> {
        (self.hook)("space", 0);
        self.below.space()
    }

    fn read_queue(&self, depth: usize) -> io::Result<Box<dyn ReadQueue>> {
        self.below.read_queue(depth)
    }

    fn lock(&self, mode: LockMode) -> io::Result<Box<dyn Lock>> {
        self.below.lock(mode)
    }
}

impl File for HookedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (self.hook)(&format!("read:{}", self.path), buf.len());
        self.below.read_at(buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        (self.hook)(&self.path, bufs.iter().map(|part| part.len()).sum());
        self.below.write_at(bufs, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.below.sync_data()
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        (self.hook)(&format!("begin:{}", self.path), len as usize);
        self.below.start_writeback(offset, len);
    }

    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.below.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.below.allocate(offset, len)
    }

    fn alignment(&self) -> usize {
        self.below.alignment()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.below.fd()
    }
}
