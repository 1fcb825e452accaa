//! The answer to a read while it comes together.

use bytes::Bytes;

use super::plan::{Plan, Source};
use crate::id::BLOCK_BYTES;
use crate::read::{Piece, ReadData};

/// A part of an answer under construction.
enum Part {
    Zeros(usize),
    Memory(Bytes),
    /// A block that is on its way from the device.
    Missing,
}

/// A read whose blocks are on their way.
pub(super) struct Assembly {
    skip: usize,
    len: usize,
    /// By block of the read; blocks that came together are one part, and `None` follows it.
    parts: Vec<Option<Part>>,
}

/// Adjacent blocks of a read, from block `first` of it on.
pub(super) struct Arrived {
    pub(super) first: usize,
    pub(super) bytes: Bytes,
}

impl Assembly {
    pub(super) fn new(plan: &mut Plan) -> Self {
        let part = |source| match source {
            Source::Zeros => Part::Zeros(BLOCK_BYTES),
            Source::Memory(bytes) => Part::Memory(bytes),
            Source::Device => Part::Missing,
        };
        let parts = std::mem::take(&mut plan.sources).into_iter().map(|source| Some(part(source))).collect();
        Self { skip: plan.skip, len: plan.len, parts }
    }

    /// How many blocks the read is.
    pub(super) fn block_count(&self) -> usize {
        self.parts.len()
    }

    /// Puts blocks in their place.
    pub(super) fn accept(&mut self, arrived: Arrived) {
        let count = arrived.bytes.len() / BLOCK_BYTES;
        for part in &mut self.parts[arrived.first..arrived.first + count] {
            assert!(matches!(part.take(), Some(Part::Missing)), "a block arrives once");
        }
        self.parts[arrived.first] = Some(Part::Memory(arrived.bytes));
    }

    /// The answer, cut to the bytes asked for.
    ///
    /// # Panics
    /// If a block has not arrived.
    pub(super) fn finish(self) -> ReadData {
        let mut data = ReadData::default();
        let (mut skip, mut left) = (self.skip, self.len);
        for part in self.parts.into_iter().flatten() {
            let piece = match part {
                Part::Zeros(len) => Piece::Zeros((len - skip).min(left)),
                Part::Memory(bytes) => Piece::Bytes(bytes.slice(skip..bytes.len().min(skip + left))),
                Part::Missing => panic!("a read is finished when all of its blocks are there"),
            };
            skip = 0;
            left -= piece.len();
            data.push(piece);
        }
        data
    }
}
