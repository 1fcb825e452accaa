//! The run files of a store: open handles, indexes and filters within bounds, pages through the cache.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{UnitWeighter, Weighter};
use rustc_hash::FxBuildHasher;
use zerocopy::FromBytes;

use super::format::{
    FOOTER_BYTES, FOOTER_KIND, FOOTER_MAGIC, FooterV1, HEADER_KIND, INCOMPAT_KNOWN, INDEX_ENTRY_BYTES, INDEX_KIND,
    PAGE_KIND, SUMMARY_KIND, VERSION,
};
use super::index::RunIndex;
use super::{DIRECTORY, Patience, Run, RunMeta, Stop, path, summary};
use crate::checksum::{Kind, Seal};
use crate::clock::Clock;
use crate::device::{Access, AlignedBuffer, Device, File, remove_in_pieces};
use crate::error::{Error, Result};
use crate::id::{RunId, SegmentId, StoreId};
use crate::map::cache::{PageCache, PageKey};
use crate::map::filter::FilterBudget;
use crate::map::page::{PAGE_BYTES, Page};

/// How much of the machine the runs may take, pages aside.
#[derive(Clone, Copy, Debug)]
pub struct RunLimits {
    /// Files held open, at least 1.
    pub handles: usize,
    /// Memory for run indexes, in bytes; 24 bytes a page of a run, so 0.6 % of the map holds them all.
    pub index_bytes: u64,
    /// Memory for filters, in bytes; 9 bits an entry of a run above the deepest level, so 3 to 4 % of the map holds all.
    pub filter_bytes: u64,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { handles: 256, index_bytes: 8 << 20, filter_bytes: 48 << 20 }
    }
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<RunId, Arc<RunIndex>> for ByWeight {
    fn weight(&self, _: &RunId, index: &Arc<RunIndex>) -> u64 {
        index.weight()
    }
}

/// Makes, reads and deletes runs.
pub struct RunFiles {
    device: Arc<dyn Device>,
    store: StoreId,
    clock: Arc<dyn Clock>,
    pages: Arc<dyn PageCache>,
    handles: Cache<RunId, Arc<dyn File>, UnitWeighter, FxBuildHasher>,
    indexes: Cache<RunId, Arc<RunIndex>, ByWeight, FxBuildHasher>,
    filters: Arc<FilterBudget>,
}

impl RunFiles {
    /// The runs of the store on `device`, whose directory [`DIRECTORY`] must exist.
    #[must_use]
    pub fn new(
        device: Arc<dyn Device>,
        store: StoreId,
        clock: Arc<dyn Clock>,
        pages: Arc<dyn PageCache>,
        limits: RunLimits,
    ) -> Arc<Self> {
        let index_count = usize::try_from(limits.index_bytes / 1024).unwrap_or(usize::MAX).max(16);
        let handles = limits.handles.max(1);
        Arc::new(Self {
            device,
            store,
            clock,
            pages,
            handles: Cache::with(handles, handles as u64, UnitWeighter, FxBuildHasher, DefaultLifecycle::default()),
            indexes: Cache::with(index_count, limits.index_bytes, ByWeight, FxBuildHasher, DefaultLifecycle::default()),
            filters: FilterBudget::new(limits.filter_bytes),
        })
    }

