//! The async layer: under tokio, and without any runtime.

use std::future::Future;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

use siltstone::aio::Store;
use siltstone::{ErrorKind, ObjectOptions, Options, ReceiveOptions, VolumeOptions, unwatched};

use crate::scratch::Scratch;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor there is.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

async fn use_all_of_it(scratch: Scratch) {
    let data = scratch.join("data");
    let options = Options::new().memory_bytes(128 << 20);
    assert_eq!(Store::open(&data, options.clone()).await.err().unwrap().kind(), ErrorKind::NotFound);
    let store = Store::create(&data, options).await.unwrap();
    let disk = store.create_volume("disk", VolumeOptions::new(1 << 30)).await.unwrap();
    disk.write_at(10, b"before".to_vec()).await.unwrap();
    let before = disk.snapshot("before").await.unwrap();
    disk.write_at(1 << 20, vec![1; 4096]).await.unwrap();
    disk.trim(0, 4096).await.unwrap();
    disk.zero(8192, 4096).await.unwrap();
    disk.flush().await.unwrap();
    assert_eq!(before.read_at(10, 6).await.unwrap(), b"before");
    assert_eq!(disk.read_at(10, 6).await.unwrap(), [0; 6]);
    assert_eq!(disk.read_at(0, usize::MAX).await.unwrap_err().kind(), ErrorKind::Invalid);

    let mut changes = disk.changes_since(&before);
    let mut ranges = Vec::new();
    while let Some(range) = changes.next().await {
        ranges.push(range.unwrap());
    }
    assert!(ranges.contains(&(1 << 20..(1 << 20) + 4096)), "{ranges:?}");
    assert!(changes.next().await.is_none());
    let mut beyond = disk.allocation(..(1 << 30) + 1);
    assert_eq!(beyond.next().await.unwrap().unwrap_err().kind(), ErrorKind::Invalid);
    assert!(beyond.next().await.is_none());

    assert_eq!(store.volumes().await.unwrap().len(), 1);
    let cancelled = store.usage(|_| ControlFlow::Break(())).await;
    assert_eq!(cancelled.unwrap_err().kind(), ErrorKind::Cancelled);
    drop((changes, beyond));

    let (sent, stream) = before.send(None, Vec::new(), unwatched).await.unwrap();
    assert_eq!(sent.root, before.root(unwatched).await.unwrap());
    let received = store.receive("copy", ReceiveOptions::new(), Cursor::new(stream), unwatched).await.unwrap();
    assert_eq!((received.name.as_str(), received.root), ("copy@before", sent.root));
    use_objects(&store).await;
    before.close().await.unwrap();
    store.remove_snapshot("disk@before").await.unwrap();
    disk.close().await.unwrap();
    store.remove_volume("disk").await.unwrap();
    store.close().await.unwrap();
}

async fn use_objects(store: &Store) {
    let content: Vec<_> = (0..10 << 20).map(|at: u32| (at % 251) as u8).collect();
    let put = store.put_object("a", ObjectOptions::new(), Cursor::new(content.clone()), unwatched).await.unwrap();
    assert_eq!(store.object("a").await.unwrap(), put);
    let mut pieces = store.get_object("a", 5..);
    let mut found = Vec::new();
    while let Some(piece) = pieces.next().await {
        found.extend(piece.unwrap());
    }
    assert!(found == content[5..]);
    let mut none = store.get_object("none", ..);
    assert_eq!(none.next().await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    let mut listed = store.objects("");
    assert_eq!(listed.next().await.unwrap().unwrap(), put);
    assert!(listed.next().await.is_none());
    store.remove_object("a").await.unwrap();
    assert_eq!(store.object("a").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn it_works_under_tokio() {
    tokio().block_on(use_all_of_it(Scratch::new("aio-tokio")));
}

#[test]
fn it_works_without_a_runtime() {
    block_on(use_all_of_it(Scratch::new("aio-none")));
}

#[test]
fn nothing_blocks_the_executor() {
    let scratch = Scratch::new("aio-many");
    tokio().block_on(async {
        let store = Store::create(scratch.join("data"), Options::new().memory_bytes(128 << 20)).await.unwrap();
        let disk = store.create_volume("disk", VolumeOptions::new(64 << 20)).await.unwrap();
        // More at once than there are threads.
        let writes = (0..100_u64).map(|index| {
            let disk = disk.clone();
            tokio::spawn(async move {
                disk.write_at(index << 12, vec![index as u8 + 1; 4096]).await.unwrap();
                disk.read_at(index << 12, 4096).await.unwrap()
            })
        });
        for (index, write) in writes.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(write.await.unwrap(), vec![index as u8 + 1; 4096]);
        }
        let mut extents = disk.allocation(..);
        // One that is dropped half way costs nothing.
        drop(extents.next());
        let waited = tokio::select! { biased; item = extents.next() => item, () = std::future::ready(()) => None };
        let first = match waited {
            Some(item) => item,
            None => extents.next().await.unwrap(),
        };
        assert_eq!(first.unwrap().range, 0..100 << 12);
        store.close().await.unwrap();
    });
}
