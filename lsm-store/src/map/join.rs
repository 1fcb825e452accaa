//! Joins neighbours that continue each other, in all their versions.

use std::collections::VecDeque;

use super::Stretch;
use crate::error::Result;
use crate::map::sieve::Piece;

/// Takes stretches in the order of a run and gives back as few as say the same. Adjacent blocks with several versions are
/// joined only if all of these go on, so that stretches still either lie apart or cover the same blocks.
#[derive(Debug, Default)]
pub struct Joiner {
    /// The versions of some blocks, complete, which may go on.
    last: Vec<Stretch>,
    /// The versions, so far, of the blocks behind `last`.
    next: Vec<Stretch>,
    ready: VecDeque<Stretch>,
}

impl Joiner {
    /// Adds a stretch that follows all before it.
    pub fn push(&mut self, stretch: Stretch) {
        if self.next.last().is_some_and(|before| !before.is_beside(&stretch)) {
            self.settle();
        }
        self.next.push(stretch);
    }

    /// Adds a stretch, known to be the only version of its blocks, that follows all before it; returns one that is
    /// complete, as [`Joiner::pop`] does, if that is plain.
    #[inline]
    fn push_alone(&mut self, stretch: Stretch) -> Option<Stretch> {
        if !self.next.is_empty() {
            self.settle();
        }
        if let [last] = &mut self.last[..]
            && self.ready.is_empty()
        {
            return match last.join(&stretch) {
                Some(joined) => {
                    *last = joined;
                    None
                }
                None => Some(std::mem::replace(last, stretch)),
            };
        }
        self.next.push(stretch);
        self.settle();
        self.ready.pop_front()
    }

    /// The blocks at hand have no further versions.
    #[inline(never)]
    fn settle(&mut self) {
        let goes_on = self.last.len() == self.next.len()
            && self.last.iter().zip(&self.next).all(|(last, next)| last.join(next).is_some());
        if goes_on {
            self.last.iter_mut().zip(&self.next).for_each(|(last, next)| last.count += next.count);
        } else {
            self.ready.extend(self.last.drain(..));
            std::mem::swap(&mut self.last, &mut self.next);
        }
        self.next.clear();
    }

    /// The next stretch that is complete, if there is one.
    pub fn pop(&mut self) -> Option<Stretch> {
        self.ready.pop_front()
    }

    /// Nothing follows: what was pushed is complete.
    pub fn finish(&mut self) {
        self.settle();
        self.ready.extend(self.last.drain(..));
    }
}

/// The pieces of a sieve, joined.
pub(super) struct Joined<I> {
    pieces: I,
    joiner: Joiner,
    /// The piece before was a version of the same blocks as the one that follows.
    several: bool,
}

impl<I: Iterator<Item = Result<Piece>>> Joined<I> {
    pub(super) fn new(pieces: I) -> Self {
        Self { pieces, joiner: Joiner::default(), several: false }
    }

    pub(super) fn pieces_mut(&mut self) -> &mut I {
        &mut self.pieces
    }
}

impl<I: Iterator<Item = Result<Piece>>> Iterator for Joined<I> {
    type Item = Result<Stretch>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(stretch) = self.joiner.pop() {
                return Some(Ok(stretch));
            }
            match self.pieces.next() {
                Some(Ok(piece)) if !piece.more && !self.several => {
                    if let Some(stretch) = self.joiner.push_alone(piece.stretch) {
                        return Some(Ok(stretch));
                    }
                }
                Some(Ok(piece)) => {
                    self.several = piece.more;
                    self.joiner.push(piece.stretch);
                }
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    self.joiner.finish();
                    return self.joiner.pop().map(Ok);
                }
            }
        }
    }
}
