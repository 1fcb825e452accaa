//! The seam between runs and the memory that caches their pages.

use std::sync::Arc;

use crate::id::RunId;

pub use super::page::PAGE_BYTES;

/// Names a page of a run. Run ids are never used twice, so a key never comes to mean another page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageKey {
    /// The run.
    pub run: RunId,
    /// The page, counted from the start of the run's file.
    pub page: u32,
}

/// Keeps pages in memory, as many as its budget allows. Pages are verified before they are inserted.
pub trait PageCache: Send + Sync + 'static {
    /// The page, if it is in the cache.
    fn lookup(&self, key: PageKey) -> Option<Arc<[u8; PAGE_BYTES]>>;

    /// Offers a page; the cache may decline.
    fn insert(&self, key: PageKey, page: Arc<[u8; PAGE_BYTES]>);
}

/// A cache that keeps nothing.
#[derive(Debug, Default)]
pub struct NoCache;

impl PageCache for NoCache {
    fn lookup(&self, _: PageKey) -> Option<Arc<[u8; PAGE_BYTES]>> {
        None
    }

    fn insert(&self, _: PageKey, _: Arc<[u8; PAGE_BYTES]>) {}
}
