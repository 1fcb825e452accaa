//! Memory for direct I/O: page-aligned, of a length that is a multiple of the alignment.

/// A zeroed, page-aligned buffer.
pub struct AlignedBuffer {
    storage: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// A buffer of `len` zero bytes aligned to [`super::DIRECT_ALIGNMENT`].
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let storage = vec![0; len + super::DIRECT_ALIGNMENT];
        let start = storage.as_ptr().align_offset(super::DIRECT_ALIGNMENT);
        Self { storage, start, len }
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
