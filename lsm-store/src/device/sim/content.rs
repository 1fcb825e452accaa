//! The bytes of a simulated file, in pages that clones share: a copy of a whole disk costs a pointer a page.

use std::collections::BTreeMap;
use std::sync::Arc;

const PAGE_BYTES: usize = 4096;

/// Bytes by page; a page that is missing is zero, and so is everything beyond `len`.
#[derive(Clone, Default)]
pub(super) struct Content {
    pages: BTreeMap<u64, Arc<[u8; PAGE_BYTES]>>,
    len: u64,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Cuts, or extends with zeros.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.pages.split_off(&len.div_ceil(PAGE_BYTES as u64));
            let (page, kept) = split(len);
            if let Some(bytes) = self.pages.get_mut(&page) {
                Arc::make_mut(bytes)[kept..].fill(0);
            }
        }
        self.len = len;
    }

    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Fills `buf`; bytes beyond the end are zero.
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) {
        for_each_page(offset, buf.len(), |page, within, range| match self.pages.get(&page) {
            Some(bytes) => buf[range.clone()].copy_from_slice(&bytes[within..within + range.len()]),
            None => buf[range].fill(0),
        });
    }

    /// Writes, extending the file as needed.
    pub(super) fn write(&mut self, data: &[u8], offset: u64) {
        for_each_page(offset, data.len(), |page, within, range| {
            let data = &data[range];
            if data.len() == PAGE_BYTES && data.iter().all(|&byte| byte == 0) {
                self.pages.remove(&page);
                return;
            }
            let bytes = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(bytes)[within..within + data.len()].copy_from_slice(data);
        });
        self.grow(offset + data.len() as u64);
    }

    /// Inverts bit `bit` (0 to 7) of the byte at `offset`, if the file is that long.
    pub(super) fn flip_bit(&mut self, offset: u64, bit: u8) {
        if offset < self.len {
            let mut byte = [0];
            self.read(&mut byte, offset);
            self.write(&[byte[0] ^ (1 << bit)], offset);
        }
    }
}

fn split(offset: u64) -> (u64, usize) {
    let page_bytes = PAGE_BYTES as u64;
    (offset / page_bytes, usize::try_from(offset % page_bytes).expect("a remainder below the page size"))
}

/// Calls `visit` with each page of a range of a file, where in the page it starts, and which bytes of the range it holds.
fn for_each_page(offset: u64, len: usize, mut visit: impl FnMut(u64, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let (page, within) = split(offset + done as u64);
        let count = (PAGE_BYTES - within).min(len - done);
        visit(page, within, done..done + count);
        done += count;
    }
}
