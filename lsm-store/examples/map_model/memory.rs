//! A device in memory that counts what is written to it.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_store::device::{Access, Device, File, Lock, LockMode, ReadQueue, Space};
use parking_lot::{Mutex, RwLock};

#[derive(Default)]
pub(crate) struct MemoryDevice {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
    written: Arc<AtomicU64>,
}

struct MemoryFile {
    bytes: RwLock<Vec<u8>>,
    written: Arc<AtomicU64>,
}

impl MemoryDevice {
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Device for MemoryDevice {
    fn create_directory(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &str, _: Access) -> io::Result<Arc<dyn File>> {
        let file = Arc::new(MemoryFile { bytes: RwLock::default(), written: self.written.clone() });
        self.files.lock().insert(path.to_owned(), file.clone());
        Ok(file)
    }

    fn open(&self, path: &str, _: Access) -> io::Result<Arc<dyn File>> {
        Ok(self.files.lock().get(path).cloned().ok_or(io::ErrorKind::NotFound)?)
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        unsupported()
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.files.lock().remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &str) -> io::Result<Vec<String>> {
        unsupported()
    }

    fn sync_directory(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        unsupported()
    }

    fn read_queue(&self, _: usize) -> io::Result<Box<dyn ReadQueue>> {
        unsupported()
    }

    fn lock(&self, _: LockMode) -> io::Result<Box<dyn Lock>> {
        unsupported()
    }
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.bytes.read();
        let at = offset as usize;
        buf.copy_from_slice(bytes.get(at..at + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes = self.bytes.write();
        assert_eq!(bytes.len() as u64, offset, "runs are appended to");
        for buf in bufs {
            bytes.extend_from_slice(buf);
            self.written.fetch_add(buf.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unsupported()
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        unsupported()
    }

    fn alignment(&self) -> usize {
        4096
    }
}
