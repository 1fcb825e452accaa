//! Lays a stream out in a volume as it comes.
//!
//! While it comes, the volume is as large as can be, and the index is in its upper half; at the end the index moves behind the
//! data. A page of the index is written after the chunks it names, in the order of the volume's writes, so whatever a crash
//! leaves of that order, what the index names is there: that is how a broken upload is resumed.

use lsm_store::checksum::PAGE_BYTES;
use lsm_store::fingerprint::is_zero;
use lsm_store::id::BLOCK_BYTES;
use lsm_store::request::{Write, Zeroing};
use lsm_store::store::{Store, VOLUME_BYTES_MAX, Volume};
use lsm_store::{Error, Result};

use super::chunker::CHUNK_BYTES_MAX;
use super::index::{IndexPage, Place};
use super::reader::ObjectReader;
use super::{Chunker, PIECE_BYTES, blocks, byte_of};

/// The size of a volume while a stream comes into it.
pub(crate) const UPLOAD_BYTES: u64 = VOLUME_BYTES_MAX;

/// Where the index is until the stream has ended; the data ends before.
const INDEX_BYTE: u64 = UPLOAD_BYTES / 2;

/// Pages of the index that move at once.
const PAGES_AT_ONCE: u64 = (PIECE_BYTES / PAGE_BYTES) as u64;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A stream on its way into a volume.
pub(crate) struct StreamWriter {
    volume: Volume,
    chunker: Chunker,
    /// What has come and could not be cut yet.
    pending: Vec<u8>,
    /// Chunks to be written, each padded to whole blocks.
    laid: Vec<u8>,
    /// Where they go.
    block: u64,
    /// The page that they are on. Without chunks the page says only how far the stream has come.
    page: IndexPage,
}

/// A stream that has come to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Laid {
    pub(crate) length: u64,
    pub(crate) index_pages: u64,
}

impl StreamWriter {
    /// For a stream from its start, into a new volume of [`UPLOAD_BYTES`].
    pub(crate) fn new(volume: Volume, chunker: Chunker) -> Self {
        Self::at(volume, chunker, IndexPage::new(0, Place::default()))
    }

    fn at(volume: Volume, chunker: Chunker, page: IndexPage) -> Self {
        let block = page.end.block;
        Self { volume, chunker, pending: Vec::new(), laid: Vec::new(), block, page }
    }

    /// For the rest of a stream that was broken off; begins with [`StreamWriter::clear_rest`].
    pub(crate) fn find(volume: Volume, chunker: Chunker) -> Result<Self> {
        let Some(last) = last_page(&volume)? else { return Ok(Self::new(volume, chunker)) };
        let page = if last.is_full() { last.following() } else { last };
        Ok(Self::at(volume, chunker, page))
    }

    /// Drops what came behind the last chunk of the index.
    pub(crate) fn clear_rest(&self) -> Result<()> {
        let start = byte_of(self.block);
        self.volume.zero(start, INDEX_BYTE - start, Zeroing::Hole)
    }

    /// Bytes of the stream that have come. After [`StreamWriter::find`]: where it goes on.
    pub(crate) fn position(&self) -> u64 {
        self.page.end.offset + self.pending.len() as u64
    }

    /// What is in the volume, to read: after [`StreamWriter::find`], all before its position.
    pub(crate) fn reader(&self) -> ObjectReader {
        let pages = self.page.number + u64::from(!self.page.is_empty());
        ObjectReader::new(self.volume.clone(), self.chunker, self.page.end.offset, INDEX_BYTE, pages)
    }

