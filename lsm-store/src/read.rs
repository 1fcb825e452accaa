//! What a read of a volume yields: pieces that a frontend can send without copying.

use bytes::Bytes;

/// A stretch of a read's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Stored bytes.
    Bytes(Bytes),
    /// This many zeros: a hole or zeroed blocks, never stored.
    Zeros(usize),
}

impl Piece {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Zeros(len) => *len,
        }
    }

    /// True if the piece has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The answer to a read: pieces in order, together as long as what was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReadData {
    pieces: Vec<Piece>,
}

impl ReadData {
    /// Appends a piece; adjacent zeros become one piece, empty pieces none.
    pub fn push(&mut self, piece: Piece) {
        match (self.pieces.last_mut(), piece) {
            (_, piece) if piece.is_empty() => {}
            (Some(Piece::Zeros(before)), Piece::Zeros(len)) => *before += len,
            (_, piece) => self.pieces.push(piece),
        }
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Piece::len).sum()
    }

    /// True if there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Copies the answer into `out`, which must be as long as it.
    ///
    /// # Panics
    /// If `out` has another length.
    pub fn copy_to(&self, mut out: &mut [u8]) {
        assert_eq!(out.len(), self.len(), "a read is copied to a buffer of its own length");
        for piece in &self.pieces {
            let (here, rest) = out.split_at_mut(piece.len());
            match piece {
                Piece::Bytes(bytes) => here.copy_from_slice(bytes),
                Piece::Zeros(_) => here.fill(0),
            }
            out = rest;
        }
    }
}
