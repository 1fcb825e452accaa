//! Compression of frames, and its inverse for bytes that may come from anywhere.
//!
//! A [`Codec`] is what the user asks for; an [`Encoding`] is what a frame says it holds. Data that does not shrink by a
//! sixteenth is stored as it is: below that the disk reads as many pages as before, and each read pays for decoding.
//! Both LZ4 (every write checks its bounds, also in the variant that uses `unsafe`) and zstd decode hostile input safely.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use lz4_flex::block::{self, CompressTable};
use zstd::zstd_safe::{CCtx, CParameter, DCtx};

use crate::error::Error;
use crate::id::BLOCK_BYTES;

/// The most blocks compressed together.
pub const GROUP_BLOCKS_MAX: usize = 16;

/// The most bytes compressed together.
pub const DECODED_BYTES_MAX: usize = GROUP_BLOCKS_MAX * BLOCK_BYTES;

/// Inputs below this size need LZ4's small table (16-bit positions) only, which is cleared in half the time.
const LZ4_SMALL_BYTES: usize = u16::MAX as usize;

/// Room that one block needs to be compressed by LZ4, which may make it longer.
pub const LZ4_BLOCK_BYTES_MAX: usize = block::get_maximum_output_size(BLOCK_BYTES);

/// How new data is to be compressed: `none`, `lz4` (the default), `zstd` or `zstd:1` to `zstd:19`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Codec {
    /// Not at all.
    None,
    /// LZ4 blocks: 0.5 to 5 us a block.
    #[default]
    Lz4,
    /// Zstandard frames: 5 us a block and more, 10 to 20 % smaller.
    Zstd {
        /// How hard to try.
        level: ZstdLevel,
    },
}

/// A zstd level, 1 to 19. Higher ones want memory that the budget does not foresee.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ZstdLevel(u8);

impl ZstdLevel {
    /// The level, if it is in 1..=19.
    #[must_use]
    pub fn new(level: u8) -> Option<Self> {
        (1..=19).contains(&level).then_some(Self(level))
    }

    /// The level as a number.
    #[must_use]
    pub fn value(self) -> u8 {
        self.0
    }
}

impl Default for ZstdLevel {
    fn default() -> Self {
        Self(3)
    }
}

impl FromStr for Codec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let level = |level: &str| level.parse().ok().and_then(ZstdLevel::new);
        let codec = match text.split_once(':') {
            None if text == "none" => Some(Self::None),
            None if text == "lz4" => Some(Self::Lz4),
            None if text == "zstd" => Some(Self::Zstd { level: ZstdLevel::default() }),
            Some(("zstd", text)) => level(text).map(|level| Self::Zstd { level }),
            _ => None,
        };
        codec.ok_or(Error::Invalid {
            what: "compression",
            must: "none, lz4, zstd or zstd:LEVEL with a level of 1 to 19",
        })
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Lz4 => f.write_str("lz4"),
            Self::Zstd { level } => write!(f, "zstd:{}", level.0),
        }
    }
}

/// How a frame's payload is encoded, as stored in its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Encoding {
    /// The blocks as they are.
    Raw = 0,
    /// One LZ4 block (no size prefix, no dictionary).
    Lz4 = 1,
    /// One zstd frame with its content size.
    Zstd = 2,
}

impl Encoding {
    /// The encoding stored as `byte`, if this version knows it.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Raw, Self::Lz4, Self::Zstd].into_iter().find(|encoding| *encoding as u8 == byte)
    }
}

/// Data in the form in which it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored<'a> {
    /// How `bytes` are encoded.
    pub encoding: Encoding,
    /// The encoded bytes.
    pub bytes: &'a [u8],
}

