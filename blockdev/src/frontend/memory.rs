//! Exports in memory: for tests, for benchmarks of a frontend without a store behind it, and as the plainest
//! implementation of [`crate::export`] to read.
//!
//! Nothing is durable, and zeroing costs time by length, unlike in a volume.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lsm_store::device::Wake;
use lsm_store::id::{BLOCK_BYTES, BLOCK_SHIFT, VolumeId};
use lsm_store::read::{Piece, ReadData};
use lsm_store::{Error, Result};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::access::Principal;
use crate::export::{BlockState, Export, Exports, Requests, StatusExtent, Write, Zeroing};

#[cfg(test)]
mod tests;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
enum Block {
    #[default]
    Hole,
    Zero,
    Data(Bytes),
}

impl Block {
    fn state(&self) -> BlockState {
        match self {
            Self::Hole => BlockState::Hole,
            Self::Zero => BlockState::Zero,
            Self::Data(_) => BlockState::Data,
        }
    }

    fn piece(&self, from: usize, len: usize) -> Piece {
        match self {
            Self::Data(bytes) => Piece::Bytes(bytes.slice(from..from + len)),
            _ => Piece::Zeros(len),
        }
    }

    /// Replaces the bytes from `from` on.
    fn patch(&mut self, from: usize, data: &[u8]) {
        if data.len() == BLOCK_BYTES {
            *self = Self::Data(Bytes::copy_from_slice(data));
            return;
        }
        let mut bytes = match self {
            Self::Data(bytes) => bytes.to_vec(),
            _ => vec![0; BLOCK_BYTES],
        };
        bytes[from..from + data.len()].copy_from_slice(data);
        *self = Self::Data(bytes.into());
    }
}

/// A block device in memory; clones are the same device.
#[derive(Clone, Debug)]
pub struct MemoryExport {
    device: Arc<Device>,
}

#[derive(Debug)]
struct Device {
    blocks: Mutex<Vec<Block>>,
    size_bytes: AtomicU64,
    read_only: bool,
    flushes: AtomicU64,
}

impl MemoryExport {
    /// A device of `size_bytes`, all hole.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Self::with_access(size_bytes, false)
    }

    /// A device of `size_bytes`, all hole, that refuses changes.
    #[must_use]
    pub fn read_only(size_bytes: u64) -> Self {
        Self::with_access(size_bytes, true)
    }

    fn with_access(size_bytes: u64, read_only: bool) -> Self {
        let blocks = Mutex::new(vec![Block::Hole; blocks_in(size_bytes)]);
        let device = Device { blocks, size_bytes: size_bytes.into(), read_only, flushes: AtomicU64::new(0) };
        Self { device: Arc::new(device) }
    }

    /// Changes the size; what is cut off is gone, what is added is a hole.
    pub fn resize(&self, size_bytes: u64) {
        let mut blocks = self.device.blocks.lock();
        blocks.resize(blocks_in(size_bytes), Block::Hole);
        self.device.size_bytes.store(size_bytes, Ordering::Relaxed);
    }

    /// How often it was flushed.
    pub fn flush_count(&self) -> u64 {
        self.device.flushes.load(Ordering::Relaxed)
    }

    fn check(&self, offset: u64, len: u64) -> Result<()> {
        let size = self.size_bytes();
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(()),
            _ => Err(Error::BeyondEnd { offset, len, size }),
        }
    }

    fn check_change(&self, offset: u64, len: u64) -> Result<()> {
        if self.device.read_only { Err(Error::ReadOnly) } else { self.check(offset, len) }
    }

    fn read(&self, offset: u64, len: usize) -> Result<ReadData> {
        let blocks = self.device.blocks.lock();
        self.check(offset, len as u64)?;
        let mut data = ReadData::default();
        for (index, from, len) in block_ranges(offset, len as u64) {
            data.push(blocks[index].piece(from, len));
        }
        Ok(data)
    }
}

fn blocks_in(size_bytes: u64) -> usize {
    usize::try_from(size_bytes.div_ceil(BLOCK_BYTES as u64)).expect("the device fits into memory")
}

