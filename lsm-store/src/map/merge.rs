//! Lays sorted sources of stretches over each other: where several know a block, the newest source wins.

use std::iter::Peekable;

use super::{Key, Stretch};
use crate::error::Result;

/// Stretches in order that do not overlap, handed out some at a time.
pub(super) trait Source: Send {
    /// Replaces what is in `batch` by the stretches that follow; false, and an empty batch, at the end.
    fn next_batch(&mut self, batch: &mut Vec<Stretch>) -> Result<bool>;
}

/// A source and what it has handed out.
struct Stream {
    source: Box<dyn Source>,
    batch: Vec<Stretch>,
    at: usize,
    /// What is left of the next stretch.
    head: Option<Stretch>,
}

/// Where the head of a stream begins, as one number; larger than any block's if the stream is at its end.
type Rank = u128;
const AT_END: Rank = Rank::MAX;

fn rank(key: Key) -> Rank {
    Rank::from(key.layer.0) << 64 | Rank::from(key.block.0)
}

impl Stream {
    #[inline]
    fn advance(&mut self) -> Result<()> {
        self.at += 1;
        while self.at >= self.batch.len() {
            self.at = 0;
            if !self.source.next_batch(&mut self.batch)? {
                self.head = None;
                return Ok(());
            }
        }
        self.head = Some(self.batch[self.at]);
        Ok(())
    }

    /// Takes off what the piece covers or what lies before its end.
    fn skip(&mut self, piece: &Stretch) -> Result<()> {
        let end = piece.end();
        while let Some(head) = self.head.filter(|head| head.layer == piece.layer && head.first < end) {
            if head.end() > end {
                self.head = head.clip(end, head.end());
                break;
            }
            self.advance()?;
        }
        Ok(())
    }

    fn rank(&self) -> Rank {
        self.head.map_or(AT_END, |head| rank(head.key()))
    }
}

/// The pieces of several sources that no newer source covers, in order, each with the number of its source.
pub(super) struct Overlay {
    /// Newest first.
    streams: Vec<Stream>,
    /// The streams' ranks, apart from them because every choice looks at all of them.
    ranks: Vec<Rank>,
    started: bool,
    /// The stream of the piece before; as long as its stretches end before `others`, no other stream is looked at.
    leader: usize,
    /// The smallest rank of the other streams.
    others: Rank,
}

impl Overlay {
    /// `sources`, newest first.
    pub(super) fn new(sources: Vec<Box<dyn Source>>) -> Self {
        let stream = |source| Stream { source, batch: Vec::new(), at: 0, head: None };
        let ranks = vec![AT_END; sources.len()];
        let streams = sources.into_iter().map(stream).collect();
        Self { streams, ranks, started: false, leader: 0, others: 0 }
    }

    /// The next piece.
    #[inline]
    fn step(&mut self) -> Result<Option<(usize, Stretch)>> {
        if let Some(piece) = self.undisputed()? {
            return Ok(Some(piece));
        }
        if !self.started {
            self.started = true;
            self.streams.iter_mut().try_for_each(Stream::advance)?;
            self.ranks.iter_mut().zip(&self.streams).for_each(|(rank, stream)| *rank = stream.rank());
        }
        self.choose_leader();
        match self.undisputed()? {
            None => self.disputed(),
            piece => Ok(piece),
        }
    }

    /// The leader's head, if it ends before any other begins.
    #[inline]
    fn undisputed(&mut self) -> Result<Option<(usize, Stretch)>> {
        let Some(leader) = self.streams.get_mut(self.leader) else { return Ok(None) };
        let Some(head) = leader.head.filter(|head| rank(head.last_key()) < self.others) else { return Ok(None) };
        leader.advance()?;
        self.ranks[self.leader] = leader.rank();
        Ok(Some((self.leader, head)))
    }

    /// Makes the stream whose head begins first the leader; of those that begin together, the newest.
    fn choose_leader(&mut self) {
        let (mut leader, mut first, mut second) = (0, AT_END, AT_END);
        for (number, &rank) in self.ranks.iter().enumerate() {
            if rank < first {
                (leader, first, second) = (number, rank, first);
            } else {
                second = second.min(rank);
            }
        }
        (self.leader, self.others) = (leader, second);
    }

    /// The leader's head as far as no newer stream covers it; older streams lose what it covers.
    fn disputed(&mut self) -> Result<Option<(usize, Stretch)>> {
        let Some(head) = self.streams.get(self.leader).and_then(|leader| leader.head) else { return Ok(None) };
        let newer = self.streams[..self.leader].iter().filter_map(|stream| stream.head);
        let end = newer.filter(|newer| newer.layer == head.layer).map(|newer| newer.first).fold(head.end(), Ord::min);
        let piece = head.clip(head.first, end).expect("newer heads begin behind the leader's first block");
        let behind = rank(piece.last_key());
        for number in self.leader..self.streams.len() {
            if self.ranks[number] <= behind {
                self.streams[number].skip(&piece)?;
                self.ranks[number] = self.streams[number].rank();
            }
        }
        let leader = self.leader;
        // The leader may have lost its lead: nothing is undisputed until the next choice.
        self.others = 0;
        Ok(Some((leader, piece)))
    }
}

impl Iterator for Overlay {
    type Item = Result<(usize, Stretch)>;

    /// After an error the overlay is used up.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
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

    #[inline]
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
