//! Zeros in content, which are never stored.

use std::ops::Range;

use siltstone::store::fingerprint::is_zero;
use siltstone::store::id::BLOCK_BYTES;

/// Runs of zero blocks shorter than this stay in the write around them: the store drops zero blocks itself, and one
/// large write costs less than many small ones.
const GAP_BLOCKS_MIN: usize = 16;

/// The ranges of `bytes` that are left when long runs of zero blocks are taken out; cut at block borders, in order.
pub(crate) fn data_ranges(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        if is_zero(block) {
            continue;
        }
        let start = index * BLOCK_BYTES;
        let end = start + block.len();
        match ranges.last_mut() {
            Some(last) if start - last.end < GAP_BLOCKS_MIN * BLOCK_BYTES => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