    /// Deletes a run's file; one that is gone already is no error. Nobody may read the run any more.
    ///
    /// # Errors
    /// [`Error::Io`]: the file stays, and recovery deletes it as one that the manifest does not name.
    pub fn delete(&self, id: RunId) -> Result<()> {
        self.close(id);
        match remove_in_pieces(&*self.device, &path(id), || ()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("deleting", path(id), error)),
            _ => Ok(()),
        }
    }

    /// Closes a run's file, and forgets its index.
    pub fn close(&self, id: RunId) {
        self.handles.remove(&id);
        self.indexes.remove(&id);
    }

    /// Makes the names of new runs durable; needed between [`RunWriter::finish`](super::RunWriter::finish) and the
    /// manifest edit that names them.
    ///
    /// # Errors
    /// [`Error::Io`], after which the store must stop.
    pub fn sync_directory(&self) -> Result<()> {
        self.device.sync_directory(DIRECTORY).map_err(|error| Error::io("syncing", DIRECTORY, error))
    }

    /// Memory that filters take now, in bytes.
    #[must_use]
    pub fn filter_bytes(&self) -> u64 {
        self.filters.used_bytes()
    }

    pub(super) fn store(&self) -> StoreId {
        self.store
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.wall()
    }

    pub(super) fn filters(&self) -> &Arc<FilterBudget> {
        &self.filters
    }

    pub(super) fn create(&self, id: RunId) -> Result<Arc<dyn File>> {
        self.device.create(&path(id), Access::Direct).map_err(|error| Error::io("creating", path(id), error))
    }

    /// Opens a run's file, for reads to come.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is missing, and [`Error::Io`].
    pub(crate) fn open(&self, id: RunId) -> Result<()> {
        self.handle(id).map(drop)
    }

    fn handle(&self, id: RunId) -> Result<Arc<dyn File>> {
        let open = || self.device.open(&path(id), Access::Direct);
        self.handles.get_or_insert_with(&id, open).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::corrupt(path(id), 0, "the run is missing"),
            _ => Error::io("opening", path(id), error),
        })
    }

    /// Reads `pages` pages of a run from page `first` on into `buffer`, unverified.
    pub(super) fn read_pages(&self, id: RunId, first: u64, buffer: &mut [u8]) -> Result<()> {
        let offset = first * PAGE_BYTES as u64;
        self.handle(id)?.read_at(buffer, offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::corrupt(path(id), offset, "the file is too short"),
            _ => Error::io("reading", path(id), error),
        })
    }

    /// The seal of one kind of structure in a run's file.
    pub(super) fn seal(&self, id: RunId, kind: Kind) -> Seal {
        Seal::new(self.store, kind, id.0)
    }

    /// The page, if it bears its seal.
    pub(super) fn verify<'a>(&self, id: RunId, number: u64, page: &'a [u8]) -> Result<&'a [u8; PAGE_BYTES]> {
        let page = page.first_chunk().expect("reads are of whole pages");
        let kind = if number == 0 { HEADER_KIND } else { PAGE_KIND };
        if self.seal(id, kind).is_sealed(number * PAGE_BYTES as u64, page) {
            return Ok(page);
        }
        Err(self.damaged(id, number, "the page's seal is broken"))
    }

    /// A page of a run, from the cache or verified from disk.
    pub(super) fn page(&self, run: &Run, number: u32, patience: Patience) -> Result<Arc<[u8; PAGE_BYTES]>, Stop> {
        let key = PageKey { run: run.id(), page: number };
        if let Some(page) = self.pages.lookup(key) {
            return Ok(page);
        }
        if patience == Patience::CachedOnly {
            return Err(Stop::WouldBlock);
        }
        let mut buffer = AlignedBuffer::zeroed(PAGE_BYTES);
        self.read_pages(run.id(), number.into(), &mut buffer)?;
        let page = Arc::new(*self.verify(run.id(), number.into(), &buffer)?);
        // What is in the cache has been checked, so that lookups need not.
        self.parse(run, number, &page)?.check(|_| {}).map_err(|why| self.damaged(run.id(), number.into(), why))?;
        self.pages.insert(key, page.clone());
        Ok(page)
    }

    pub(super) fn parse<'a>(&self, run: &Run, number: u32, bytes: &'a [u8; PAGE_BYTES]) -> Result<Page<'a>> {
        Page::parse(bytes).map_err(|why| self.damaged(run.id(), number.into(), why))
    }

    pub(super) fn damaged(&self, id: RunId, page: u64, why: &'static str) -> Error {
        Error::corrupt(path(id), page * PAGE_BYTES as u64, why)
    }

    /// The index of a run, from memory or from disk.
    pub(super) fn index(&self, run: &Run, patience: Patience) -> Result<Arc<RunIndex>, Stop> {
        if patience == Patience::CachedOnly {
            return self.indexes.get(&run.id()).ok_or(Stop::WouldBlock);
        }
        Ok(self.indexes.get_or_insert_with(&run.id(), || self.read_index(run.meta()).map(Arc::new))?)
    }

    fn read_index(&self, meta: &RunMeta) -> Result<RunIndex> {
        let (footer, last_page) = self.read_footer(meta)?;
        let pages = u64::from(meta.entry_pages) + u64::from(meta.range_pages);
        let len = footer.index_bytes.get() as usize;
        if len as u64 != pages * INDEX_ENTRY_BYTES as u64 {
            return Err(self.damaged(meta.id, 1 + pages, "the index has another length than the pages need"));
        }
        let bytes = self.read_tail(meta, &last_page, 0, len)?;
        let seal = self.seal(meta.id, INDEX_KIND).checksum((1 + pages) * PAGE_BYTES as u64, &[&bytes]);
        if seal != footer.index_seal.get() {
            return Err(self.damaged(meta.id, 1 + pages, "the index's seal is broken"));
        }
        Ok(RunIndex::decode(&bytes))
    }

    pub(super) fn summary(&self, meta: &RunMeta) -> Result<Vec<(SegmentId, u64)>> {
        let (footer, last_page) = self.read_footer(meta)?;
        let tail = 1 + u64::from(meta.entry_pages) + u64::from(meta.range_pages);
        let (at, len) = (footer.index_bytes.get() as usize, footer.summary_bytes.get() as usize);
        let bytes = self.read_tail(meta, &last_page, at, len)?;
        let seal = self.seal(meta.id, SUMMARY_KIND).checksum(tail * PAGE_BYTES as u64 + at as u64, &[&bytes]);
        if seal != footer.summary_seal.get() {
            return Err(self.damaged(meta.id, tail, "the summary's seal is broken"));
        }
        summary::decode(&bytes).ok_or_else(|| self.damaged(meta.id, tail, "the summary makes no sense"))
    }

    /// `len` bytes of what lies between the pages and the footer, from `at`; the last page has been read already.
    fn read_tail(&self, meta: &RunMeta, last_page: &[u8], at: usize, len: usize) -> Result<Vec<u8>> {
        let tail = (1 + meta.entry_pages as usize + meta.range_pages as usize) * PAGE_BYTES;
        let (from, to) = (tail + at, tail + at + len);
        let last_at = meta.bytes as usize - PAGE_BYTES;
        if to > meta.bytes as usize - FOOTER_BYTES {
            return Err(self.damaged(
                meta.id,
                (tail / PAGE_BYTES) as u64,
                "index and summary do not fit into the file",
            ));
        }
        if from >= last_at {
            return Ok(last_page[from - last_at..to - last_at].to_vec());
        }
        let start = from / PAGE_BYTES;
        let mut buffer = AlignedBuffer::zeroed((to - start * PAGE_BYTES).next_multiple_of(PAGE_BYTES));
        self.read_pages(meta.id, start as u64, &mut buffer)?;
        Ok(buffer[from - start * PAGE_BYTES..to - start * PAGE_BYTES].to_vec())
    }

    /// The footer, verified and in agreement with `meta`, and the page it is in.
    pub(super) fn read_footer(&self, meta: &RunMeta) -> Result<(FooterV1, AlignedBuffer)> {
        let pages = meta.bytes / PAGE_BYTES as u64;
        let needed = 2 + u64::from(meta.entry_pages) + u64::from(meta.range_pages);
        if !meta.bytes.is_multiple_of(PAGE_BYTES as u64) || pages < needed {
            return Err(self.damaged(meta.id, 0, "the manifest gives the file an impossible length"));
        }
        let number = pages - 1;
        let mut page = AlignedBuffer::zeroed(PAGE_BYTES);
        self.read_pages(meta.id, number, &mut page)?;
        let bytes = &page[PAGE_BYTES - FOOTER_BYTES..];
        let footer = FooterV1::read_from_bytes(bytes).expect("a footer is made of any 256 bytes");
        let offset = meta.bytes - FOOTER_BYTES as u64;
        let seal = self.seal(meta.id, FOOTER_KIND).checksum(offset, &[&bytes[..FOOTER_BYTES - 4]]);
        if footer.magic != FOOTER_MAGIC || seal != footer.seal.get() {
            return Err(self.damaged(meta.id, number, "the footer's seal is broken"));
        }
        if footer.version.get() != VERSION {
            return Err(Error::Unsupported { what: "run version", found: footer.version.get().into() });
        }
        if footer.incompat.get() & !INCOMPAT_KNOWN != 0 {
            return Err(Error::Unsupported { what: "run feature", found: footer.incompat.get() });
        }
        // The level is where the run was written for; the manifest's is where it has come to since.
        if (RunMeta { level: meta.level, ..footer.meta(meta.bytes) }) != *meta {
            return Err(self.damaged(meta.id, number, "the footer disagrees with the manifest"));
        }
        Ok((footer, page))
    }
}
