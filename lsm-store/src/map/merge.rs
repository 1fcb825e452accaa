//! Lays sorted streams of stretches over each other: where several know a block, the newest stream wins.

use std::iter::Peekable;

use super::Stretch;
use crate::error::Result;

/// Stretches in order that do not overlap.
pub(super) type Stream = Box<dyn Iterator<Item = Result<Stretch>> + Send>;

/// The pieces of several streams that no newer stream covers, in order, each with the number of its stream.
pub(super) struct Overlay {
    /// Newest first.
    streams: Vec<Stream>,
    /// What is left of each stream's next stretch.
    heads: Vec<Option<Stretch>>,
    started: bool,
}

impl Overlay {
    /// `streams`, newest first.
    pub(super) fn new(streams: Vec<Stream>) -> Self {
        Self { heads: vec![None; streams.len()], streams, started: false }
    }

    fn advance(&mut self, stream: usize) -> Result<()> {
        self.heads[stream] = self.streams[stream].next().transpose()?;
        Ok(())
    }

    /// The next piece.
    fn step(&mut self) -> Result<Option<(usize, Stretch)>> {
        if !self.started {
            (0..self.streams.len()).try_for_each(|stream| self.advance(stream))?;
            self.started = true;
        }
        let mut earliest: Option<(usize, Stretch)> = None;
        for (stream, head) in self.heads.iter().enumerate() {
            // Of heads that begin together the first is the newest.
            if let Some(head) = head
                && earliest.is_none_or(|(_, best)| head.key() < best.key())
            {
                earliest = Some((stream, *head));
            }
        }
        let Some((winner, stretch)) = earliest else { return Ok(None) };
        let newer = self.heads[..winner].iter().flatten().filter(|head| head.layer == stretch.layer);
        let end = newer.map(|head| head.first).fold(stretch.end(), Ord::min);
        let piece = stretch.clip(stretch.first, end).expect("newer heads begin behind the winner's first block");
        for stream in winner..self.streams.len() {
            self.skip(stream, &piece)?;
        }
        Ok(Some((winner, piece)))
    }

    /// Takes off a stream what the piece covers or lies before its end.
    fn skip(&mut self, stream: usize, piece: &Stretch) -> Result<()> {
        let end = piece.end();
        while let Some(head) = self.heads[stream].filter(|head| head.layer == piece.layer && head.first < end) {
            if head.end() > end {
                self.heads[stream] = head.clip(end, head.end());
                break;
            }
            self.advance(stream)?;
        }
        Ok(())
    }
}

impl Iterator for Overlay {
    type Item = Result<(usize, Stretch)>;

    /// After an error the overlay is used up.
    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.heads.fill(None);
            self.streams.clear();
        }
        step.transpose()
    }
}

/// Joins neighbours that continue each other.
pub(super) struct Joined<I: Iterator<Item = Result<Stretch>>> {
    inner: Peekable<I>,
}

impl<I: Iterator<Item = Result<Stretch>>> Joined<I> {
    pub(super) fn new(inner: I) -> Self {
        Self { inner: inner.peekable() }
    }
}

impl<I: Iterator<Item = Result<Stretch>>> Iterator for Joined<I> {
    type Item = Result<Stretch>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut stretch = match self.inner.next()? {
            Ok(stretch) => stretch,
            failed => return Some(failed),
        };
        while let Some(Ok(next)) = self.inner.peek() {
            let Some(joined) = stretch.join(next) else { break };
            stretch = joined;
            self.inner.next();
        }
        Some(Ok(stretch))
    }
}

#[cfg(test)]
mod tests;
