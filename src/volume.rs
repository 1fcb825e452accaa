//! Volumes: block devices in a store.

use std::ops::Deref;
use std::time::{Duration, SystemTime};

use blockdev::export::Zeroing;
use blockdev::lsm_store::codec::Codec;
pub use blockdev::node::Shrink;

use crate::error::Result;
use crate::snapshot::Snapshot;
use crate::view::View;

/// What a new volume is made with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeOptions {
    pub(crate) size_bytes: u64,
    pub(crate) codec: Option<Codec>,
    pub(crate) reserve_bytes: Option<u64>,
    pub(crate) quota_bytes: Option<u64>,
}

impl VolumeOptions {
    /// A volume of so many bytes, 1 to 1 PiB, any number. It takes space only for what is written.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Self { size_bytes, codec: None, reserve_bytes: None, quota_bytes: None }
    }

    /// How new blocks are compressed; else as the daemon was told, or by LZ4.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// Keeps so much room for it that other volumes cannot take.
    #[must_use]
    pub fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve_bytes = Some(bytes);
        self
    }

    /// Lets it hold so much data at most, before dedupe and compression.
    #[must_use]
    pub fn quota_bytes(mut self, bytes: u64) -> Self {
        self.quota_bytes = Some(bytes);
        self
    }
}

/// A volume as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VolumeInfo {
    /// Its name: 1 to 63 of `a-z`, `0-9`, `.`, `_` and `-`.
    pub name: String,
    /// Its id, never used for another volume or snapshot of the store. Of a replicated volume it is the cluster's number, which may
    /// also be the id of something else.
    pub id: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// How new blocks are compressed.
    pub codec: Codec,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// False while its content is still being imported; nobody can open it then.
    pub is_ready: bool,
    /// How many have it open now.
    pub connections: u64,
    /// Its snapshots.
    pub snapshots: u64,
    /// Room that is kept for it, in bytes.
    pub reserve_bytes: Option<u64>,
    /// How much data it may hold, in bytes.
    pub quota_bytes: Option<u64>,
}

impl VolumeInfo {
    /// When it was made.
    #[must_use]
    pub fn created(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.created_ms)
    }
}

/// An open volume, to read and write. What it has in common with a snapshot is in [`View`].
///
/// All methods but [`Volume::resize`] may be called from many threads at once. Offsets and lengths are bytes of any alignment; whole
/// aligned blocks of 4 KiB cost least, and single writes of 64 KiB or more are compressed by the calling thread.
/// As long as it is open the volume is neither removed nor rolled back nor cut.
#[derive(Debug)]
pub struct Volume {
    view: View,
}

impl Volume {
    pub(crate) fn new(view: View) -> Self {
        Self { view }
    }

    /// Writes `data` at `offset`. On return it survives the death of the process that has the store; [`Volume::flush`] makes it
    /// survive that of the machine. After a crash a volume holds a prefix of what was written, in that order, and no block
    /// of 4 KiB is torn.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) beyond the end; [`OutOfSpace`](crate::ErrorKind::OutOfSpace) if there is no room, or
    /// the quota is reached: the beginning of `data` may have been written; [`ReadOnly`](crate::ErrorKind::ReadOnly);
    /// [`Stopped`](crate::ErrorKind::Stopped), [`Unavailable`](crate::ErrorKind::Unavailable).
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.check_range(offset, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        Ok(self.data()?.write_at(offset, data)?)
    }

    /// Makes a range read as zeros and be a hole, at a cost that does not depend on its length. Needs no room, so it works on
    /// a full store, and frees what only this volume held there.
    ///
    /// # Errors
    /// As [`Volume::write_at`].
    pub fn trim(&self, offset: u64, len: u64) -> Result<()> {
        self.zero_as(offset, len, Zeroing::Hole)
    }

    /// As [`Volume::trim`], but the range counts as allocated in the [allocation map](View::allocation).
    ///
    /// # Errors
    /// As [`Volume::write_at`].
    pub fn zero(&self, offset: u64, len: u64) -> Result<()> {
        self.zero_as(offset, len, Zeroing::Allocated)
    }

    fn zero_as(&self, offset: u64, len: u64, zeroing: Zeroing) -> Result<()> {
        self.check_range(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        Ok(self.data()?.zero(offset, len, zeroing)?)
    }

    /// Waits until all changes of this volume that had returned before the call are on stable storage, whoever made them.
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) if the disk failed, now or before; what was not flushed before may be lost. Through a
    /// daemon that is [`Io`](crate::ErrorKind::Io). [`Unavailable`](crate::ErrorKind::Unavailable): whether it is on stable storage is
    /// unknown.
    pub fn flush(&self) -> Result<()> {
        Ok(self.data()?.flush()?)
    }

    /// Changes the size. What lies beyond a smaller size is lost at once, which `shrink` must allow, and nobody else may have
    /// the volume open then.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it would shrink and may not, or for an impossible size;
    /// [`Busy`](crate::ErrorKind::Busy) if it would shrink and somebody else, an iterator of this volume too, has it open. The size is
    /// as before then.
    pub fn resize(&mut self, size_bytes: u64, shrink: Shrink) -> Result<()> {
        self.view.resize(size_bytes, shrink)
    }

    /// Freezes what the volume holds now as the snapshot `VOLUME@name`. Copies nothing, and costs a sync.
    ///
    /// # Errors
    /// [`Exists`](crate::ErrorKind::Exists), and those of [`Volume::write_at`].
    pub fn snapshot(&self, name: &str) -> Result<Snapshot> {
        self.store().create_snapshot(&format!("{}@{name}", self.name()))
    }
}

impl Deref for Volume {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}
