//! Files in memory, for unit tests: just enough of a [`Device`], with direct files that insist on alignment.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::device::{Access, DIRECT_ALIGNMENT, Device, File, Lock, LockMode, ReadQueue, Space};

/// What reads of direct files must be aligned to here: less than writes, as on most disks.
const READ_ALIGNMENT: usize = 512;

#[derive(Default)]
pub(crate) struct TestDevice {
    files: Mutex<BTreeMap<String, Arc<TestFile>>>,
    /// Files created from now on get half of what they are to allocate, and an error.
    pub(crate) is_full: AtomicBool,
    /// Reads of all files so far.
    pub(crate) reads: Arc<AtomicU64>,
}

pub(crate) struct TestFile {
    bytes: RwLock<Vec<u8>>,
    direct: bool,
    is_disk_full: bool,
    synced: AtomicU64,
    unreadable: Mutex<Option<std::ops::Range<u64>>>,
    reads: Arc<AtomicU64>,
}

impl TestDevice {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(crate) fn file(&self, path: &str) -> Arc<TestFile> {
        self.files.lock()[path].clone()
    }
}

impl TestFile {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.read().clone()
    }

    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Vec<u8>)) {
        edit(&mut self.bytes.write());
    }

    pub(crate) fn fail_reads_of(&self, range: std::ops::Range<u64>) {
        *self.unreadable.lock() = Some(range);
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.synced.load(Ordering::Relaxed)
    }

    fn check(&self, memory: *const u8, len: usize, offset: u64, alignment: usize) {
        let aligned = [memory.addr(), len, offset as usize].iter().all(|number| number.is_multiple_of(alignment));
        assert!(!self.direct || aligned, "direct I/O is aligned to {alignment}");
    }
}

impl File for TestFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.check(buf.as_ptr(), buf.len(), offset, READ_ALIGNMENT);
        self.reads.fetch_add(1, Ordering::Relaxed);
        let end = offset + buf.len() as u64;
        if self.unreadable.lock().as_ref().is_some_and(|bad| bad.start < end && offset < bad.end) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let bytes = self.bytes.read();
        let found = bytes.get(offset as usize..end as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes = self.bytes.write();
        let mut at = offset as usize;
        for buf in bufs {
            self.check(buf.as_ptr(), buf.len(), at as u64, DIRECT_ALIGNMENT);
            let end = at + buf.len();
            let len = bytes.len().max(end);
            bytes.resize(len, 0);
            bytes[at..end].copy_from_slice(buf);
            at = end;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.synced.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut bytes = self.bytes.write();
        bytes.resize(len as usize, 0);
        bytes.shrink_to_fit();
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let given = if self.is_disk_full { len / 2 } else { len };
        let len = self.len()?.max(offset + given) as usize;
        let mut bytes = self.bytes.write();
        // Zeroed by the kernel: most of a segment's 32 MiB is never touched here.
        let mut allocated = vec![0; len];
        allocated[..bytes.len()].copy_from_slice(&bytes);
        *bytes = allocated;
        if self.is_disk_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn alignment(&self) -> usize {
        if self.direct { READ_ALIGNMENT } else { 1 }
    }
}

impl Device for TestDevice {
    fn create_directory(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let mut files = self.files.lock();
        if files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(TestFile {
            bytes: RwLock::default(),
            direct: access == Access::Direct,
            is_disk_full: self.is_full.load(Ordering::Relaxed),
            synced: AtomicU64::new(0),
            unreadable: Mutex::default(),
            reads: self.reads.clone(),
        });
        files.insert(path.to_owned(), file.clone());
        Ok(file)
    }

    fn open(&self, path: &str, _: Access) -> io::Result<Arc<dyn File>> {
        let files = self.files.lock();
        Ok(files.get(path).ok_or(io::ErrorKind::NotFound)?.clone())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.files.lock().remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let files = self.files.lock();
        let names = files.keys().filter_map(|path| path.strip_prefix(directory)?.strip_prefix('/'));
        Ok(names.map(str::to_owned).collect())
    }

    fn sync_directory(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_queue(&self, _: usize) -> io::Result<Box<dyn ReadQueue>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn lock(&self, _: LockMode) -> io::Result<Box<dyn Lock>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
