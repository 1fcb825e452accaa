//! What volumes and snapshots have in common: they can be read, mapped and compared.

use std::fmt;
use std::ops::{Range, RangeBounds};
use std::sync::Arc;

use blockdev::name::{ExportName, SnapshotName};
use blockdev::node::Shrink;

use crate::Store;
use crate::allocation::Allocation;
use crate::backend::Data;
use crate::byte_range::ByteRange;
use crate::changes::Changes;
use crate::error::{Cause, Caused, Result};
use crate::fingerprints::Fingerprints;
use crate::progress::Watch;
use crate::root_digest::Root;
use crate::scrub::Verified;

/// A volume or snapshot as it can be read. [`Volume`](crate::Volume) and [`Snapshot`](crate::Snapshot) are used as one.
///
/// All methods may be called from many threads at once.
pub struct View {
    store: Store,
    name: ExportName,
    text: String,
    id: u64,
    size_bytes: u64,
    /// `None` if reopening failed.
    data: Option<Arc<dyn Data>>,
}

impl View {
    pub(crate) fn open(store: &Store, name: ExportName, id: u64) -> Caused<Self> {
        let data: Arc<dyn Data> = store.backend().open(&name)?.into();
        let (text, size_bytes) = (name.to_string(), data.size_bytes());
        Ok(Self { store: store.clone(), name, text, id, size_bytes, data: Some(data) })
    }

