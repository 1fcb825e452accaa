//! Lays sorted sources of stretches over each other, and cuts them so that stretches of all sources either lie apart or
//! cover the same blocks.

use super::sieve::Piece;
use super::{Key, Stretch, Target};
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
    /// Empty at the end.
    batch: Vec<Stretch>,
    /// The next stretch in the batch.
    at: usize,
    /// Blocks at its beginning that have been dealt with in all versions.
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
        Self { source, batch: Vec::new(), at: 0, cut: 0, spare: Vec::new() }
    }

    /// What is left of the next stretch.
    #[inline]
    fn head(&self) -> Option<Stretch> {
        let whole = self.batch.get(self.at)?;
        match self.cut {
            0 => Some(*whole),
            cut => whole.clip(BlockIndex(whole.first.0 + cut), whole.end()),
        }
    }

    /// Goes on by `steps` stretches, at most as many as are in the batch.
    #[inline]
    fn advance(&mut self, steps: usize) -> Result<()> {
        if self.cut == 0 && self.at + steps < self.batch.len() {
            self.at += steps;
            return Ok(());
        }
        self.advance_slowly(steps)
    }

    /// To another batch, or among versions of which the beginning has been dealt with.
    fn advance_slowly(&mut self, steps: usize) -> Result<()> {
        let before = self.batch.get(self.at).copied();
        self.at += steps;
        while self.at >= self.batch.len() {
            self.at = 0;
            if !self.source.next_batch(&mut self.batch)? {
                return Ok(());
            }
        }
        if before.is_none_or(|before| !before.is_beside(&self.batch[self.at])) {
            self.cut = 0;
        }
        Ok(())
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
    fn take_until(&mut self, end: BlockIndex, source: u32, pieces: &mut Vec<Piece>) -> Result<()> {
        let Some(head) = self.head() else { return Ok(()) };
        let alone = self.batch.get(self.at + 1).is_some_and(|next| !next.is_beside(&self.batch[self.at]));
        let len = if alone { 1 } else { self.versions()? };
        if !(alone && is_overwritten(&head, pieces)) {
            let versions = &self.batch[self.at..self.at + len];
            let clipped = versions.iter().filter_map(|version| version.clip(head.first, end));
            pieces.extend(clipped.map(|stretch| Piece { source, more: true, stretch }));
        }
        if head.end() > end {
            self.cut = end.0 - self.batch[self.at].first.0;
            return Ok(());
        }
        self.cut = 0;
        self.advance(len)
    }

    fn rank(&self) -> Rank {
        self.head().map_or(AT_END, |head| rank(head.key()))
    }
}

/// True if the only newer piece is of the same layer, so that nobody has to know of the stretch. Of zeros somebody may:
/// they can be a range, which is not cut by what lies on it.
fn is_overwritten(stretch: &Stretch, newer: &[Piece]) -> bool {
    matches!(stretch.target, Target::Data(_)) && matches!(newer, [newer] if newer.stretch.layer == stretch.layer)
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

    /// The next piece. After an error the overlay is used up.
    #[inline]
    pub(super) fn take(&mut self) -> Result<Option<Piece>> {
        match self.plain() {
            None => self.step(),
            piece => Ok(piece),
        }
    }

    /// The leader's head, if it ends before any other begins, and what follows it is in memory.
    #[inline]
    fn plain(&mut self) -> Option<Piece> {
        if self.taken < self.pieces.len() {
            return None;
        }
        let source = self.leader;
        let leader = self.streams.get_mut(source)?;
        let [stretch, next, ..] = leader.batch.get(leader.at..)? else { return None };
        if leader.cut > 0 || rank(stretch.last_key()) >= self.others {
            return None;
        }
        let piece = Piece { source: source as u32, more: next.is_beside(stretch), stretch: *stretch };
        leader.at += 1;
        Some(piece)
    }

    /// Takes what of the leader ends before any other begins, is the only version of its blocks, and is in memory, all at
    /// once. Not to be called between the versions of the same blocks.
    #[inline]
    pub(super) fn take_plain(&mut self, mut each: impl FnMut(u32, &Stretch)) {
        let source = self.leader;
        let Some(leader) = self.streams.get_mut(source) else { return };
        if self.taken < self.pieces.len() || leader.cut > 0 {
            return;
        }
        let others = self.others;
        let is_plain = |pair: &&[Stretch]| rank(pair[0].last_key()) < others && !pair[1].is_beside(&pair[0]);
        let plain = leader.batch[leader.at..].windows(2).take_while(is_plain);
        leader.at += plain.map(|pair| each(source as u32, &pair[0])).count();
    }

    fn step(&mut self) -> Result<Option<Piece>> {
        let piece = self.try_step();
        if piece.is_err() {
            self.streams.clear();
            self.pieces.clear();
        }
        piece
    }

    fn try_step(&mut self) -> Result<Option<Piece>> {
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
    fn undisputed(&mut self) -> Result<Option<Piece>> {
        let source = self.leader;
        let Some(leader) = self.streams.get_mut(source) else { return Ok(None) };
        let Some(stretch) = leader.head().filter(|head| rank(head.last_key()) < self.others) else { return Ok(None) };
        leader.advance(1)?;
        let more = leader.head().is_some_and(|next| next.is_beside(&stretch));
        Ok(Some(Piece { source: source as u32, more, stretch }))
    }

    /// Makes the stream whose head begins first the leader; of those that begin together, the first.
    fn choose_leader(&mut self) {
        // The leader went on without saying where it is.
        if let Some(leader) = self.streams.get(self.leader) {
            self.ranks[self.leader] = leader.rank();
        }
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
        let Some(head) = self.streams.get(self.leader).and_then(Stream::head) else { return Ok(None) };
        let first = self.ranks[self.leader];
        let behind = self.ranks.iter().copied().filter(|rank| *rank > first).min().unwrap_or(AT_END);
        let same_family = (behind >> 64) as u64 == head.family.0;
        let mut end = if same_family { head.end().min(BlockIndex(behind as u64)) } else { head.end() };
        if self.others == first {
            let beginning = self.streams.iter().zip(&self.ranks).filter(|(_, rank)| **rank == first);
            end = beginning.filter_map(|(stream, _)| stream.head()).map(|head| head.end()).fold(end, Ord::min);
        }
        self.pieces.clear();
        for number in self.leader..self.streams.len() {
            if self.ranks[number] == first {
                self.streams[number].take_until(end, number as u32, &mut self.pieces)?;
                self.ranks[number] = self.streams[number].rank();
            }
        }
        if let Some(last) = self.pieces.last_mut() {
            last.more = false;
        }
        // The leader may have lost its lead: nothing is undisputed until the next choice.
        self.others = 0;
        self.taken = 1;
        Ok(self.pieces.first().copied())
    }
}
