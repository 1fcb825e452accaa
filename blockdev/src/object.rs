//! Objects: streams of bytes, such as backups and dumps, each in a hidden volume of its own.
//!
//! A stream is cut where its content says, and each chunk begins a block of the volume: equal chunks are equal blocks, wherever
//! they are in their streams, and the store keeps those once. The layout is in `docs/disk-format.md`, "Objects". This
//! knows volumes and no names; [`crate::node::Node`] has those.

mod chunker;
mod index;
mod metadata;
mod plan;
mod reader;
mod stream;
#[cfg(test)]
mod tests;
mod writer;

pub use chunker::Chunker;
pub use metadata::{InvalidMetadata, METADATA_BYTES_MAX, Metadata};
pub use reader::ObjectReader;
pub use stream::ObjectStream;
pub(crate) use writer::{Laid, StreamWriter, UPLOAD_BYTES};

use lsm_store::id::BLOCK_BYTES;

/// Most that is written or read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Blocks that so many bytes begin.
fn blocks(bytes: usize) -> u64 {
    bytes.div_ceil(BLOCK_BYTES) as u64
}

/// Where a block begins.
fn byte_of(block: u64) -> u64 {
    block * BLOCK_BYTES as u64
}
