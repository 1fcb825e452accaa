//! Objects and streams for async code.

use std::io::{Read, Write};
use std::ops::{ControlFlow, RangeBounds};

use super::Store;
use super::items::{BATCH, Items};
use crate::error::Result;
use crate::objects::{ObjectInfo, ObjectOptions};
use crate::progress::Progress;
use crate::streams::{ReceiveOptions, Received};

/// Pieces of an object that are fetched together: some MiB.
const PIECES: usize = 4;

impl Store {
    /// See [`Store::put_object`](crate::Store::put_object). `content` is read, and `watch` called, by another thread.
    ///
    /// # Errors
    /// As there.
    pub async fn put_object(
        &self,
        name: &str,
        options: ObjectOptions,
        content: impl Read + Send + 'static,
        mut watch: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static,
    ) -> Result<ObjectInfo> {
        let name = name.to_owned();
        self.run(move |store| store.put_object(&name, &options, content, &mut watch)).await
    }

    /// The content of an object, or of a range of its bytes, in pieces of about 1 MiB at most; see
    /// [`Store::get_object`](crate::Store::get_object).
    #[must_use]
    pub fn get_object(&self, name: &str, range: impl RangeBounds<u64> + Send + 'static) -> Items<Vec<u8>> {
        let (store, name) = (self.store.clone(), name.to_owned());
        Items::new(&self.pool, PIECES, move || {
            let mut reader = store.get_object(&name, range)?;
            Ok(std::iter::from_fn(move || reader.next_piece().transpose()))
        })
    }

    /// See [`Store::object`](crate::Store::object).
    ///
    /// # Errors
    /// As there.
    pub async fn object(&self, name: &str) -> Result<ObjectInfo> {
        let name = name.to_owned();
        self.run(move |store| store.object(&name)).await
    }

    /// See [`Store::objects`](crate::Store::objects).
    #[must_use]
    pub fn objects(&self, prefix: &str) -> Items<ObjectInfo> {
        let (store, prefix) = (self.store.clone(), prefix.to_owned());
        Items::new(&self.pool, BATCH, move || Ok(store.objects(&prefix)))
    }

    /// See [`Store::remove_object`](crate::Store::remove_object).
    ///
    /// # Errors
    /// As there.
    pub async fn remove_object(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.run(move |store| store.remove_object(&name)).await
    }

    /// See [`Store::receive`](crate::Store::receive). `from` is read, and `watch` called, by another thread.
    ///
    /// # Errors
    /// As there.
    pub async fn receive(
        &self,
        name: &str,
        options: ReceiveOptions,
        from: impl Read + Send + 'static,
        mut watch: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Received> {
        let name = name.to_owned();
        self.run(move |store| store.receive(&name, &options, from, &mut watch)).await
    }

    /// See [`Store::accept`](crate::Store::accept). `from` and `to` are used, and `watch` called, by another thread.
    ///
    /// # Errors
    /// As there.
    pub async fn accept(
        &self,
        name: &str,
        options: ReceiveOptions,
        from: impl Read + Send + 'static,
        to: impl Write + Send + 'static,
        mut watch: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Received> {
        let name = name.to_owned();
        self.run(move |store| store.accept(&name, &options, from, to, &mut watch)).await
    }
}
