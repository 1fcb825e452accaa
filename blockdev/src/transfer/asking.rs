//! The sender's side of an exchange: which offers have no answer yet, and what the answers say.
//!
//! Offers run ahead of their answers, so that no round trip is waited for, but not farther than [`OFFERS_AHEAD`]: that bounds
//! the memory of both ends, and what the receiver may have said unheard is so little that it never waits for the sender to
//! listen while the sender waits for it.

use std::collections::VecDeque;
use std::ops::Range;

use lsm_store::id::BlockIndex;

use super::answer::{Answer, AnswerDecoder, BadGreeting, Greeting, Wanted};
use super::error::{Result, StreamError, TransferError};
use super::format::{ASKS, OFFER_BLOCKS_MAX, VERSION};
use super::sender::Outlet;
use crate::root::Root;

/// Offers without an answer at most: of 64 MiB of content.
pub(super) const OFFERS_AHEAD: usize = 16;

/// Bytes that are shown of what a stranger says.
const SHOWN_BYTES_MAX: usize = 80;

#[derive(Debug, Default)]
pub(super) struct Asking {
    answers: AnswerDecoder,
    /// The offers without an answer, from the oldest.
    offers: VecDeque<Range<u64>>,
    had_blocks: u64,
}

impl Asking {
    /// Waits until the receiver has said who it is.
    pub(super) fn greet(&mut self, outlet: &mut dyn Outlet) -> Result<()> {
        let Greeting { version_min, version_max, features } = loop {
            match self.answers.greeting() {
                Ok(Some(greeting)) => break greeting,
                Ok(None) => self.hear(outlet)?,
                Err(BadGreeting::Stranger(bytes)) => return Err(stranger(&bytes)),
                Err(BadGreeting::Damaged) => return Err(TransferError::Answer(StreamError::NotAStream)),
            }
        };
        if !(version_min..=version_max).contains(&VERSION) || features & ASKS == 0 {
            return Err(TransferError::NoCommonVersion { version_min, version_max, ours: VERSION });
        }
        Ok(())
    }

    /// Notes an offer that was made.
    pub(super) fn note(&mut self, first: BlockIndex, count: usize) {
        debug_assert!((1..=OFFER_BLOCKS_MAX).contains(&count), "an offer is of as many blocks as fit");
        self.offers.push_back(first.0..first.0 + count as u64);
    }

    /// Offers without an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.offers.len()
    }

    /// Waits for the answer to the oldest offer: runs of blocks that are to be sent.
    ///
    /// # Panics
    /// If all offers have their answers.
    pub(super) fn next_wanted(&mut self, outlet: &mut dyn Outlet) -> Result<Vec<Range<u64>>> {
        let offered = self.offers.pop_front().expect("an answer is waited for only if one is due");
        let Answer::Wanted(Wanted { first, wanted }) = self.next_answer(outlet)? else {
            return Err(self.senseless("it comes before all was sent"));
        };
        if (first.0..first.0 + wanted.len() as u64) != offered {
            return Err(self.senseless("it is no answer to the oldest offer"));
        }
        let (mut at, mut runs) = (first.0, Vec::new());
        for run in wanted.chunk_by(|a, b| a == b) {
            let end = at + run.len() as u64;
            match run[0] {
                true => runs.push(at..end),
                false => self.had_blocks += run.len() as u64,
            }
            at = end;
        }
        Ok(runs)
    }

    /// Waits until the receiver has proved what it has; how many of the offered blocks it had before.
    pub(super) fn finish(&mut self, outlet: &mut dyn Outlet, root: Root) -> Result<u64> {
        match self.next_answer(outlet)? {
            Answer::Received { root: found, .. } if found == root.digest => Ok(self.had_blocks),
            Answer::Received { root: found, .. } => {
                Err(TransferError::OtherRoot { expected: root, found: Root { digest: found, ..root } })
            }
            _ => Err(self.senseless("it asks for what was not offered")),
        }
    }

    /// Waits for an answer that is no failure.
    fn next_answer(&mut self, outlet: &mut dyn Outlet) -> Result<Answer> {
        loop {
            match self.answers.next_answer().map_err(TransferError::Answer)? {
                Some(Answer::Failed { kind, message }) => return Err(TransferError::Receiver { kind, message }),
                Some(answer) => return Ok(answer),
                None => self.hear(outlet)?,
            }
        }
    }

    fn hear(&mut self, outlet: &mut dyn Outlet) -> Result<()> {
        let bytes = outlet.read()?;
        if bytes.is_empty() {
            return Err(TransferError::ReceiverGone);
        }
        self.answers.push(&bytes);
        Ok(())
    }

    fn senseless(&self, why: &'static str) -> TransferError {
        TransferError::Answer(self.answers.last_damaged(why))
    }
}

fn stranger(bytes: &[u8]) -> TransferError {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    TransferError::Stranger { begins: String::from_utf8_lossy(shown).into_owned() }
}
