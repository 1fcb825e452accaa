//! Appends of any length to a direct file: collected in aligned memory and written in large aligned pieces.

use std::io::{self, IoSlice};

use crate::checksum::PAGE_BYTES;
use crate::device::{AlignedBuffer, File};

/// Bytes a write carries. Between 256 KiB and 1 MiB no difference was measured.
const STAGING_BYTES: usize = 512 << 10;

/// Bytes on their way to a file.
pub(super) struct Staging {
    buffer: AlignedBuffer,
    filled: usize,
    /// Where in the file `buffer` belongs.
    offset: u64,
}

impl Staging {
    /// For a file to be written from its start.
    pub(super) fn new() -> Self {
        Self { buffer: AlignedBuffer::zeroed(STAGING_BYTES), filled: 0, offset: 0 }
    }

    /// Bytes appended so far.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.filled as u64
    }

    /// Appends `bytes`, writing whenever the buffer is full.
    pub(super) fn append(&mut self, file: &dyn File, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = bytes.len().min(STAGING_BYTES - self.filled);
            self.buffer[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == STAGING_BYTES {
                self.flush(file)?;
            }
        }
        Ok(())
    }

    /// Appends zeros up to the next page.
    pub(super) fn pad(&mut self, file: &dyn File) -> io::Result<()> {
        let padding = self.filled.next_multiple_of(PAGE_BYTES) - self.filled;
        self.append(file, &[0; PAGE_BYTES][..padding])
    }

    /// Writes what is left; the position must be that of a page.
    pub(super) fn flush(&mut self, file: &dyn File) -> io::Result<()> {
        assert!(self.filled.is_multiple_of(PAGE_BYTES), "direct writes end at a page");
        if self.filled > 0 {
            file.write_at(&[IoSlice::new(&self.buffer[..self.filled])], self.offset)?;
            self.offset += self.filled as u64;
            self.filled = 0;
        }
        Ok(())
    }
}
