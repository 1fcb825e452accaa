//! What a frontend (NBD now; ublk and vhost-user-blk later) serves: the block device behind an export name.
//!
//! Offsets and lengths are bytes of any alignment; an implementation merges partial blocks itself. A frontend checks
//! requests against [`Export::size_bytes`] first, since the protocols want their own errors there; an
//! implementation checks again.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use lsm_store::device::Wake;
use lsm_store::id::VolumeId;
use lsm_store::read::ReadData;
pub use lsm_store::request::{BlockState, ChangedExtent, StatusExtent, Write, Zeroing};
use lsm_store::{Error, Result};

use crate::access::Principal;

/// A block device to serve. All methods may be called from many threads at once.
pub trait Export: Send + Sync + 'static {
    /// Size in bytes now; it can change while the export is open.
    fn size_bytes(&self) -> u64;

    /// True if writes, zeroing and trims are refused.
    fn is_read_only(&self) -> bool;

    /// Applies `writes` in order and returns when all of them have been handed to the kernel: they survive the death of
    /// the process, not yet of the machine. A frontend passes all writes it has received together in one call.
    fn write(&self, writes: &[Write<'_>]) -> Result<()>;

    /// Makes a range read as zeros, at a cost that does not depend on its length. As durable as [`Export::write`].
    fn zero(&self, offset: u64, len: u64, zeroing: Zeroing) -> Result<()>;

    /// Waits until every write and zeroing of this export that was answered before the call is on stable storage,
    /// whichever connection or thread it came from.
    fn flush(&self) -> Result<()>;

    /// Brings a range into the cache, or the beginning of one that takes long: a hint.
    fn prefetch(&self, offset: u64, len: u64) -> Result<()>;

    /// The states of `[offset, offset + len)` from its start, at most `extents_max` of them: the answer may end early,
    /// never late, and holds at least one extent. Adjacent extents differ in state.
    fn block_status(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<StatusExtent>>;

    /// True if a frontend should start changes ([`Requests::start_change`]) and not make them one after the other: each takes
    /// a while, as other nodes take part. Writes that a client sent one behind the other may be started as one change: without
    /// room for one of them, none is made.
    fn starts_changes(&self) -> bool {
        false
    }

    /// A place for what one thread has under way.
    fn requests(&self) -> Result<Box<dyn Requests>>;
}

/// A change of an export.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// As [`Export::write`].
    Write(&'a [Write<'a>]),
    /// As [`Export::zero`]: first byte, how many, and what they become.
    Zero(u64, u64, Zeroing),
    /// As [`Export::flush`].
    Flush,
}

/// Requests of one export in flight on behalf of one thread. Reads and changes have tokens of their own.
pub trait Requests: Send {
    /// Starts a read. It may finish at once (a hit) or later; either way it comes out of [`Requests::next_read`].
    /// An implementation bounds the device reads in flight itself, by queueing.
    fn start_read(&mut self, token: u64, offset: u64, len: usize);

    /// The next finished read, if any, as (token, answer), in any order; never blocks.
    fn next_read(&mut self) -> Option<(u64, Result<ReadData>)>;

    /// Starts a change without waiting for it; what it came to comes out of [`Requests::next_change`]. Those under way at
    /// the same time may take effect in any order. `false`, which is the default, if nothing was started as changes are made
    /// by [`Export`]'s own calls only.
    fn start_change(&mut self, _token: u64, _change: Change<'_>) -> bool {
        false
    }

    /// The next finished change, if any, as (token, result), in any order; never blocks.
    fn next_change(&mut self) -> Option<(u64, Result<()>)> {
        None
    }

    /// Requests started and not yet handed out.
    fn in_flight(&self) -> usize;

    /// Blocks until a request has finished, `socket` is readable (or hung up), or `timeout` has passed.
    fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<Wake>;
}

/// Where an export differs from a snapshot, which stays until this is dropped.
pub trait Changes: Send + Sync {
    /// What differs in `[offset, offset + len)`, which ends at the larger size of the two at most: at least one extent, at most
    /// `extents_max`, covering the range from its start and perhaps not to its end. Adjacent extents differ in `changed`.
    /// What only one of the two has room for counts as changed. Reads no data; costs what the two do not share.
    ///
    /// # Errors
    /// `Invalid` beyond the end or for an empty range; `NotFound` if the export has been removed; `Io` and `Corrupt` if
    /// it cannot be told.
    fn extents(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<ChangedExtent>>;
}

/// The exports of a server, by name. What a client may not open is for it as if it were not there.
pub trait Exports: Send + Sync + 'static {
    /// Names for LIST, sorted; only those that `client` may open.
    fn names(&self, client: &Principal) -> Vec<String>;

    /// Opens an export; an unknown name and a forbidden one give the same error.
    fn open(&self, name: &str, client: &Principal) -> Result<Arc<dyn Export>>;

    /// The snapshots since which [`Exports::changes_since`] can tell what changed in an export, from the newest; none of an
    /// unknown name.
    fn snapshots(&self, _name: &str, _client: &Principal) -> Vec<String> {
        Vec::new()
    }

    /// What changed in an export since `snapshot`, one of [`Exports::snapshots`].
    fn changes_since(&self, _name: &str, _snapshot: &str, _client: &Principal) -> Result<Arc<dyn Changes>> {
        Err(Error::NoSuchVolume(VolumeId::default()))
    }
}
