//! The same for async code, on any runtime or none.
//!
//! Operations of a [`Store`] run on threads of its own, up to [`THREADS_MAX`], which go when they have had nothing to do for a
//! while; a future only waits. So nothing here needs a reactor, and nothing blocks an executor. What is not wrapped runs by
//! [`Store::run`].
//!
//! A future that is dropped before its operation has begun undoes it; one that is dropped later leaves the operation to go on
//! to its end, as with any call to another machine: a write may still happen.
//!
//! ```
//! # fn block_on<F: std::future::Future>(future: F) -> F::Output {
//! #     struct Unpark(std::thread::Thread);
//! #     impl std::task::Wake for Unpark {
//! #         fn wake(self: std::sync::Arc<Self>) { self.0.unpark() }
//! #     }
//! #     let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
//! #     let mut context = std::task::Context::from_waker(&waker);
//! #     let mut future = std::pin::pin!(future);
//! #     loop {
//! #         match future.as_mut().poll(&mut context) {
//! #             std::task::Poll::Ready(output) => return output,
//! #             std::task::Poll::Pending => std::thread::park(),
//! #         }
//! #     }
//! # }
//! use siltstone::{Options, VolumeOptions, aio};
//!
//! # block_on(async {
//! # let dir = std::env::temp_dir().join(format!("siltstone-aio-{}", std::process::id()));
//! let store = aio::Store::open_or_create(&dir, Options::new().memory_bytes(128 << 20)).await?;
//! let disk = store.create_volume("disk", VolumeOptions::new(1 << 30)).await?;
//! disk.write_at(4096, b"hello".to_vec()).await?;
//! disk.flush().await?;
//! assert_eq!(disk.read_at(4096, 5).await?, b"hello");
//!
//! let mut extents = disk.allocation(..);
//! while let Some(extent) = extents.next().await {
//!     extent?;
//! }
//! store.close().await?;
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), siltstone::Error>(())
//! # }).unwrap();
//! ```

mod items;
mod objects;
mod pool;
mod store;
mod view;

pub use items::Items;
pub use pool::THREADS_MAX;
pub use store::Store;
pub use view::{Opened, Snapshot, Volume};
