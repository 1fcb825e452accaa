//! Writes received and not yet applied, and the large write that is still coming.

use std::ops::Range;

use lsm_store::id::BLOCK_BYTES;
use lsm_store::request::Write;
use lsm_store::{ErrorKind, Result};

use super::{Answer, Failure, Inbox, Kind};
use crate::export::Export;

#[cfg(test)]
mod tests;

/// A large write is applied in pieces of at least this many bytes, so that the export can hash and compress in bulk.
const PIECE_BYTES_MIN: usize = 128 << 10;

/// A write whose payload is taken as it comes.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) answer: Answer,
    /// Set if the payload is only to be thrown away.
    pub(super) refusal: Option<Failure>,
    offset: u64,
    remaining: usize,
}

impl Upload {
    pub(super) fn new(answer: Answer) -> Self {
        Self { answer, refusal: None, offset: answer.offset, remaining: answer.len as usize }
    }

    pub(super) fn refused(answer: Answer, failure: Failure) -> Self {
        Self { refusal: Some(failure), ..Self::new(answer) }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.remaining == 0
    }

    /// How many of `pending` bytes belong to the payload and are thrown away.
    pub(super) fn discard(&mut self, pending: usize) -> usize {
        let here = self.remaining.min(pending);
        self.remaining -= here;
        here
    }

    /// Length and offset of the next piece if `pending` bytes are there: all the rest, or a good deal that ends between
    /// blocks, so that no block is written twice.
    pub(super) fn take_piece(&mut self, pending: usize) -> Option<(usize, u64)> {
        let len = if pending >= self.remaining {
            self.remaining
        } else {
            let end = self.offset + pending as u64;
            let in_last_block = (end % BLOCK_BYTES as u64) as usize;
            pending.checked_sub(in_last_block).filter(|&len| len >= PIECE_BYTES_MIN)?
        };
        let offset = self.offset;
        self.offset += len as u64;
        self.remaining -= len;
        Some((len, offset))
    }

    /// Pending bytes with which there is a next piece.
    pub(super) fn wanted_bytes(&self) -> usize {
        self.remaining.min(PIECE_BYTES_MIN + BLOCK_BYTES)
    }
}

#[derive(Debug)]
struct Queued {
    payload: Range<usize>,
    offset: u64,
    /// `None` for a piece of a large write that is not its last.
    answer: Option<Answer>,
    is_part: bool,
}

/// What writes came to.
pub(super) type Settled = Vec<(Answer, Result<(), Failure>)>;

#[derive(Debug, Default)]
pub(super) struct WriteQueue {
    queued: Vec<Queued>,
    /// How an earlier piece of the large write in progress failed.
    part_failure: Option<Failure>,
    /// Kept for its memory.
    settled: Settled,
}

impl WriteQueue {
    pub(super) fn len(&self) -> usize {
        self.queued.len()
    }

    pub(super) fn part_failure(&self) -> Option<Failure> {
        self.part_failure
    }

    pub(super) fn forget_part_failure(&mut self) {
        self.part_failure = None;
    }

    pub(super) fn push_whole(&mut self, payload: Range<usize>, answer: Answer) {
        self.queued.push(Queued { payload, offset: answer.offset, answer: Some(answer), is_part: false });
    }

    pub(super) fn push_part(&mut self, payload: Range<usize>, offset: u64, answer: Option<Answer>) {
        self.queued.push(Queued { payload, offset, answer, is_part: true });
    }

    /// Applies everything queued in one call of the export, and says what each write came to.
    pub(super) fn apply(&mut self, export: &dyn Export, inbox: &Inbox) -> Settled {
        let mut settled = std::mem::take(&mut self.settled);
        if self.queued.is_empty() {
            return settled;
        }
        let write_of = |queued: &Queued| Write { offset: queued.offset, data: inbox.bytes(queued.payload.clone()) };
        let mut writes: Vec<Write<'_>> = self.queued.iter().map(write_of).collect();
        writes.retain(|write| !write.data.is_empty());
        let together = if writes.is_empty() { Ok(()) } else { export.write(&writes) };
        // One write that finds no room must not fail those beside it that do.
        let one_by_one =
            writes.len() > 1 && together.as_ref().is_err_and(|error| error.kind() == ErrorKind::OutOfSpace);
        for queued in self.queued.drain(..) {
            let result = if one_by_one { export.write(&[write_of(&queued)]) } else { together.clone() };
            let mut result = result.map_err(|error| Failure::of(&error, Kind::Write));
            if queued.is_part {
                result = result.map_err(|failure| Failure { offset: Some(queued.offset), ..failure });
                result = self.part_failure.map_or(result, Err);
                self.part_failure = result.err().filter(|_| queued.answer.is_none());
            }
            settled.extend(queued.answer.map(|answer| (answer, result)));
        }
        settled
    }

    /// Takes the emptied answer of [`WriteQueue::apply`] back.
    pub(super) fn recycle(&mut self, settled: Settled) {
        self.settled = settled;
    }
}
