//! Fields of 0 to 56 bits, packed without gaps, least significant bit first, in a 4 KiB page.
//!
//! A field that begins in the last 8 bytes of the page cannot be read; the page format keeps those free.

use super::page::PAGE_BYTES;

/// Bits of the widest field.
pub(super) const WIDTH_MAX: u32 = 56;

/// How many bits `value` needs; 0 for 0.
pub(super) fn width_of(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// The field of `width` bits at bit `at`. Fields outside the page read as some number: the caller checks its bounds.
#[inline]
pub(super) fn read_bits(page: &[u8; PAGE_BYTES], at: usize, width: u32) -> u64 {
    let byte = (at >> 3).min(PAGE_BYTES - 8);
    let word = u64::from_le_bytes(page[byte..byte + 8].try_into().expect("8 bytes are a u64"));
    (word >> (at & 7)) & ((1 << (width & 63)) - 1)
}

/// Appends fields to a page that was all zeros.
pub(super) struct BitWriter {
    page: Box<[u8; PAGE_BYTES]>,
    at: usize,
}

impl BitWriter {
    pub(super) fn new() -> Self {
        Self { page: Box::new([0; PAGE_BYTES]), at: 0 }
    }

    /// Bits written.
    pub(super) fn len(&self) -> usize {
        self.at
    }

    /// Appends the `width` low bits of `value`, which must have no others.
    #[inline]
    pub(super) fn put(&mut self, value: u64, width: u32) {
        debug_assert!(width <= WIDTH_MAX && width_of(value) <= width, "{value} fits in {width} bits");
        let byte = self.at >> 3;
        let slot = &mut self.page[byte..byte + 8];
        let word = u64::from_le_bytes((&*slot).try_into().expect("8 bytes are a u64")) | value << (self.at & 7);
        slot.copy_from_slice(&word.to_le_bytes());
        self.at += width as usize;
    }

    /// The bytes that hold what was written, the last one filled up with zero bits.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.page[..self.at.div_ceil(8)]
    }

    pub(super) fn clear(&mut self) {
        self.page.fill(0);
        self.at = 0;
    }
}
