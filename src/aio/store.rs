//! A store for async code.

use std::ops::ControlFlow;
use std::path::Path;

use super::pool::Pool;
use super::view::{Opened, Snapshot, Volume};
use crate::error::Result;
use crate::options::Options;
use crate::progress::Progress;
use crate::space::{Collected, Usage};
use crate::volume::{VolumeInfo, VolumeOptions};
use crate::{SnapshotInfo, Store as SyncStore};

/// An open [`Store`](crate::Store). Clones are the same.
#[derive(Clone)]
pub struct Store {
    pub(super) store: SyncStore,
    pub(super) pool: Pool,
}

impl From<SyncStore> for Store {
    fn from(store: SyncStore) -> Self {
        Self { store, pool: Pool::new() }
    }
}

impl Store {
    /// See [`Options::open`].
    ///
    /// # Errors
    /// As there.
    pub async fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        Self::opened(move || options.open(dir)).await
    }

    /// See [`Options::create`].
    ///
    /// # Errors
    /// As there.
    pub async fn create(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        Self::opened(move || options.create(dir)).await
    }

    /// See [`Options::open_or_create`].
    ///
    /// # Errors
    /// As there.
    pub async fn open_or_create(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        Self::opened(move || options.open_or_create(dir)).await
    }

    /// See [`Store::connect`](crate::Store::connect).
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "connect")]
    pub async fn connect(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        Self::opened(move || SyncStore::connect(dir)).await
    }

    /// See [`Options::connect_or_open`].
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "connect")]
    pub async fn connect_or_open(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        Self::opened(move || options.connect_or_open(dir)).await
    }

    async fn opened(open: impl FnOnce() -> Result<SyncStore> + Send + 'static) -> Result<Self> {
        let pool = Pool::new();
        let store = pool.run(open).await?;
        Ok(Self { store, pool })
    }

    /// The one that blocks.
    #[must_use]
    pub fn sync(&self) -> &SyncStore {
        &self.store
    }

    /// Runs something on it that blocks.
    ///
    /// # Errors
    /// Those of `job`.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&SyncStore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store.clone();
        self.pool.run(move || job(&store)).await
    }

    /// See [`Store::close`](crate::Store::close).
    ///
    /// # Errors
    /// As there.
    pub async fn close(&self) -> Result<()> {
        self.run(SyncStore::close).await
    }

    /// See [`Store::create_volume`](crate::Store::create_volume).
    ///
    /// # Errors
    /// As there.
    pub async fn create_volume(&self, name: &str, options: VolumeOptions) -> Result<Volume> {
        let name = name.to_owned();
        let volume = self.run(move |store| store.create_volume(&name, &options)).await?;
        Ok(Opened::new(volume, &self.pool))
    }

    /// See [`Store::volume`](crate::Store::volume).
    ///
    /// # Errors
    /// As there.
    pub async fn volume(&self, name: &str) -> Result<Volume> {
        let name = name.to_owned();
        let volume = self.run(move |store| store.volume(&name)).await?;
        Ok(Opened::new(volume, &self.pool))
    }

    /// See [`Store::snapshot`](crate::Store::snapshot).
    ///
    /// # Errors
    /// As there.
    pub async fn snapshot(&self, name: &str) -> Result<Snapshot> {
        let name = name.to_owned();
        let snapshot = self.run(move |store| store.snapshot(&name)).await?;
        Ok(Opened::new(snapshot, &self.pool))
    }

    /// See [`Store::create_snapshot`](crate::Store::create_snapshot).
    ///
    /// # Errors
    /// As there.
    pub async fn create_snapshot(&self, name: &str) -> Result<Snapshot> {
        let name = name.to_owned();
        let snapshot = self.run(move |store| store.create_snapshot(&name)).await?;
        Ok(Opened::new(snapshot, &self.pool))
    }

    /// See [`Store::clone_volume`](crate::Store::clone_volume).
    ///
    /// # Errors
    /// As there.
    pub async fn clone_volume(&self, of: &str, name: &str) -> Result<Volume> {
        let (of, name) = (of.to_owned(), name.to_owned());
        let volume = self.run(move |store| store.clone_volume(&of, &name)).await?;
        Ok(Opened::new(volume, &self.pool))
    }

    /// See [`Store::volumes`](crate::Store::volumes).
    ///
    /// # Errors
    /// As there.
    pub async fn volumes(&self) -> Result<Vec<VolumeInfo>> {
        self.run(SyncStore::volumes).await
    }

    /// See [`Store::snapshots`](crate::Store::snapshots).
    ///
    /// # Errors
    /// As there.
    pub async fn snapshots(&self, volume: &str) -> Result<Vec<SnapshotInfo>> {
        let volume = volume.to_owned();
        self.run(move |store| store.snapshots(&volume)).await
    }

    /// See [`Store::remove_volume`](crate::Store::remove_volume).
    ///
    /// # Errors
    /// As there.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.run(move |store| store.remove_volume(&name)).await
    }

    /// See [`Store::remove_snapshot`](crate::Store::remove_snapshot).
    ///
    /// # Errors
    /// As there.
    pub async fn remove_snapshot(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.run(move |store| store.remove_snapshot(&name)).await
    }

    /// See [`Store::roll_back`](crate::Store::roll_back).
    ///
    /// # Errors
    /// As there.
    pub async fn roll_back(&self, to: &str) -> Result<VolumeInfo> {
        let to = to.to_owned();
        self.run(move |store| store.roll_back(&to)).await
    }

    /// See [`Store::collect`](crate::Store::collect).
    ///
    /// # Errors
    /// As there.
    pub async fn collect(&self, now: bool) -> Result<Collected> {
        self.run(move |store| store.collect(now)).await
    }

    /// See [`Store::usage`](crate::Store::usage). `watch` is called by another thread.
    ///
    /// # Errors
    /// As there.
    pub async fn usage(&self, mut watch: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static) -> Result<Usage> {
        self.run(move |store| store.usage(&mut watch)).await
    }
}
