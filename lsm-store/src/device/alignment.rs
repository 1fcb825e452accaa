//! The rules of direct I/O: what may be multiples of what, and how a short read at the end of a file looks.

#[cfg(test)]
mod tests;

use std::io;

/// Fails with [`io::ErrorKind::InvalidInput`] unless memory, offset and length are multiples of `alignment`.
pub(super) fn check(alignment: usize, memory: &[u8], offset: u64) -> io::Result<()> {
    let aligned = memory.as_ptr().addr().is_multiple_of(alignment)
        && memory.len().is_multiple_of(alignment)
        && offset.is_multiple_of(alignment as u64);
    if aligned {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "memory, offset or length is not aligned for direct I/O"))
}

/// Whether a read that gave `count` bytes, `filled` of `len` in all, has met the end of the file.
///
/// A direct read stops off the alignment at the end of the file only; going on from there would be refused.
pub(super) fn at_end(count: usize, filled: usize, len: usize, alignment: usize) -> bool {
    filled < len && (count == 0 || !filled.is_multiple_of(alignment))
}
