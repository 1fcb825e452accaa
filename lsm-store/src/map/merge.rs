//! Lays sorted sources of stretches over each other, and cuts them so that stretches of all sources either lie apart or
//! cover the same blocks.

use super::sieve::Piece;
use super::{Key, Stretch};
use crate::error::Result;
use crate::id::BlockIndex;

/// Stretches in the order of runs, handed out some at a time.
pub(super) trait Source: Send {
    /// Replaces what is in `batch` by the stretches that follow; false, and an empty batch, at the end.
    fn next_batch(&mut self, batch: &mut Vec<Stretch>) -> Result<bool>;
}

/// A source and what it has handed out.
struct Stream {
    source: Box<dyn Source>,
    batch: Vec<Stretch>,
    at: usize,
    /// The next stretch, without its first `cut` blocks, which have been dealt with in all its versions.
    head: Option<Stretch>,
    cut: u64,
    /// Kept for its memory.
    spare: Vec<Stretch>,
}

/// Where the head of a stream begins, as one number; larger than any block's if the stream is at its end.
type Rank = u128;
const AT_END: Rank = Rank::MAX;

fn rank(key: Key) -> Rank {
    Rank::from(key.family.0) << 64 | Rank::from(key.block.0)
}

impl Stream {
    fn new(source: Box<dyn Source>) -> Self {
        Self { source, batch: Vec::new(), at: 0, head: None, cut: 0, spare: Vec::new() }
    }

    /// Goes on by `steps` stretches, at most as many as are in the batch.
    #[inline]
    fn advance(&mut self, steps: usize) -> Result<()> {
        let before = self.head;
        self.at += steps;
        while self.at >= self.batch.len() {
            self.at = 0;
            if !self.source.next_batch(&mut self.batch)? {
                self.head = None;
                return Ok(());
            }
        }
        let next = self.batch[self.at];
        self.head = Some(next);
        if self.cut > 0 {
            let goes_on = before.is_some_and(|before| {
                before.family == next.family && before.first.0 == next.first.0 + self.cut && before.end() == next.end()
            });
            if goes_on { self.cut_to(BlockIndex(next.first.0 + self.cut)) } else { self.cut = 0 }
        }
        Ok(())
    }

    /// Cuts off what of the head lies before `block`, a block of it.
    fn cut_to(&mut self, block: BlockIndex) {
        let whole = self.batch[self.at];
        self.cut = block.0 - whole.first.0;
        self.head = whole.clip(block, whole.end());
    }

    /// How many versions of the head's blocks there are; all of them are in the batch then.
    fn versions(&mut self) -> Result<usize> {
        let mut len = 1;
        loop {
            let whole = self.batch[self.at];
            len += self.batch[self.at + len..].iter().take_while(|next| next.is_beside(&whole)).count();
            if self.at + len < self.batch.len() {
                return Ok(len);
            }
            self.batch.drain(..self.at);
            self.at = 0;
            if !self.source.next_batch(&mut self.spare)? {
                return Ok(len);
            }
            self.batch.append(&mut self.spare);
        }
    }

    /// Hands the versions of the head up to `end` to `pieces`, and goes on behind that.
    fn take_until(&mut self, end: BlockIndex, source: usize, pieces: &mut Vec<Piece>) -> Result<()> {
        let Some(head) = self.head else { return Ok(()) };
        let len = self.versions()?;
        let versions = &self.batch[self.at..self.at + len];
        let clipped = versions.iter().filter_map(|version| version.clip(head.first, end));
        pieces.extend(clipped.map(|stretch| Piece { source, alone: false, stretch }));
        if head.end() > end {
            self.cut_to(end);
            return Ok(());
        }
        self.cut = 0;
        self.advance(len)
    }

    fn rank(&self) -> Rank {
        self.head.map_or(AT_END, |head| rank(head.key()))
    }
}

/// The pieces of several sources by first block; of pieces of the same blocks, those of the first source come first.
pub(super) struct Overlay {
    streams: Vec<Stream>,
    /// The streams' ranks, apart from them because every choice looks at all of them.
    ranks: Vec<Rank>,
    started: bool,
    /// The stream of the piece before; as long as its stretches end before `others`, no other stream is looked at.
    leader: usize,
    /// The smallest rank of the other streams.
    others: Rank,
    /// Pieces of the same blocks, and how many of them have been handed out.
    pieces: Vec<Piece>,
    taken: usize,
}

impl Overlay {
    /// Of sources that have versions of one layer for a block, the first has the newest.
    pub(super) fn new(sources: Vec<Box<dyn Source>>) -> Self {
        let ranks = vec![AT_END; sources.len()];
        let streams = sources.into_iter().map(Stream::new).collect();
        Self { streams, ranks, started: false, leader: 0, others: 0, pieces: Vec::new(), taken: 0 }
    }

    /// The next piece.
    #[inline]
    fn step(&mut self) -> Result<Option<Piece>> {
        if let Some(piece) = self.pieces.get(self.taken) {
            self.taken += 1;
            return Ok(Some(*piece));
        }
        if let Some(piece) = self.undisputed()? {
            return Ok(Some(piece));
        }
        if !self.started {
            self.started = true;
            self.streams.iter_mut().try_for_each(|stream| stream.advance(0))?;
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
    fn undisputed(&mut self) -> Result<Option<Piece>> {
        let source = self.leader;
        let Some(leader) = self.streams.get_mut(source) else { return Ok(None) };
        let Some(stretch) = leader.head.filter(|head| rank(head.last_key()) < self.others) else { return Ok(None) };
        leader.advance(1)?;
        self.ranks[source] = leader.rank();
        Ok(Some(Piece { source, alone: false, stretch }))
    }

    /// Makes the stream whose head begins first the leader; of those that begin together, the first.
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

    /// All that begins with the leader's head, up to where something ends or something else begins.
    fn disputed(&mut self) -> Result<Option<Piece>> {
        let Some(head) = self.streams.get(self.leader).and_then(|leader| leader.head) else { return Ok(None) };
        let same_family = |other: &&Stretch| other.family == head.family;
        let heads = self.streams[self.leader..].iter().chain(&self.streams[..self.leader]);
        let end_or_begin = |other: &Stretch| if other.first == head.first { other.end() } else { other.first };
        let end = heads.filter_map(|stream| stream.head.as_ref()).filter(same_family).map(end_or_begin).min();
        let (end, first) = (end.unwrap_or(head.end()), self.ranks[self.leader]);
        self.pieces.clear();
        for number in self.leader..self.streams.len() {
            if self.ranks[number] == first {
                self.streams[number].take_until(end, number, &mut self.pieces)?;
                self.ranks[number] = self.streams[number].rank();
            }
        }
        // The leader may have lost its lead: nothing is undisputed until the next choice.
        self.others = 0;
        self.taken = 1;
        Ok(self.pieces.first().copied())
    }
}

impl Iterator for Overlay {
    type Item = Result<Piece>;

    /// After an error the overlay is used up.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.streams.clear();
            self.pieces.clear();
        }
        step.transpose()
    }
}