    /// Its name: of a volume as it is, of a snapshot `VOLUME@NAME`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text
    }

    /// Its id, as in [`VolumeInfo`](crate::VolumeInfo) or [`SnapshotInfo`](crate::SnapshotInfo).
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Size in bytes when it was opened, or last resized through this handle. If others made it larger, open it again to use that.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The store it is in.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Fills `buf` with what is at `offset`. What was never written is zeros.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) beyond the end; [`Corrupt`](crate::ErrorKind::Corrupt) if what is on disk is not what was
    /// written, which is never handed out; [`Io`](crate::ErrorKind::Io), [`Unavailable`](crate::ErrorKind::Unavailable). What `buf`
    /// holds is unspecified then.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.check_range(offset, buf.len() as u64)?;
        if buf.is_empty() {
            return Ok(());
        }
        Ok(self.data()?.read_at(offset, buf)?)
    }

    /// What in a range of bytes is data, allocated zeros, or hole: the whole range in order, without gaps. Reads no data.
    ///
    /// Of a volume each page of about 8,000 extents is as of the moment it was asked for; a snapshot never changes.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) beyond the end. The items have those of [`View::read_at`].
    pub fn allocation(&self, range: impl RangeBounds<u64>) -> Result<Allocation> {
        let Range { start, end } = self.bounds(range)?;
        Ok(Allocation::new(Arc::clone(self.data()?), start, end))
    }

    /// What the blocks that a range of bytes touches hold, by fingerprint: all of them in order, without gaps. Costs the map and 32
    /// bytes a block; no data is read, but of a last block that the end cuts. Two blocks of any volumes and stores with one
    /// fingerprint hold the same.
    ///
    /// Of a volume each page of some thousand blocks is as of the moment it was asked for; a snapshot never changes.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) beyond the end; [`Unsupported`](crate::ErrorKind::Unsupported), by the items, if a
    /// daemon is too old. The items have those of [`View::read_at`] too.
    pub fn fingerprints(&self, range: impl RangeBounds<u64>) -> Result<Fingerprints> {
        let Range { start, end } = self.bounds(range)?;
        Ok(Fingerprints::new(Arc::clone(self.data()?), start, end))
    }

    /// The ranges in which this differs from `earlier`, by offset. What is left out is the same for certain; what is named was
    /// written since, or lies beyond the smaller of the two sizes. Reads no data, and costs what the two do not share.
    ///
    /// The two are any volumes, snapshots and clones of one family: one is a snapshot or clone of the other, or both are of a
    /// third.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if they share no past, or are not of one store. The items have those of
    /// [`View::read_at`].
    pub fn changes_since(&self, earlier: &Self) -> Result<Changes> {
        if !self.store.is_same(&earlier.store) {
            return Err(Cause::OtherStore { earlier: earlier.text.clone(), later: self.text.clone() }.into());
        }
        let open = [Arc::clone(self.data()?), Arc::clone(earlier.data()?)];
        let differences = self.store.backend().changes(&earlier.name, &self.name)?;
        Ok(Changes::new(differences, open, self.size_bytes.max(earlier.size_bytes)))
    }

    /// Reads all of it that is on disk, and compares every block with its fingerprint, at the rate of scrubs. Says what is damaged;
    /// what has not been flushed into segments yet is not looked at.
    ///
    /// # Errors
    /// [`Cancelled`](crate::ErrorKind::Cancelled), [`Unavailable`](crate::ErrorKind::Unavailable), [`Stopped`](crate::ErrorKind::Stopped).
    /// Damage is no error.
    pub fn verify(&self, watch: Watch<'_>) -> Result<Verified> {
        Ok(self.store.backend().verify(&self.name, watch)?)
    }

    /// What it holds, as one digest; of a volume, at one moment. Reads no data, and costs the map and 32 bytes a block.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("siltstone-root-{}", std::process::id()));
    /// # let store = siltstone::Options::new().memory_bytes(128 << 20).create(&dir)?;
    /// use siltstone::{VolumeOptions, unwatched};
    ///
    /// let [a, b] = ["a", "b"].map(|name| store.create_volume(name, &VolumeOptions::new(1 << 20)));
    /// let (a, b) = (a?, b?);
    /// a.write_at(5, b"the same")?;
    /// assert_ne!(a.root(&mut unwatched)?, b.root(&mut unwatched)?);
    /// b.write_at(5, b"the same")?;
    /// assert_eq!(a.root(&mut unwatched)?, b.root(&mut unwatched)?);
    /// # drop((a, b));
    /// # store.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), siltstone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Cancelled`](crate::ErrorKind::Cancelled), [`Unavailable`](crate::ErrorKind::Unavailable);
    /// [`Corrupt`](crate::ErrorKind::Corrupt), [`Io`](crate::ErrorKind::Io) if the map or a fingerprint cannot be read;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a replicated volume: its snapshots have roots.
    pub fn root(&self, watch: Watch<'_>) -> Result<Root> {
        Ok(self.store.backend().root(&self.name, watch)?)
    }

    pub(crate) fn snapshot_name(&self) -> Option<&SnapshotName> {
        match &self.name {
            ExportName::Snapshot(name) => Some(name),
            ExportName::Volume(_) => None,
        }
    }

    pub(crate) fn data(&self) -> Caused<&Arc<dyn Data>> {
        self.data.as_ref().ok_or_else(|| Cause::NotOpen(self.text.clone()))
    }

    pub(crate) fn check_range(&self, offset: u64, len: u64) -> Caused<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size_bytes => Ok(()),
            _ => Err(Cause::BeyondEnd { name: self.text.clone(), offset, len, size_bytes: self.size_bytes }),
        }
    }

    fn bounds(&self, range: impl RangeBounds<u64>) -> Caused<Range<u64>> {
        ByteRange::new(range).within(&self.text, self.size_bytes)
    }

    /// Resizes the volume that this is. While it shrinks nobody may have it open, this handle included.
    pub(crate) fn resize(&mut self, size_bytes: u64, shrink: Shrink) -> Result<()> {
        if size_bytes < self.size_bytes && shrink == Shrink::Allowed {
            self.data = None;
        }
        let resized = self.store.backend().resize_volume(self.name.volume(), size_bytes, shrink);
        self.data = None;
        let data: Arc<dyn Data> = self.store.backend().open(&self.name)?.into();
        self.size_bytes = data.size_bytes();
        self.data = Some(data);
        resized?;
        Ok(())
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("name", &self.text).field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}
