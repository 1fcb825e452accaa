//! Writes a run: pages as they fill up, then the ranges, the index, the summary and the footer.

use std::io::IoSlice;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::format::{
    FOOTER_BYTES, FOOTER_KIND, FooterV1, HEADER_KIND, HEADER_MAGIC, HeaderV1, INDEX_KIND, PAGE_KIND, SUMMARY_KIND,
    VERSION,
};
use super::summary::SummaryBuilder;
use super::{RANGE_BLOCKS_MIN, Run, RunFiles, RunMeta, index, path};
use crate::device::{AlignedBuffer, File};
use crate::error::{Error, Result};
use crate::id::{LayerId, RunId};
use crate::map::filter::FilterKeys;
use crate::map::page::builder::{FinishedPage, PageBuilder};
use crate::map::page::{PAGE_BYTES, is_storable};
use crate::map::{Key, Stretch, Target};

/// Pages written at once.
const WRITE_PAGES: usize = 64;

/// A run being written. Dropped before it is finished it leaves a file that recovery deletes.
///
/// Memory: a write buffer of 256 KiB, the pages of ranges, 24 bytes a page, 16 bytes a segment, and 8 bytes a key of the
/// filter.
pub struct RunWriter {
    files: Arc<RunFiles>,
    file: Arc<dyn File>,
    meta: RunMeta,
    buffer: AlignedBuffer,
    buffered_pages: usize,
    written_pages: u64,
    digest: blake3::Hasher,
    entries: PageBuilder,
    ranges: PageBuilder,
    range_pages: Vec<FinishedPage>,
    last_range: Option<Stretch>,
    index: Vec<u8>,
    summary: SummaryBuilder,
    filter: Option<FilterKeys>,
}

impl RunWriter {
    /// Makes the file of a new run, written for `level`; `with_filter` collects keys for a filter on the way.
    ///
    /// # Errors
    /// [`Error::OutOfSpace`] and [`Error::Io`].
    pub fn create(files: &Arc<RunFiles>, id: RunId, level: u8, with_filter: bool) -> Result<Self> {
        let nowhere = Key::default();
        let mut writer = Self {
            files: files.clone(),
            file: files.create(id)?,
            meta: RunMeta {
                id,
                level,
                bytes: 0,
                entry_pages: 0,
                range_pages: 0,
                entries: 0,
                ranges: 0,
                blocks: 0,
                first: nowhere,
                last: nowhere,
                layer_min: LayerId(u64::MAX),
                layer_max: LayerId(0),
            },
            buffer: AlignedBuffer::zeroed(WRITE_PAGES * PAGE_BYTES),
            buffered_pages: 0,
            written_pages: 0,
            digest: blake3::Hasher::new(),
            entries: PageBuilder::new(),
            ranges: PageBuilder::new(),
            range_pages: Vec::new(),
            last_range: None,
            index: Vec::new(),
            summary: SummaryBuilder::default(),
            filter: with_filter.then(FilterKeys::default),
        };
        writer.write_header()?;
        Ok(writer)
    }

    fn write_header(&mut self) -> Result<()> {
        let header = HeaderV1 {
            magic: HEADER_MAGIC,
            version: VERSION.into(),
            level: u32::from(self.meta.level).into(),
            compat: 0.into(),
            ro_compat: 0.into(),
            incompat: 0.into(),
            store: self.files.store().0,
            run: self.meta.id.0.into(),
            created_s: self.files.now().as_secs().into(),
        };
        let mut page = [0; PAGE_BYTES];
        page[..size_of::<HeaderV1>()].copy_from_slice(header.as_bytes());
        self.write_sealed(&mut page)
    }

    /// Adds a stretch that follows all pushed before it in the order of runs; huge trims and zeroings become ranges.
    ///
    /// # Errors
    /// [`Error::OutOfSpace`] and [`Error::Io`]: drop the writer and delete the run.
    ///
    /// # Panics
    /// If the stretch is out of order or out of its bounds.
    pub fn push(&mut self, stretch: Stretch) -> Result<()> {
        let huge = stretch.count > RANGE_BLOCKS_MIN && !matches!(stretch.target, Target::Data(_));
        if huge { self.push_range(stretch) } else { self.push_entry(stretch) }
    }

    /// Adds an entry that lies behind all entries before it, or is an older version of the last one's blocks.
    ///
    /// # Errors
    /// As [`RunWriter::push`].
    ///
    /// # Panics
    /// As [`RunWriter::push`].
    pub fn push_entry(&mut self, stretch: Stretch) -> Result<()> {
        self.cover(&stretch);
        self.meta.entries += 1;
        self.meta.blocks += stretch.count;
        self.summary.add(&stretch);
        if let Some(filter) = &mut self.filter {
            filter.add(&stretch);
        }
        match self.entries.push(stretch) {
            Some(page) => self.write_entry_page(page),
            None => Ok(()),
        }
    }

    /// Adds a range (trim or zeroing) that lies behind all ranges before it, or is an older version of the last one's
    /// blocks. It may overlap entries; those of its own layer and of newer ones then win.
    ///
    /// # Errors
    /// None yet.
    ///
    /// # Panics
    /// As [`RunWriter::push`], and for data.
    pub fn push_range(&mut self, range: Stretch) -> Result<()> {
        assert!(!matches!(range.target, Target::Data(_)), "data is no range");
        assert!(is_storable(&range), "{range:?} keeps the bounds of a volume");
        assert!(self.last_range.is_none_or(|last| last.precedes(&range)), "{range:?} is in order");
        self.cover(&range);
        self.last_range = Some(range);
        self.meta.ranges += 1;
        self.range_pages.extend(self.ranges.push(range));
        Ok(())
    }

