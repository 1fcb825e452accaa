//! Receives content into a volume of this node.
//!
//! Nobody else writes to the volume meanwhile, and nobody relies on what it holds before the transfer is complete: the root was
//! compared, and everything is durable.

use lsm_store::fingerprint::Fingerprint;
use lsm_store::id::BlockIndex;
use lsm_store::store::{StoredBlock, Volume};
use lsm_store::{Error, ErrorKind};
use net::content::{Answer, Begin, Blocks, Entry, Page, PlacedBlock, Question, Refusal};
use net::envelope::Message;
use net::replication::{TransferId, VolumeId};

use super::form::stored_of;
use crate::root::{PLAIN_DOMAIN, RootBuilder};
use crate::transfer::adopt::{adopt, clear};

/// One transfer on its way into a volume.
pub struct Receiver {
    volume: Volume,
    id: VolumeId,
    transfer: TransferId,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// It has not begun.
    Expected,
    /// It is under way.
    Begun { based: bool },
    /// The volume has the content with this root, durably.
    Complete { root: [u8; 32] },
}

impl Receiver {
    /// Receives `transfer`, content of the volume that the cluster calls `id`, into `volume`, which has the content's size. If
    /// the transfer has a base, `volume` holds that.
    #[must_use]
    pub fn new(volume: Volume, id: VolumeId, transfer: TransferId) -> Self {
        Self { volume, id, transfer, state: State::Expected }
    }

    /// Answers a question of the sender, whatever it is. May take as long as it takes to write what the question brings;
    /// the last one, to read the volume's fingerprint map and sync.
    pub fn handle(&mut self, message: &Message) -> Message {
        let answered = Question::decode(message).map_err(|_| Refusal::Senseless).and_then(|asked| self.answer(asked));
        answered.unwrap_or_else(Answer::Refused).encode()
    }

    /// True once the volume has the content: its root was that of the sender, and everything is durable. The volume is not
    /// touched any more from then on.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete { .. })
    }

    fn answer(&mut self, question: Question) -> Result<Answer, Refusal> {
        if question.transfer() != self.transfer {
            return Err(Refusal::UnknownTransfer);
        }
        match (self.state, question) {
            (State::Expected | State::Begun { .. }, Question::Begin(begin)) => self.begin(begin),
            (State::Begun { based }, Question::Page(page)) => self.take_page(&page, based).map(Answer::Wanted),
            (State::Begun { .. }, Question::Blocks(blocks)) => self.take_blocks(blocks).map(|()| Answer::Took),
            (State::Begun { .. }, Question::End(end)) => self.end(end.root),
            // The answer was lost.
            (State::Complete { root }, Question::End(end)) => Ok(Answer::Ended { matches: end.root == root }),
            _ => Err(Refusal::UnknownTransfer),
        }
    }

    fn begin(&mut self, begin: Begin) -> Result<Answer, Refusal> {
        if begin.volume != self.id {
            return Err(Refusal::UnknownTransfer);
        }
        if begin.size_bytes != self.volume.size_bytes() {
            return Err(Refusal::OtherSize);
        }
        self.state = State::Begun { based: begin.based };
        Ok(Answer::Begun)
    }

    /// Makes the volume hold what a page says as far as the store has it; which blocks with data it lacks.
    fn take_page(&self, page: &Page, based: bool) -> Result<Vec<u16>, Refusal> {
        let end = page.first_block.checked_add(page.block_count());
        end.filter(|end| *end <= self.volume.block_count()).ok_or(Refusal::Senseless)?;
        let (mut at, mut place, mut wanted) = (page.first_block, 0, Vec::new());
        for run in page.entries.chunk_by(|a, b| fingerprint_of(a).is_some() && fingerprint_of(b).is_some()) {
            let fingerprints: Vec<_> = run.iter().filter_map(fingerprint_of).collect();
            match run[0] {
                Entry::Same(_) if !based => return Err(Refusal::Senseless),
                Entry::Same(_) => {}
                Entry::Zeros(count) => clear(&self.volume, BlockIndex(at), count).map_err(refusal)?,
                Entry::Data(_) => {
                    let lacks = adopt(&self.volume, BlockIndex(at), &fingerprints).map_err(refusal)?;
                    wanted.extend((place..).zip(lacks).filter(|(_, lacks)| *lacks).map(|(place, _)| place));
                }
            }
            place += fingerprints.len() as u16;
            at += run.iter().map(Entry::block_count).sum::<u64>();
        }
        Ok(wanted)
    }

    fn take_blocks(&self, blocks: Blocks) -> Result<(), Refusal> {
        let blocks: Vec<_> = blocks.blocks.into_iter().map(unplaced).collect::<Result<_, _>>()?;
        for run in blocks.chunk_by(|(a, _), (b, _)| a.0.checked_add(1) == Some(b.0)) {
            let stored: Vec<_> = run.iter().map(|(_, stored)| stored.clone()).collect();
            self.volume.write_stored(run[0].0, &stored).map_err(refusal)?;
        }
        Ok(())
    }

    fn end(&mut self, root: [u8; 32]) -> Result<Answer, Refusal> {
        let mut found = RootBuilder::new(PLAIN_DOMAIN, self.volume.size_bytes());
        while !found.is_complete() {
            found.push_next_of(&self.volume).map_err(refusal)?;
        }
        let matches = found.finish().digest == root;
        if matches {
            self.volume.flush().map_err(refusal)?;
            self.state = State::Complete { root };
        }
        Ok(Answer::Ended { matches })
    }
}

fn fingerprint_of(entry: &Entry) -> Option<Fingerprint> {
    match entry {
        Entry::Data(fingerprint) => Some(Fingerprint(*fingerprint)),
        Entry::Same(_) | Entry::Zeros(_) => None,
    }
}

fn unplaced(PlacedBlock { block, stored }: PlacedBlock) -> Result<(BlockIndex, StoredBlock), Refusal> {
    Ok((BlockIndex(block), stored_of(stored).ok_or(Refusal::Senseless)?))
}

/// What the sender hears of a failure.
fn refusal(error: Error) -> Refusal {
    let refusal = match (&error, error.kind()) {
        (Error::ForeignBlock { .. }, _) => Refusal::DamagedBlock,
        (_, ErrorKind::Invalid) => Refusal::Senseless,
        (_, ErrorKind::OutOfSpace) => Refusal::OutOfSpace,
        _ => Refusal::StoreFailed,
    };
    tracing::warn!(%error, ?refusal, "content of a replica cannot be taken");
    refusal
}
