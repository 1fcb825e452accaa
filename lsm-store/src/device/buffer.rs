//! Memory for direct I/O: page-aligned, and kept for reuse, since the first touch of a fresh page costs a page fault.

mod pool;
#[cfg(test)]
mod tests;

pub use pool::BufferPool;

use std::fmt;

use super::DIRECT_ALIGNMENT;

/// Page-aligned memory. It never moves while the buffer lives, not even when the buffer itself is moved.
pub struct AlignedBuffer {
    storage: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// A buffer of `len` zero bytes aligned to [`DIRECT_ALIGNMENT`].
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let storage = vec![0; len + DIRECT_ALIGNMENT];
        let start = storage.as_ptr().align_offset(DIRECT_ALIGNMENT);
        let buffer = Self { storage, start, len };
        assert!(buffer.as_ptr().addr().is_multiple_of(DIRECT_ALIGNMENT), "a buffer must be aligned");
        buffer
    }

    /// The length that [`AlignedBuffer::set_len`] can reach.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.storage.len() - DIRECT_ALIGNMENT
    }

    /// Shows another length of the same memory; bytes that come into view hold whatever was there.
    ///
    /// # Panics
    /// If `len` is beyond the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity(), "a buffer of {} bytes cannot hold {len}", self.capacity());
        self.len = len;
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuffer({} of {} bytes)", self.len, self.capacity())
    }
}

impl std::ops::Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.len]
    }
}

impl std::ops::DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.len]
    }
}
