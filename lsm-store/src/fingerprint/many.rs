//! BLAKE3 of up to sixteen blocks side by side, one block in each lane of the processor's vectors.
//!
//! `blake3::hash` fills the lanes with the four chunks of one 4 KiB block, which leaves half of eight lanes idle. Its
//! many-input function is public but undocumented, so it is used here only, and only after it was seen, once in every
//! process, to agree with `blake3::hash`; otherwise [`hash`] declines.

use std::sync::LazyLock;

use blake3::IncrementCounter;
use blake3::platform::Platform;
use zerocopy::IntoBytes;

use super::Fingerprint;
use crate::id::BLOCK_BYTES;

/// The most blocks one call takes: the lanes of the widest vectors (AVX-512).
pub(super) const BLOCKS_MAX: usize = 16;

/// A chunk is BLAKE3's leaf (section 2.1 of its specification); a block has four, two parents and a root.
const CHUNK_BYTES: usize = 1024;
const CHUNKS: usize = BLOCK_BYTES / CHUNK_BYTES;

/// Section 2.2 of the specification: the initial value and the flags.
const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const PARENT: u8 = 4;
const ROOT: u8 = 8;

type ChainingValue = [u8; 32];

static TRUSTED: LazyLock<Option<Platform>> = LazyLock::new(|| {
    let platform = Platform::detect();
    let trusted = agrees(platform);
    if !trusted {
        tracing::warn!("hashing many blocks at once disagrees with BLAKE3 on this machine: hashing one by one");
    }
    (trusted && platform.simd_degree() > 1).then_some(platform)
});

/// Hashes at most [`BLOCKS_MAX`] blocks into `out`; false, with `out` untouched, if one by one is as fast.
pub(super) fn hash(blocks: &[&[u8; BLOCK_BYTES]], out: &mut [Fingerprint]) -> bool {
    let Some(platform) = *TRUSTED else { return false };
    let lanes = platform.simd_degree();
    // Idle lanes cost as much as used ones. Alone, a block keeps four lanes busy.
    let padded = blocks.len().next_multiple_of(lanes).min(BLOCKS_MAX);
    if blocks.len() * 2 <= padded {
        return false;
    }
    let mut padding = [blocks[0]; BLOCKS_MAX];
    padding[..blocks.len()].copy_from_slice(blocks);
    let mut hashes = [[0; 32]; BLOCKS_MAX];
    hash_blocks(platform, &padding[..padded], &mut hashes[..padded]);
    for (out, hash) in out.iter_mut().zip(hashes) {
        *out = Fingerprint(hash);
    }
    true
}

/// Hashes chunk 0 of all blocks, then chunk 1, ..., then both parents of all blocks, then their roots.
///
/// `hash_many` takes one counter for all its inputs, and the counter of a chunk is its number within its block: that is
/// why the blocks go side by side and not the chunks.
fn hash_blocks(platform: Platform, blocks: &[&[u8; BLOCK_BYTES]], out: &mut [ChainingValue]) {
    let count = blocks.len();
    let mut pairs = [[[[0_u8; 32]; 2]; 2]; BLOCKS_MAX];
    for chunk in 0..CHUNKS {
        let mut inputs = [&[0_u8; CHUNK_BYTES]; BLOCKS_MAX];
        for (input, block) in inputs.iter_mut().zip(blocks) {
            *input = &block.as_chunks().0[chunk];
        }
        let mut values = [[0_u8; 32]; BLOCKS_MAX];
        let values_out = values[..count].as_mut_bytes();
        let counter = chunk as u64;
        platform.hash_many(&inputs[..count], &IV, counter, IncrementCounter::No, 0, CHUNK_START, CHUNK_END, values_out);
        for (pairs, value) in pairs.iter_mut().zip(values) {
            pairs[chunk / 2][chunk % 2] = value;
        }
    }
    let mut parents = [[[0_u8; 32]; 2]; BLOCKS_MAX];
    hash_parents(platform, pairs[..count].as_flattened(), PARENT, parents[..count].as_flattened_mut());
    hash_parents(platform, &parents[..count], PARENT | ROOT, out);
}

/// Hashes pairs of chaining values into their parents.
fn hash_parents(platform: Platform, pairs: &[[ChainingValue; 2]], flags: u8, out: &mut [ChainingValue]) {
    let mut inputs = [&[0_u8; 64]; 2 * BLOCKS_MAX];
    for (input, pair) in inputs.iter_mut().zip(pairs) {
        *input = zerocopy::transmute_ref!(pair);
    }
    platform.hash_many(&inputs[..pairs.len()], &IV, 0, IncrementCounter::No, flags, 0, 0, out.as_mut_bytes());
}

/// Whether [`hash_blocks`] gives what `blake3::hash` gives, for as many blocks as are ever hashed at once.
fn agrees(platform: Platform) -> bool {
    let blocks: Vec<[u8; BLOCK_BYTES]> =
        (0..BLOCKS_MAX).map(|block| std::array::from_fn(|at| ((at + 1) * (block + 3) + (at >> 7)) as u8)).collect();
    let blocks: Vec<&[u8; BLOCK_BYTES]> = blocks.iter().collect();
    [platform.simd_degree(), BLOCKS_MAX].into_iter().all(|count| {
        let mut hashes = [[0; 32]; BLOCKS_MAX];
        hash_blocks(platform, &blocks[..count], &mut hashes[..count]);
        blocks[..count].iter().zip(hashes).all(|(block, hash)| *blake3::hash(&block[..]).as_bytes() == hash)
    })
}

#[cfg(test)]
pub(super) fn is_trusted() -> bool {
    TRUSTED.is_some()
}