    /// Widens the run's bounds.
    fn cover(&mut self, stretch: &Stretch) {
        if self.is_empty() {
            (self.meta.first, self.meta.last) = (stretch.key(), stretch.last_key());
        }
        self.meta.first = self.meta.first.min(stretch.key());
        self.meta.last = self.meta.last.max(stretch.last_key());
        self.meta.layer_min = self.meta.layer_min.min(stretch.layer);
        self.meta.layer_max = self.meta.layer_max.max(stretch.layer);
    }

    /// True if nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.meta.entries + self.meta.ranges == 0
    }

    /// Bytes of the pages so far, about.
    #[must_use]
    pub fn pages_bytes(&self) -> u64 {
        let full = self.written_pages as usize + self.buffered_pages + self.range_pages.len();
        (full * PAGE_BYTES + self.entries.pending_bytes() + self.ranges.pending_bytes()) as u64
    }

    /// Ends the run and syncs its file. The caller syncs the directory ([`RunFiles::sync_directory`]) before it names
    /// the run in the manifest.
    ///
    /// # Errors
    /// [`Error::OutOfSpace`] and [`Error::Io`]; after a failed sync the store must stop.
    ///
    /// # Panics
    /// If nothing was pushed.
    pub fn finish(mut self) -> Result<Arc<Run>> {
        assert!(!self.is_empty(), "a run is not empty");
        while let Some(page) = self.entries.finish() {
            self.write_entry_page(page)?;
        }
        self.range_pages.extend(std::iter::from_fn(|| self.ranges.finish()));
        for mut page in std::mem::take(&mut self.range_pages) {
            self.index.extend(index::encode(page.first));
            self.meta.range_pages += 1;
            self.write_sealed(&mut page.bytes)?;
        }
        self.write_tail()?;
        self.write_out()?;
        self.file.sync_data().map_err(|error| Error::io("syncing", path(self.meta.id), error))?;
        let run = Run::new(self.files, self.meta);
        if let Some(keys) = self.filter {
            run.install_filter(keys, self.meta.level);
        }
        Ok(run)
    }

    /// Index and summary, and the footer so that it ends on a page's end.
    fn write_tail(&mut self) -> Result<()> {
        let tail_page = self.written_pages + self.buffered_pages as u64;
        let summary = std::mem::take(&mut self.summary).encode();
        let mut tail = std::mem::take(&mut self.index);
        let index_bytes = tail.len();
        tail.extend(&summary);
        tail.resize((tail.len() + FOOTER_BYTES).next_multiple_of(PAGE_BYTES) - FOOTER_BYTES, 0);
        let last_page = tail_page + (tail.len() / PAGE_BYTES) as u64;
        self.meta.bytes = (last_page + 1) * PAGE_BYTES as u64;
        let seal_of = |kind, offset, bytes: &[u8]| self.files.seal(self.meta.id, kind).checksum(offset, &[bytes]);
        let tail_at = tail_page * PAGE_BYTES as u64;
        let mut footer = FooterV1::new(self.files.store(), &self.meta);
        footer.index_bytes = (index_bytes as u32).into();
        footer.index_seal = seal_of(INDEX_KIND, tail_at, &tail[..index_bytes]).into();
        footer.summary_bytes = (summary.len() as u32).into();
        footer.summary_seal = seal_of(SUMMARY_KIND, tail_at + index_bytes as u64, &summary).into();
        let (mut digest, unwritten) = (self.digest.clone(), self.buffered_pages * PAGE_BYTES);
        digest.update(&self.buffer[..unwritten]).update(&tail);
        footer.digest = *digest.finalize().as_bytes();
        let footer_at = self.meta.bytes - FOOTER_BYTES as u64;
        footer.seal = seal_of(FOOTER_KIND, footer_at, &footer.as_bytes()[..FOOTER_BYTES - 4]).into();
        tail.extend(footer.as_bytes());
        tail.chunks_exact(PAGE_BYTES).try_for_each(|page| self.write_page(page))
    }

    fn write_entry_page(&mut self, mut page: FinishedPage) -> Result<()> {
        self.index.extend(index::encode(page.first));
        self.meta.entry_pages += 1;
        self.write_sealed(&mut page.bytes)
    }

    fn write_sealed(&mut self, page: &mut [u8; PAGE_BYTES]) -> Result<()> {
        let number = self.written_pages + self.buffered_pages as u64;
        let kind = if number == 0 { HEADER_KIND } else { PAGE_KIND };
        self.files.seal(self.meta.id, kind).seal_page(number * PAGE_BYTES as u64, page);
        self.write_page(page)
    }

    fn write_page(&mut self, page: &[u8]) -> Result<()> {
        let at = self.buffered_pages * PAGE_BYTES;
        self.buffer[at..at + PAGE_BYTES].copy_from_slice(page);
        self.buffered_pages += 1;
        if self.buffered_pages == WRITE_PAGES { self.write_out() } else { Ok(()) }
    }

    /// Hands the buffered pages to the device.
    fn write_out(&mut self) -> Result<()> {
        let bytes = &self.buffer[..self.buffered_pages * PAGE_BYTES];
        self.digest.update(bytes);
        self.file
            .write_at(&[IoSlice::new(bytes)], self.written_pages * PAGE_BYTES as u64)
            .map_err(|error| Error::io("writing", path(self.meta.id), error))?;
        self.written_pages += self.buffered_pages as u64;
        self.buffered_pages = 0;
        Ok(())
    }
}