/// (block, first byte in it, bytes in it) for every block that a range touches.
fn block_ranges(offset: u64, len: u64) -> impl Iterator<Item = (usize, usize, usize)> {
    let end = offset + len;
    let mut at = offset;
    std::iter::from_fn(move || {
        let from = (at % BLOCK_BYTES as u64) as usize;
        let here = (end - at).min((BLOCK_BYTES - from) as u64) as usize;
        let index = (at >> BLOCK_SHIFT) as usize;
        at += here as u64;
        (here > 0).then_some((index, from, here))
    })
}

impl Export for MemoryExport {
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes.load(Ordering::Relaxed)
    }

    fn is_read_only(&self) -> bool {
        self.device.read_only
    }

    fn write(&self, writes: &[Write<'_>]) -> Result<()> {
        let mut blocks = self.device.blocks.lock();
        writes.iter().try_for_each(|write| self.check_change(write.offset, write.data.len() as u64))?;
        for write in writes {
            let mut data = write.data;
            for (index, from, len) in block_ranges(write.offset, write.data.len() as u64) {
                let (here, rest) = data.split_at(len);
                blocks[index].patch(from, here);
                data = rest;
            }
        }
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64, zeroing: Zeroing) -> Result<()> {
        let mut blocks = self.device.blocks.lock();
        self.check_change(offset, len)?;
        for (index, from, len) in block_ranges(offset, len) {
            match (len, zeroing) {
                (BLOCK_BYTES, Zeroing::Hole) => blocks[index] = Block::Hole,
                (BLOCK_BYTES, Zeroing::Allocated) => blocks[index] = Block::Zero,
                _ => blocks[index].patch(from, &[0; BLOCK_BYTES][..len]),
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.device.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn prefetch(&self, offset: u64, len: u64) -> Result<()> {
        self.check(offset, len)
    }

    fn block_status(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<StatusExtent>> {
        let blocks = self.device.blocks.lock();
        self.check(offset, len)?;
        let mut extents: Vec<StatusExtent> = Vec::new();
        for (index, _, len) in block_ranges(offset, len) {
            let state = blocks[index].state();
            let full = extents.len() >= extents_max;
            match extents.last_mut() {
                Some(last) if last.state == state => last.len += len as u64,
                Some(_) if full => break,
                _ => extents.push(StatusExtent { len: len as u64, state }),
            }
        }
        Ok(extents)
    }

    fn requests(&self) -> Result<Box<dyn Requests>> {
        Ok(Box::new(MemoryReads { export: self.clone(), finished: VecDeque::new() }))
    }
}

/// Reads that are done at once.
struct MemoryReads {
    export: MemoryExport,
    finished: VecDeque<(u64, Result<ReadData>)>,
}

impl Requests for MemoryReads {
    fn start_read(&mut self, token: u64, offset: u64, len: usize) {
        self.finished.push_back((token, self.export.read(offset, len)));
    }

    fn next_read(&mut self) -> Option<(u64, Result<ReadData>)> {
        self.finished.pop_front()
    }

    fn in_flight(&self) -> usize {
        self.finished.len()
    }

    fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<Wake> {
        let completions = !self.finished.is_empty();
        let timeout = if completions { Some(Duration::ZERO) } else { timeout };
        let mut fds: Vec<_> = socket.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let ready = match poll(&mut fds, timeout.as_ref()) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => {
                let source = Arc::new(error.into());
                return Err(Error::Io { action: "waiting for", file: "a socket".into(), source });
            }
        };
        Ok(Wake { socket_readable: ready > 0, completions })
    }
}

/// Exports by name, each a device in memory, for everybody.
#[derive(Debug, Default)]
pub struct MemoryExports {
    exports: Mutex<BTreeMap<String, MemoryExport>>,
}

impl MemoryExports {
    /// One export.
    #[must_use]
    pub fn single(name: &str, export: MemoryExport) -> Arc<Self> {
        let exports = Self::default();
        exports.insert(name, export);
        Arc::new(exports)
    }

    /// Adds or replaces an export.
    pub fn insert(&self, name: &str, export: MemoryExport) {
        self.exports.lock().insert(name.to_owned(), export);
    }
}

impl Exports for MemoryExports {
    fn names(&self, _client: &Principal) -> Vec<String> {
        self.exports.lock().keys().cloned().collect()
    }

    fn open(&self, name: &str, _client: &Principal) -> Result<Arc<dyn Export>> {
        match self.exports.lock().get(name) {
            Some(export) => Ok(Arc::new(export.clone())),
            None => Err(Error::NoSuchVolume(VolumeId::default())),
        }
    }
}
