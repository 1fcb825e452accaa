//! What two nodes say to each other to bring a volume's content from one to the other, and to lend each other blocks.
//!
//! Specified in `docs/protocol.md`, "Content". The sender of content asks, its receiver answers; a borrower asks a lender. All
//! are messages of the bulk family. Whatever decodes is within the bounds given here; whether it makes sense for a volume is the receiver's to find out.

mod answer;
mod lending;
mod question;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Refusal};
pub use lending::{Lend, Lent};
pub use question::{Begin, Blocks, End, Entry, Page, PlacedBlock, Question, StoredForm};

use crate::envelope::{Kind, Message};

/// Entries of a page at most.
pub const PAGE_ENTRIES_MAX: usize = 2048;

/// Blocks that a page speaks of at most: 64 GiB, most of them zeros or unchanged.
pub const PAGE_BLOCKS_MAX: u64 = 1 << 24;

/// Blocks that travel in one question or answer at most.
pub const BLOCKS_MAX: usize = 256;

/// Bytes of a block, and of its stored form at most.
const BLOCK_BYTES: usize = 4096;

const BEGIN: Kind = Kind::bulk(0x01);
const PAGE: Kind = Kind::bulk(0x02);
const BLOCKS: Kind = Kind::bulk(0x03);
const END: Kind = Kind::bulk(0x04);
const LEND: Kind = Kind::bulk(0x05);
const BEGUN: Kind = Kind::bulk(0x81);
const WANTED: Kind = Kind::bulk(0x82);
const TOOK: Kind = Kind::bulk(0x83);
const ENDED: Kind = Kind::bulk(0x84);
const LENT: Kind = Kind::bulk(0x85);
const REFUSED: Kind = Kind::bulk(0xff);

/// Whether a message asks for blocks to be lent, which belongs to no transfer.
#[must_use]
pub fn is_lend(message: &Message) -> bool {
    message.kind == LEND
}
