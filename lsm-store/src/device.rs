//! The seam between the store and the machine: files of a data directory, and nothing else.
//!
//! A [`Device`] is a flat set of named files in a few directories. Two implementations:
//! [`directory::DirectoryDevice`] (a real directory, reads by io_uring where the kernel allows it, else by a pool
//! of `pread` threads) and [`sim::SimDevice`] (memory, with every fault a disk can have). The store reaches disk
//! through here only.
//!
//! Rules every implementation keeps:
//! - a write is on stable storage only after [`File::sync_data`] of that file returned `Ok`;
//! - a file's name is on stable storage only after [`Device::sync_directory`] of its directory returned `Ok`;
//! - after a failed sync nothing is known about what was written before it, and the caller must not retry.

mod alignment;
pub mod buffer;
pub mod directory;
mod path;
mod pool;
mod removal;
pub mod sim;
mod uring;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

pub use buffer::{AlignedBuffer, BufferPool};
pub(crate) use removal::remove_in_pieces;

/// Offsets, lengths and memory of [`Access::Direct`] writes are multiples of this; reads may use [`File::alignment`].
pub const DIRECT_ALIGNMENT: usize = 4096;

/// How a file's bytes travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Through the page cache; any offset and length.
    Buffered,
    /// Past the page cache (O_DIRECT); offsets, lengths and memory aligned.
    Direct,
}

/// Room on the file system below a device, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Size of the whole file system.
    pub total_bytes: u64,
    /// What this process may still allocate.
    pub available_bytes: u64,
}

/// Where the files of one store live.
///
/// Paths are relative, `directory/name` or `name`, made by the store from ids only. A missing file is
/// [`io::ErrorKind::NotFound`], an existing one where a new one is wanted [`io::ErrorKind::AlreadyExists`], a full disk
/// [`io::ErrorKind::StorageFull`].
pub trait Device: Send + Sync + 'static {
    /// Makes a directory; its existence is durable on return. An existing one is left as it is.
    fn create_directory(&self, path: &str) -> io::Result<()>;

    /// Makes a file that must not exist and opens it for reading and writing.
    fn create(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file for reading and writing (or for reading only on a read-only device).
    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>>;

    /// Renames a file, replacing what had the new name; atomic, durable after [`Device::sync_directory`] of both directories.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Open handles keep working.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Names (without the directory) of the files in a directory, sorted; `""` is the top.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// Makes the names in a directory durable; `""` is the top.
    fn sync_directory(&self, directory: &str) -> io::Result<()>;

    /// Room below the device now.
    fn space(&self) -> io::Result<Space>;

    /// A queue for reads that must not block the caller, with room for `depth` of them.
    fn read_queue(&self, depth: usize) -> io::Result<Box<dyn ReadQueue>>;

    /// Takes the advisory lock on the whole device, without waiting; released when dropped or when the process dies.
    /// [`io::ErrorKind::WouldBlock`] if another process (or another handle) has it in a way that conflicts.
    fn lock(&self, mode: LockMode) -> io::Result<Box<dyn Lock>>;
}

/// What the process may do to a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessMode {
    /// Everything.
    ReadWrite,
    /// Nothing is created, written or removed; such calls are [`io::ErrorKind::ReadOnlyFilesystem`].
    ReadOnly,
}

/// How a device is locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockMode {
    /// Many readers, no writer.
    Shared,
    /// One owner.
    Exclusive,
}

/// A held lock; dropping it releases it.
pub trait Lock: Send + Sync + fmt::Debug {}

/// An open file of a device.
pub trait File: Send + Sync + 'static {
    /// Fills `buf` from `offset`. Fewer bytes in the file than asked for is [`io::ErrorKind::UnexpectedEof`].
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bufs`, one after the other, from `offset`.
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Waits until everything written before the call is on stable storage, with the metadata needed to read it back.
    fn sync_data(&self) -> io::Result<()>;

    /// Has the device begin to write `[offset, offset + len)`, so that a later [`File::sync_data`] has less to wait for. A hint:
    /// nothing is on stable storage by it, and no failure is reported.
    fn start_writeback(&self, _offset: u64, _len: u64) {}

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// True if the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends (with zeros) the file; a cut gives its space back.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves space for `[offset, offset + len)` and extends the file to cover it; reads give zeros there.
    /// After it succeeded, writes in the range cannot fail for want of space.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// What offsets, lengths and memory of reads must be multiples of: 1 for buffered files.
    fn alignment(&self) -> usize;

    /// The file descriptor below, where there is one.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A finished read of a [`ReadQueue`].
pub struct Completion {
    /// The caller's name for the read.
    pub token: u64,
    /// The buffer that was handed in; its content counts only if `result` is `Ok`.
    pub buffer: AlignedBuffer,
    /// Whether the buffer was filled.
    pub result: io::Result<()>,
}

/// Reads in flight on behalf of one thread.
///
/// A frontend's connection thread sleeps in [`ReadQueue::wait`] for its socket and its reads together; a read never
/// blocks it and never needs a hand-off to another thread's reply. A queue may be handed to another thread while it has
/// no reads in flight.
pub trait ReadQueue: Send {
    /// Starts to fill `buffer` (its whole length) from `offset`. Failures come back as completions.
    /// The caller keeps no more reads in flight than the depth it asked for.
    fn submit(&mut self, token: u64, file: &Arc<dyn File>, buffer: AlignedBuffer, offset: u64);

    /// Reads submitted and not yet handed out by [`ReadQueue::next_completion`].
    fn in_flight(&self) -> usize;

    /// The next finished read, if any; never blocks.
    fn next_completion(&mut self) -> Option<Completion>;

    /// Starts what was submitted and blocks until a read has finished, `socket` is readable (or hung up), or `timeout` has passed.
    ///
    /// A wait with a timeout may end early with nothing to tell (a signal, say). The queue may keep `socket` open until the
    /// next wait without it, or until it is dropped: a peer that is to see the end of the stream needs a `shutdown`.
    ///
    /// # Panics
    /// If there is nothing to wait for: no read in flight, no socket, no timeout.
    fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<Wake>;
}

/// Why [`ReadQueue::wait`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wake {
    /// The socket can be read without blocking, or its peer is gone.
    pub socket_readable: bool,
    /// At least one completion is waiting.
    pub completions: bool,
}

impl Wake {
    pub(crate) fn is_something(self) -> bool {
        self.socket_readable || self.completions
    }
}
