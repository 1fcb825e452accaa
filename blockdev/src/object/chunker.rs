//! Where a stream is cut.

use fastcdc::v2020::FastCDC;
use lsm_store::id::BLOCK_BYTES;

/// Chunks of FastCDC, the last one aside, have from `MIN_BYTES` to `CHUNK_BYTES_MAX`, mostly about `AVERAGE_BYTES`.
const MIN_BYTES: usize = 8 << 10;
const AVERAGE_BYTES: usize = 16 << 10;
/// Bytes from the start of a chunk that tell where it ends.
pub(super) const CHUNK_BYTES_MAX: usize = 64 << 10;

/// How a stream is cut; stored with the object. A way to cut never changes: a better one gets a number of its own, and shares
/// nothing with what was stored before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Chunker {
    /// Not at all: the stream lies as it is, block by block, and shares blocks with volumes.
    Fixed = 0,
    /// FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems", 2020):
    /// 8 to 64 KiB, 16 KiB on average, normalization level 1.
    #[default]
    FastCdcV1 = 1,
}

impl Chunker {
    /// The way with this number, if it is known.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Fixed),
            1 => Some(Self::FastCdcV1),
            _ => None,
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::FastCdcV1 => "fastcdc-8-16-64",
        }
    }

    /// Length of the chunks that zeros are cut into.
    pub(super) fn zeros_bytes(self) -> u64 {
        match self {
            Self::Fixed => BLOCK_BYTES as u64,
            Self::FastCdcV1 => CHUNK_BYTES_MAX as u64,
        }
    }

    /// Length of the chunk that `bytes` begin with; `None` if that takes more of them to tell. It depends on nothing before
    /// them, and on no more than 64 KiB of them, so it is the same wherever a stream was broken off.
    pub(super) fn cut(self, bytes: &[u8], is_end: bool) -> Option<usize> {
        let whole = match self {
            Self::Fixed => bytes.len() / BLOCK_BYTES * BLOCK_BYTES,
            Self::FastCdcV1 if is_end || bytes.len() >= CHUNK_BYTES_MAX => {
                let window = &bytes[..bytes.len().min(CHUNK_BYTES_MAX)];
                FastCDC::new(window, MIN_BYTES, AVERAGE_BYTES, CHUNK_BYTES_MAX).cut(0, window.len()).1
            }
            Self::FastCdcV1 => 0,
        };
        let len = if is_end && whole == 0 { bytes.len() } else { whole };
        (len > 0).then_some(len)
    }
}

#[cfg(test)]
mod tests;
