//! What written blocks hold: bytes that depend on a few numbers, so that an operation is short to print and to shrink.

use lsm_store::id::BLOCK_BYTES;
use lsm_store::rng::{Rng, SeededRng};

/// Different blocks that [`Content::Pooled`] draws from: few, so that most of them are duplicates.
const POOL_BLOCKS: u64 = 12;

/// The bytes of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Zeros, which the store must not store.
    Zeros,
    /// Blocks of a small pool, starting with this one; block for block the same wherever they are written.
    Pooled(u8),
    /// Bytes that neither repeat nor compress.
    Unique(u64),
    /// Bytes that compress well and repeat nowhere else.
    Text(u64),
    /// Each block one of the above.
    Mixed(u64),
}

impl Content {
    /// The bytes of `[offset, offset + len)` of a volume after a write of this content there.
    #[must_use]
    pub fn bytes(self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let within = (at % BLOCK_BYTES as u64) as usize;
            let here = (BLOCK_BYTES - within).min(len - done);
            let block = at / BLOCK_BYTES as u64;
            bytes[done..done + here].copy_from_slice(&self.block(block)[within..within + here]);
            done += here;
        }
        bytes
    }

    fn block(self, index: u64) -> Vec<u8> {
        let mut block = vec![0; BLOCK_BYTES];
        match self {
            Self::Zeros => {}
            Self::Pooled(first) => {
                let number = (u64::from(first) + index) % POOL_BLOCKS;
                SeededRng::new(0x9001 + number).fill(&mut block[..BLOCK_BYTES / 2]);
            }
            Self::Unique(seed) => SeededRng::new(seed ^ index.wrapping_mul(0x9e37_79b9)).fill(&mut block),
            Self::Text(seed) => {
                let words = SeededRng::new(seed ^ index.wrapping_mul(0x85eb_ca6b));
                let word = words.next_u64().to_le_bytes();
                block.iter_mut().zip(word.iter().cycle()).for_each(|(byte, from)| *byte = *from);
                words.fill(&mut block[..64]);
            }
            Self::Mixed(seed) => {
                let choice = SeededRng::new(seed ^ index.wrapping_mul(0xc2b2_ae35)).next_u64();
                let content = match choice % 8 {
                    0 => Self::Zeros,
                    1..=3 => Self::Pooled((choice >> 8) as u8),
                    4 | 5 => Self::Text(choice >> 8),
                    _ => Self::Unique(choice >> 8),
                };
                return content.block(index);
            }
        }
        block
    }
}
