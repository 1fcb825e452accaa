//! Reads of an object, from anywhere in it.

use lsm_store::checksum::PAGE_BYTES;
use lsm_store::store::Volume;
use lsm_store::{Error, Result};

use super::index::IndexPage;
use super::plan::Plan;
use super::stream::ObjectStream;
use super::{Chunker, byte_of};

/// An object to read. Cheap to clone; usable from many threads.
#[derive(Clone)]
pub struct ObjectReader {
    volume: Volume,
    chunker: Chunker,
    length: u64,
    /// Where the index begins.
    index_byte: u64,
    index_pages: u64,
}

impl ObjectReader {
    pub(crate) fn new(volume: Volume, chunker: Chunker, length: u64, index_byte: u64, index_pages: u64) -> Self {
        Self { volume, chunker, length, index_byte, index_pages }
    }

    /// An object that is complete: its index ends where its volume does.
    ///
    /// # Errors
    /// `Corrupt` if the volume has no room for the index.
    pub(crate) fn of_whole(volume: Volume, chunker: Chunker, length: u64, index_pages: u64) -> Result<Self> {
        let index_bytes = index_pages.checked_mul(PAGE_BYTES as u64);
        let index_byte = index_bytes.and_then(|bytes| volume.size_bytes().checked_sub(bytes));
        let too_small = || corrupt(&volume, 0, "an object's volume is smaller than its index");
        let index_byte = index_byte.ok_or_else(too_small)?;
        Ok(Self::new(volume, chunker, length, index_byte, index_pages))
    }

    /// Its bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads `len` bytes from `offset` on, fewer at the end.
    ///
    /// # Errors
    /// `Corrupt` if what is on disk is not what was written; `Io` if it cannot be read; `NotFound` once the object is gone.
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut plan = Plan::new(self, offset, offset.saturating_add(len as u64));
        while let Some(run) = plan.next(self)? {
            run.take(&self.volume.read(run.offset, run.len)?, &mut bytes);
        }
        Ok(bytes)
    }

    /// Reads from `offset` to `end`, or the object's end, ahead of whoever takes it.
    ///
    /// # Errors
    /// `Io` if the machine gives no read queue.
    pub fn stream(&self, offset: u64, end: u64) -> Result<ObjectStream> {
        ObjectStream::new(self.clone(), offset, end)
    }

    pub(super) fn volume(&self) -> &Volume {
        &self.volume
    }

    pub(super) fn chunker(&self) -> Chunker {
        self.chunker
    }

    /// Where the index begins: the data ends before.
    pub(super) fn index_byte(&self) -> u64 {
        self.index_byte
    }

    /// The last page of the index that begins at or before `offset`.
    pub(super) fn page_of(&self, offset: u64) -> Result<IndexPage> {
        // Every page before `first` begins there, `behind` and all later ones do not.
        let (mut first, mut behind) = (0, self.index_pages);
        let mut found = None;
        while first < behind {
            let middle = first + (behind - first) / 2;
            let page = self.page(middle)?;
            if page.start.offset <= offset {
                first = middle + 1;
                found = Some(page);
            } else {
                behind = middle;
            }
        }
        found.ok_or_else(|| self.corrupt(0, "no page of an object's index has its beginning"))
    }

    /// The page after one.
    pub(super) fn page_after(&self, page: &IndexPage) -> Result<IndexPage> {
        let number = page.number + 1;
        if number >= self.index_pages {
            return Err(self.corrupt(page.number, "an object's index ends before the object"));
        }
        let next = self.page(number)?;
        if next.start != page.end {
            return Err(self.corrupt(number, "a page of an object's index does not go on where the one before ends"));
        }
        Ok(next)
    }

    fn page(&self, number: u64) -> Result<IndexPage> {
        let mut page = [0; PAGE_BYTES];
        self.volume.read(self.index_byte + byte_of(number), PAGE_BYTES)?.copy_to(&mut page);
        IndexPage::decode(&page, number).map_err(|why| self.corrupt(number, why))
    }

    pub(super) fn corrupt(&self, page: u64, why: &'static str) -> Error {
        corrupt(&self.volume, self.index_byte + byte_of(page), why)
    }
}

fn corrupt(volume: &Volume, offset: u64, why: &'static str) -> Error {
    Error::Corrupt { file: format!("volume {}", volume.id()), offset, why }
}
