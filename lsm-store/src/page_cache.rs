//! Verified 4 KiB pages of immutable files, in memory, within a budget.
//!
//! Directories of segments and map runs share it. A page is put in only after its checksum held, and files are never
//! changed nor their ids reused, so a page found here is right, and pages of deleted files need no removal: they age out.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use rustc_hash::FxBuildHasher;

pub use crate::checksum::PAGE_BYTES;

use crate::checksum::Kind;
use crate::error::Result;

/// What a cached page costs beyond its bytes: the cache's entry, the counters, the allocator's share.
const OVERHEAD_BYTES: usize = 128;

/// Which page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageKey {
    /// The kind that sealed it.
    pub kind: Kind,
    /// The file: a segment id or run id, whatever `kind` says.
    pub file: u64,
    /// Number of the page among those of its kind in the file.
    pub page: u32,
}

/// The bytes of a verified page, shared.
#[derive(Clone, Debug)]
pub struct Page(Arc<[u8; PAGE_BYTES]>);

impl Page {
    /// A copy of a page whose checksum the caller has verified.
    #[must_use]
    pub fn verified(bytes: &[u8; PAGE_BYTES]) -> Self {
        Self(Arc::new(*bytes))
    }
}

impl std::ops::Deref for Page {
    type Target = [u8; PAGE_BYTES];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

#[derive(Clone)]
struct Weight;

impl quick_cache::Weighter<PageKey, Page> for Weight {
    fn weight(&self, _: &PageKey, _: &Page) -> u64 {
        (PAGE_BYTES + OVERHEAD_BYTES) as u64
    }
}

/// The cache.
pub struct PageCache {
    cache: Cache<PageKey, Page, Weight, FxBuildHasher>,
}

impl PageCache {
    /// A cache of at most `budget_bytes`, the pages' own bytes and their overhead together.
    #[must_use]
    pub fn new(budget_bytes: usize) -> Self {
        let pages = budget_bytes / (PAGE_BYTES + OVERHEAD_BYTES);
        let cache = Cache::with(pages, budget_bytes as u64, Weight, FxBuildHasher, DefaultLifecycle::default());
        Self { cache }
    }

    /// The page, if it is here.
    #[must_use]
    pub fn page(&self, key: &PageKey) -> Option<Page> {
        self.cache.get(key)
    }

    /// True if the page is here. Does not count as a use.
    #[must_use]
    pub fn contains(&self, key: &PageKey) -> bool {
        self.cache.contains_key(key)
    }

    /// Puts a page in.
    pub fn insert(&self, key: PageKey, page: Page) {
        self.cache.insert(key, page);
    }

    /// The page, read and verified by `read` if it is not here. Threads that miss the same page wait for one read.
    pub fn page_or_read(&self, key: PageKey, read: impl FnOnce() -> Result<Page>) -> Result<Page> {
        self.cache.get_or_insert_with(&key, read)
    }

    /// Memory held now, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}

/// The kind under which runs keep their pages here.
const RUN_PAGE_KIND: Kind = Kind(*b"RUNP");

/// Map runs share the cache.
impl crate::map::PageCache for PageCache {
    fn lookup(&self, key: crate::map::PageKey) -> Option<Arc<[u8; PAGE_BYTES]>> {
        let page = self.page(&PageKey { kind: RUN_PAGE_KIND, file: key.run.0, page: key.page })?;
        Some(page.0)
    }

    fn insert(&self, key: crate::map::PageKey, page: Arc<[u8; PAGE_BYTES]>) {
        Self::insert(self, PageKey { kind: RUN_PAGE_KIND, file: key.run.0, page: key.page }, Page(page));
    }
}