/// Compresses without allocating per call. One for each thread that compresses; about 90 KiB, and zstd's context once
/// zstd was asked for (1 to 9 MiB by level).
pub struct Compressor {
    lz4_small: CompressTable,
    lz4_large: Option<CompressTable>,
    zstd: Option<(CCtx<'static>, ZstdLevel)>,
    buffer: Box<[u8]>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor {
    /// A compressor for any codec.
    #[must_use]
    pub fn new() -> Self {
        let buffer = vec![0; block::get_maximum_output_size(DECODED_BYTES_MAX)].into_boxed_slice();
        Self { lz4_small: CompressTable::small(), lz4_large: None, zstd: None, buffer }
    }

    /// `data` as `codec` stores it: raw if that would not save a sixteenth.
    ///
    /// # Panics
    /// If `data` is longer than [`DECODED_BYTES_MAX`].
    pub fn compress<'a>(&'a mut self, codec: Codec, data: &'a [u8]) -> Stored<'a> {
        self.compressed(codec, data).unwrap_or(Stored { encoding: Encoding::Raw, bytes: data })
    }

    /// As [`Compressor::compress`]; `None` if `data` is stored raw.
    ///
    /// # Panics
    /// As there.
    pub fn compressed(&mut self, codec: Codec, data: &[u8]) -> Option<Stored<'_>> {
        assert!(data.len() <= DECODED_BYTES_MAX, "at most {GROUP_BLOCKS_MAX} blocks are compressed together");
        let worth = data.len() - data.len() / 16;
        let compressed = match codec {
            Codec::None => None,
            Codec::Lz4 => self.lz4(data).map(|len| (Encoding::Lz4, len)),
            Codec::Zstd { level } => self.zstd(level, data, worth).map(|len| (Encoding::Zstd, len)),
        };
        let (encoding, len) = compressed.filter(|(_, len)| *len <= worth)?;
        Some(Stored { encoding, bytes: &self.buffer[..len] })
    }

    /// Puts one block into the front of `out` as `Codec::Lz4` stores it; how many bytes. A whole block's bytes are raw.
    ///
    /// # Panics
    /// If `out` is shorter than [`LZ4_BLOCK_BYTES_MAX`].
    pub fn lz4_block(&mut self, block: &[u8; BLOCK_BYTES], out: &mut [u8]) -> usize {
        match block::compress_into_with_table(block, &mut out[..LZ4_BLOCK_BYTES_MAX], &mut self.lz4_small) {
            Ok(len) if len <= BLOCK_BYTES - BLOCK_BYTES / 16 => len,
            _ => {
                out[..BLOCK_BYTES].copy_from_slice(block);
                BLOCK_BYTES
            }
        }
    }

    fn lz4(&mut self, data: &[u8]) -> Option<usize> {
        let table = match data.len() {
            ..LZ4_SMALL_BYTES => &mut self.lz4_small,
            _ => self.lz4_large.get_or_insert_with(CompressTable::large),
        };
        block::compress_into_with_table(data, &mut self.buffer, table).ok()
    }

    /// Gives up (`None`) as soon as the output would exceed `worth`.
    fn zstd(&mut self, level: ZstdLevel, data: &[u8], worth: usize) -> Option<usize> {
        let (context, set) = self.zstd.get_or_insert_with(|| (CCtx::create(), ZstdLevel(0)));
        if *set != level {
            context.set_parameter(CParameter::CompressionLevel(i32::from(level.0))).ok()?;
            *set = level;
        }
        context.compress2(&mut self.buffer[..worth], data).ok()
    }
}

/// Why stored bytes could not be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not of their encoding.
    #[error("the encoded bytes are malformed")]
    Malformed,
    /// They decode to more or fewer bytes than they should.
    #[error("the decoded length is not the declared one")]
    Length,
}

/// Decodes stored data. One for each thread that decodes; about 160 KiB once zstd was met.
#[derive(Default)]
pub struct Decompressor {
    zstd: Option<DCtx<'static>>,
}

impl Decompressor {
    /// A decompressor for every encoding.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes `stored` into exactly the whole of `out`. After an error the content of `out` means nothing.
    pub fn decode(&mut self, stored: Stored<'_>, out: &mut [u8]) -> Result<(), DecodeError> {
        let len = match stored.encoding {
            Encoding::Raw if stored.bytes.len() != out.len() => return Err(DecodeError::Length),
            Encoding::Raw => {
                out.copy_from_slice(stored.bytes);
                return Ok(());
            }
            Encoding::Lz4 => block::decompress_into(stored.bytes, out).map_err(|_| DecodeError::Malformed)?,
            Encoding::Zstd => {
                let context = self.zstd.get_or_insert_with(DCtx::create);
                context.decompress(out, stored.bytes).map_err(|_| DecodeError::Malformed)?
            }
        };
        if len == out.len() { Ok(()) } else { Err(DecodeError::Length) }
    }
}
