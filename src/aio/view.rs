//! Volumes and snapshots for async code.

use std::io::{Read, Write};
use std::ops::{ControlFlow, Deref, Range, RangeBounds};
use std::sync::Arc;

use super::items::{BATCH, Items};
use super::pool::Pool;
use crate::error::Result;
use crate::progress::Progress;
use crate::scrub::Verified;
use crate::view::View;
use crate::{Extent, FingerprintExtent, Root, Sent, Snapshot as SyncSnapshot, Volume as SyncVolume};

/// An open [`Volume`](crate::Volume) or [`Snapshot`](crate::Snapshot), closed when the last clone and the last operation is gone.
///
/// Closing waits for the daemon of a connected store to let go, a few milliseconds as a rule; [`Opened::close`] waits without
/// blocking the executor.
pub struct Opened<V> {
    view: Arc<V>,
    pool: Pool,
}

/// An open volume, to read and write.
pub type Volume = Opened<SyncVolume>;

/// An open snapshot, to read.
pub type Snapshot = Opened<SyncSnapshot>;

impl<V> Clone for Opened<V> {
    fn clone(&self) -> Self {
        Self { view: Arc::clone(&self.view), pool: self.pool.clone() }
    }
}

impl<V: Deref<Target = View> + Send + Sync + 'static> Opened<V> {
    pub(super) fn new(view: V, pool: &Pool) -> Self {
        Self { view: Arc::new(view), pool: pool.clone() }
    }

    /// The one that blocks, for what never waits: its name, its size.
    #[must_use]
    pub fn sync(&self) -> &V {
        &self.view
    }

    /// Closes it, unless there are other clones.
    ///
    /// # Errors
    /// None that matter: it is closed all the same.
    pub async fn close(self) -> Result<()> {
        let Self { view, pool } = self;
        let close = move || {
            drop(view);
            Ok(())
        };
        pool.run(close).await
    }

    /// Runs something on it that blocks.
    ///
    /// # Errors
    /// Those of `job`.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce(&V) -> Result<T> + Send + 'static) -> Result<T> {
        let view = Arc::clone(&self.view);
        self.pool.run(move || job(&view)).await
    }

    /// Reads `len` bytes at `offset`; see [`View::read_at`].
    ///
    /// # Errors
    /// As there.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let read = move |view: &V| {
            // Before so much is allocated.
            view.check_range(offset, len as u64)?;
            let mut buf = vec![0; len];
            view.read_at(offset, &mut buf)?;
            Ok(buf)
        };
        self.run(read).await
    }

    /// See [`View::allocation`].
    pub fn allocation(&self, range: impl RangeBounds<u64> + Send + 'static) -> Items<Extent> {
        let view = Arc::clone(&self.view);
        Items::new(&self.pool, BATCH, move || view.allocation(range))
    }

    /// See [`View::fingerprints`].
    pub fn fingerprints(&self, range: impl RangeBounds<u64> + Send + 'static) -> Items<FingerprintExtent> {
        let view = Arc::clone(&self.view);
        Items::new(&self.pool, BATCH, move || view.fingerprints(range))
    }

    /// See [`View::changes_since`].
    pub fn changes_since<W>(&self, earlier: &Opened<W>) -> Items<Range<u64>>
    where
        W: Deref<Target = View> + Send + Sync + 'static,
    {
        let (view, earlier) = (Arc::clone(&self.view), Arc::clone(&earlier.view));
        Items::new(&self.pool, BATCH, move || view.changes_since(&earlier))
    }

    /// See [`View::verify`]. `watch` is called by another thread.
    ///
    /// # Errors
    /// As there.
    pub async fn verify(
        &self,
        mut watch: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Verified> {
        self.run(move |view| view.verify(&mut watch)).await
    }

    /// See [`View::root`]. `watch` is called by another thread.
    ///
    /// # Errors
    /// As there.
    pub async fn root(&self, mut watch: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static) -> Result<Root> {
        self.run(move |view| view.root(&mut watch)).await
    }
}

impl Opened<SyncSnapshot> {
    /// See [`Snapshot::send`](crate::Snapshot::send); gives `to` back too. It is written to, and `watch` called, by another thread.
    ///
    /// # Errors
    /// As there.
    pub async fn send<W: Write + Send + 'static>(
        &self,
        base: Option<&Self>,
        mut to: W,
        mut watch: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static,
    ) -> Result<(Sent, W)> {
        let base = base.map(|base| Arc::clone(&base.view));
        let send = move |snapshot: &SyncSnapshot| {
            let sent = snapshot.send(base.as_deref(), &mut to, &mut watch)?;
            Ok((sent, to))
        };
        self.run(send).await
    }

    /// See [`Snapshot::offer`](crate::Snapshot::offer). `from` and `to` are used, and `watch` called, by another thread.
    ///
    /// # Errors
    /// As there.
    pub async fn offer(
        &self,
        base: Option<&Self>,
        from: impl Read + Send + 'static,
        to: impl Write + Send + 'static,
        mut watch: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Sent> {
        let base = base.map(|base| Arc::clone(&base.view));
        self.run(move |snapshot: &SyncSnapshot| snapshot.offer(base.as_deref(), from, to, &mut watch)).await
    }
}

impl Opened<SyncVolume> {
    /// See [`Volume::write_at`](crate::Volume::write_at).
    ///
    /// # Errors
    /// As there.
    pub async fn write_at(&self, offset: u64, data: impl AsRef<[u8]> + Send + 'static) -> Result<()> {
        self.run(move |volume| volume.write_at(offset, data.as_ref())).await
    }

    /// See [`Volume::trim`](crate::Volume::trim).
    ///
    /// # Errors
    /// As there.
    pub async fn trim(&self, offset: u64, len: u64) -> Result<()> {
        self.run(move |volume| volume.trim(offset, len)).await
    }

    /// See [`Volume::zero`](crate::Volume::zero).
    ///
    /// # Errors
    /// As there.
    pub async fn zero(&self, offset: u64, len: u64) -> Result<()> {
        self.run(move |volume| volume.zero(offset, len)).await
    }

    /// See [`Volume::flush`](crate::Volume::flush).
    ///
    /// # Errors
    /// As there.
    pub async fn flush(&self) -> Result<()> {
        self.run(SyncVolume::flush).await
    }

    /// See [`Volume::snapshot`](crate::Volume::snapshot).
    ///
    /// # Errors
    /// As there.
    pub async fn snapshot(&self, name: &str) -> Result<Snapshot> {
        let name = name.to_owned();
        let snapshot = self.run(move |volume| volume.snapshot(&name)).await?;
        Ok(Opened::new(snapshot, &self.pool))
    }
}
