//! The index of an object: the lengths of its chunks, on pages each of which says where its first chunk is in the stream and in
//! the volume. `docs/disk-format.md`, "Objects".

use lsm_store::checksum::{PAGE_BODY_BYTES, PAGE_BYTES, crc32c};
use lsm_store::id::BLOCK_BYTES;

use super::blocks;

/// Chunks on a page.
pub(super) const CHUNKS_MAX: usize = (PAGE_BODY_BYTES - HEAD_BYTES) / 2;
const MAGIC: [u8; 4] = *b"SOix";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 32;

/// A page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct IndexPage {
    /// Counted from 0.
    pub(super) number: u64,
    /// Where its chunks begin, and end.
    pub(super) start: Place,
    pub(super) end: Place,
    /// The length of each chunk, less one.
    lengths: Vec<u16>,
}

/// A position in the stream, and the block of the volume that it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) block: u64,
}

impl Place {
    /// The place behind a chunk here; `None` beyond all volumes.
    pub(super) fn after(self, len: usize) -> Option<Self> {
        let offset = self.offset.checked_add(len as u64)?;
        Some(Self { offset, block: self.block.checked_add(blocks(len))? })
    }

    /// The place behind so many bytes here, which are whole blocks. The caller has checked that the volume goes on so far.
    pub(super) fn skip(self, bytes: u64) -> Self {
        Self { offset: self.offset + bytes, block: self.block + bytes / BLOCK_BYTES as u64 }
    }
}

impl IndexPage {
    /// An empty page whose first chunk will be at `start`.
    pub(super) fn new(number: u64, start: Place) -> Self {
        Self { number, start, end: start, lengths: Vec::new() }
    }

    /// The page that goes on where this one ends.
    pub(super) fn following(&self) -> Self {
        Self::new(self.number + 1, self.end)
    }

    /// Adds a chunk.
    ///
    /// # Panics
    /// If the page is full, or the chunk empty or longer than 64 KiB.
    pub(super) fn push(&mut self, len: usize) {
        assert!(!self.is_full(), "a full page is followed by another");
        self.lengths.push(len.checked_sub(1).and_then(|less| u16::try_from(less).ok()).expect("a chunk is so long"));
        self.end = self.end.after(len).expect("the volume ends before");
    }

    pub(super) fn is_full(&self) -> bool {
        self.lengths.len() == CHUNKS_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Length of a chunk of the page.
    pub(super) fn chunk(&self, index: usize) -> Option<usize> {
        self.lengths.get(index).map(|less| usize::from(*less) + 1)
    }

    pub(super) fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        page[..4].copy_from_slice(&MAGIC);
        page[4] = VERSION;
        page[6..8].copy_from_slice(&(self.lengths.len() as u16).to_le_bytes());
        for (word, number) in page[8..HEAD_BYTES].as_chunks_mut().0.iter_mut().zip(self.head()) {
            *word = number.to_le_bytes();
        }
        let lengths = page[HEAD_BYTES..PAGE_BODY_BYTES].as_chunks_mut().0;
        for (word, length) in lengths.iter_mut().zip(&self.lengths) {
            *word = length.to_le_bytes();
        }
        let checksum = crc32c(&page[..PAGE_BODY_BYTES]);
        page[PAGE_BODY_BYTES..].copy_from_slice(&checksum.to_le_bytes());
        page
    }

    fn head(&self) -> [u64; 3] {
        [self.number, self.start.offset, self.start.block]
    }

    /// Reads page `number`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn decode(page: &[u8; PAGE_BYTES], number: u64) -> Result<Self, &'static str> {
        let (body, checksum) = page.split_at(PAGE_BODY_BYTES);
        if checksum != crc32c(body).to_le_bytes() {
            return Err("the checksum of a page of an object's index is wrong");
        }
        let (head, lengths) = body.split_at(HEAD_BYTES);
        let (words, _) = head.as_chunks::<8>();
        let [first, stored_number, offset, block] = [0, 1, 2, 3].map(|at| u64::from_le_bytes(words[at]));
        let [m, a, g, i, version, zero, count @ ..] = first.to_le_bytes();
        if [m, a, g, i] != MAGIC || version != VERSION || zero != 0 || stored_number != number {
            return Err("a page of an object's index is another one, or of a newer version");
        }
        let count = usize::from(u16::from_le_bytes(count));
        let lengths = lengths.as_chunks().0;
        let (used, unused) = lengths.split_at_checked(count).ok_or("a page has more chunks than fit")?;
        if unused.iter().any(|length| *length != [0; 2]) {
            return Err("a page has chunks that it does not count");
        }
        let mut page = Self::new(number, Place { offset, block });
        for length in used {
            page.lengths.push(u16::from_le_bytes(*length));
            let len = usize::from(u16::from_le_bytes(*length)) + 1;
            page.end = page.end.after(len).ok_or("a chunk lies beyond the end of all volumes")?;
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests;
