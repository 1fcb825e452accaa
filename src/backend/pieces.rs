//! What callers give, in pieces.

use std::io::Read;

use crate::error::{Cause, Caused};

/// Bytes moved at once.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// The next `len` bytes of what a caller gives, fewer only at its end.
pub(crate) fn read_piece(content: &mut dyn Read, len: usize) -> Caused<Vec<u8>> {
    let mut piece = Vec::with_capacity(len);
    Read::take(content, len as u64).read_to_end(&mut piece).map_err(Cause::Input)?;
    Ok(piece)
}