    /// Takes more of the stream. After an error the writer is of no further use.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        let mut rest = data;
        if !pending.is_empty() {
            // As much as tells where the chunks end that begin in what was left.
            let left = pending.len();
            pending.extend_from_slice(&data[..data.len().min(CHUNK_BYTES_MAX)]);
            let mut cut = 0;
            while cut < left
                && let Some(len) = self.chunker.cut(&pending[cut..], false)
            {
                self.lay(&pending[cut..cut + len])?;
                cut += len;
            }
            if cut < left {
                // All of `data` is there, and it was not enough.
                pending.drain(..cut);
                self.pending = pending;
                return Ok(());
            }
            rest = &data[cut - left..];
            pending.clear();
        }
        pending.extend_from_slice(self.lay_all(rest, false)?);
        self.pending = pending;
        Ok(())
    }

    /// Takes zeros, as [`StreamWriter::write`] would; those that fill chunks of their own are not looked at.
    pub(crate) fn write_zeros(&mut self, mut len: u64) -> Result<()> {
        let mut fed = 0;
        while len > 0 {
            let waiting = self.pending.len() as u64;
            if waiting <= fed && waiting + len >= self.chunker.zeros_bytes() {
                self.pending.clear();
                len = self.skip_zeros(waiting + len)?;
                fed = 0;
            }
            let piece = len.min(ZEROS.len() as u64);
            self.write(&ZEROS[..piece as usize])?;
            len -= piece;
            fed += piece;
        }
        Ok(())
    }

    /// Leaves holes for zeros where a chunk begins; returns how many are left, which fill no chunk.
    fn skip_zeros(&mut self, len: u64) -> Result<u64> {
        self.write_laid()?;
        let chunk = self.chunker.zeros_bytes();
        let skipped = len / chunk * chunk;
        check_end(self.block.saturating_add(skipped / BLOCK_BYTES as u64))?;
        match self.chunker {
            Chunker::Fixed => self.page = IndexPage::new(0, self.page.end.skip(skipped)),
            Chunker::FastCdcV1 => {
                for _ in 0..skipped / chunk {
                    if self.page.is_full() {
                        self.write_laid()?;
                    }
                    self.page.push(chunk as usize);
                    self.block = self.page.end.block;
                }
            }
        }
        self.block = self.page.end.block;
        Ok(len - skipped)
    }

    /// Cuts chunks off until more would have to come; returns what is left.
    fn lay_all<'a>(&mut self, mut rest: &'a [u8], is_end: bool) -> Result<&'a [u8]> {
        while let Some(len) = self.chunker.cut(rest, is_end) {
            let (chunk, behind) = rest.split_at(len);
            self.lay(chunk)?;
            rest = behind;
        }
        Ok(rest)
    }

    /// Puts a chunk behind those that are to be written; what is not cut comes in pieces of its own.
    fn lay(&mut self, chunk: &[u8]) -> Result<()> {
        for part in chunk.chunks(PIECE_BYTES) {
            if self.page.is_full() || self.laid.len() + part.len().next_multiple_of(BLOCK_BYTES) > PIECE_BYTES {
                self.write_laid()?;
            }
            self.laid.extend_from_slice(part);
            self.laid.resize(self.laid.len().next_multiple_of(BLOCK_BYTES), 0);
            self.note(part.len());
        }
        Ok(())
    }

    fn note(&mut self, len: usize) {
        match self.chunker {
            Chunker::Fixed => self.page = IndexPage::new(0, self.page.end.after(len).expect("the volume ends before")),
            Chunker::FastCdcV1 => self.page.push(len),
        }
    }

    /// Writes the chunks, then the page that names them.
    fn write_laid(&mut self) -> Result<()> {
        let end = self.block + blocks(self.laid.len());
        check_end(end)?;
        if !is_zero(&self.laid) {
            self.volume.write(&[Write { offset: byte_of(self.block), data: &self.laid }])?;
        }
        let offset = INDEX_BYTE + byte_of(self.page.number);
        self.volume.write(&[Write { offset, data: &self.page.encode() }])?;
        self.laid.clear();
        self.block = end;
        if self.page.is_full() {
            self.page = self.page.following();
        }
        Ok(())
    }

    /// Ends the stream: cuts what is left, moves the index behind the data, cuts the volume to size, and makes all of it
    /// durable.
    pub(crate) fn finish(mut self, store: &Store) -> Result<Laid> {
        let pending = std::mem::take(&mut self.pending);
        self.lay_all(&pending, true)?;
        self.write_laid()?;
        let index_pages = self.page.number + u64::from(!self.page.is_empty());
        self.move_index(index_pages)?;
        let size_bytes = byte_of((self.block + index_pages).max(1));
        store.resize_volume(self.volume.id(), size_bytes)?;
        self.volume.flush()?;
        Ok(Laid { length: self.page.end.offset, index_pages })
    }

    fn move_index(&self, pages: u64) -> Result<()> {
        let mut page = 0;
        while page < pages {
            let count = (pages - page).min(PAGES_AT_ONCE);
            let mut bytes = vec![0; byte_of(count) as usize];
            self.volume.read(INDEX_BYTE + byte_of(page), bytes.len())?.copy_to(&mut bytes);
            self.volume.write(&[Write { offset: byte_of(self.block + page), data: &bytes }])?;
            page += count;
        }
        Ok(())
    }
}

fn check_end(block: u64) -> Result<()> {
    if block > INDEX_BYTE / BLOCK_BYTES as u64 {
        return Err(Error::Invalid { what: "an object", must: "at most 512 TiB" });
    }
    Ok(())
}

/// The last page of the index that was written. Pages are written in order, so those that are there come first.
fn last_page(volume: &Volume) -> Result<Option<IndexPage>> {
    let read = |number: u64| {
        let mut page = [0; PAGE_BYTES];
        volume.read(INDEX_BYTE + byte_of(number), PAGE_BYTES)?.copy_to(&mut page);
        Ok::<_, Error>(page)
    };
    let is_there = |number: u64| Ok::<_, Error>(read(number)? != [0; PAGE_BYTES]);
    // All pages before `there` are, and `missing` is not.
    let (mut there, mut missing) = (0, 0);
    while is_there(missing)? {
        there = missing + 1;
        missing = there * 2;
    }
    while there < missing {
        let middle = there + (missing - there) / 2;
        match is_there(middle)? {
            true => there = middle + 1,
            false => missing = middle,
        }
    }
    let Some(number) = there.checked_sub(1) else { return Ok(None) };
    let damaged = |why| Error::Corrupt { file: format!("volume {}", volume.id()), offset: INDEX_BYTE, why };
    IndexPage::decode(&read(number)?, number).map(Some).map_err(damaged)
}
