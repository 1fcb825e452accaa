//! Writes received and not yet finished, and the large write that is still coming.

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
    /// What its pieces are of; `None` before the first.
    pub(super) request: Option<usize>,
    /// Set if the payload is only to be thrown away.
    pub(super) refusal: Option<Failure>,
    offset: u64,
    remaining: usize,
}

impl Upload {
    pub(super) fn new(answer: Answer) -> Self {
        Self { answer, request: None, refusal: None, offset: answer.offset, remaining: answer.len as usize }
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

/// What of which request a write is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    request: usize,
    offset: u64,
    /// It is a piece of a large write.
    is_piece: bool,
}

#[derive(Debug)]
struct Queued {
    payload: Range<usize>,
    part: Part,
}

/// A request that has writes which are not finished, or that may get more.
#[derive(Debug)]
struct Owed {
    /// `None` while pieces are still to come.
    answer: Option<Answer>,
    /// Writes that are not finished.
    left: usize,
    /// How the one with the lowest offset that failed did.
    failure: Option<Failure>,
}

/// What writes came to.
pub(super) type Settled = Vec<(Answer, Result<(), Failure>)>;

/// Writes by the request they are of.
#[derive(Debug, Default)]
pub(super) struct WriteQueue {
    queued: Vec<Queued>,
    requests: Vec<Option<Owed>>,
    free: Vec<usize>,
    settled: Settled,
}

impl WriteQueue {
    /// Requests with writes that are not finished.
    pub(super) fn len(&self) -> usize {
        self.requests.iter().flatten().filter(|owed| owed.left > 0).count()
    }

    /// A request, which is answered once all its writes are finished and the answer is known.
    pub(super) fn begin(&mut self) -> usize {
        let owed = Some(Owed { answer: None, left: 0, failure: None });
        match self.free.pop() {
            Some(request) => {
                self.requests[request] = owed;
                request
            }
            None => {
                self.requests.push(owed);
                self.requests.len() - 1
            }
        }
    }

    fn owed(&mut self, request: usize) -> &mut Owed {
        self.requests[request].as_mut().expect("a request is there until it is settled")
    }

    pub(super) fn failure(&self, request: usize) -> Option<Failure> {
        self.requests[request].as_ref().and_then(|owed| owed.failure)
    }

    /// Nothing more comes for a request.
    pub(super) fn complete(&mut self, request: usize, answer: Answer) {
        self.owed(request).answer = Some(answer);
        self.settle(request);
    }

    pub(super) fn push_whole(&mut self, payload: Range<usize>, answer: Answer) {
        let request = self.begin();
        self.push(payload, Part { request, offset: answer.offset, is_piece: false });
        self.complete(request, answer);
    }

    pub(super) fn push_piece(&mut self, payload: Range<usize>, offset: u64, request: usize) {
        self.push(payload, Part { request, offset, is_piece: true });
    }

    fn push(&mut self, payload: Range<usize>, part: Part) {
        self.owed(part.request).left += 1;
        self.queued.push(Queued { payload, part });
    }

    /// Hands everything queued to `start`, if that takes it: what it is for, and how many bytes. They are finished later.
    pub(super) fn start<E>(
        &mut self,
        inbox: &Inbox,
        start: impl FnOnce(&[Write<'_>]) -> Result<bool, E>,
    ) -> Result<Option<(Vec<Part>, usize)>, E> {
        let writes: Vec<Write<'_>> = self.queued.iter().map(|queued| write_of(queued, inbox)).collect();
        if writes.is_empty() || !start(&writes)? {
            return Ok(None);
        }
        let bytes = writes.iter().map(|write| write.data.len()).sum();
        Ok(Some((self.queued.drain(..).map(|queued| queued.part).collect(), bytes)))
    }

    /// Applies everything queued in one call of the export.
    pub(super) fn apply(&mut self, export: &dyn Export, inbox: &Inbox) {
        if self.queued.is_empty() {
            return;
        }
        let mut writes: Vec<Write<'_>> = self.queued.iter().map(|queued| write_of(queued, inbox)).collect();
        writes.retain(|write| !write.data.is_empty());
        let together = if writes.is_empty() { Ok(()) } else { export.write(&writes) };
        // One write that finds no room must not fail those beside it that do.
        let one_by_one =
            writes.len() > 1 && together.as_ref().is_err_and(|error| error.kind() == ErrorKind::OutOfSpace);
        let mut queue = std::mem::take(&mut self.queued);
        for queued in queue.drain(..) {
            let result = if one_by_one { export.write(&[write_of(&queued, inbox)]) } else { together.clone() };
            self.finish(queued.part, &result);
        }
        self.queued = queue;
    }

    /// A write has come to its end.
    pub(super) fn finish(&mut self, part: Part, result: &Result<()>) {
        let owed = self.owed(part.request);
        owed.left -= 1;
        if let Err(error) = result {
            let failure = Failure::of(error, Kind::Write);
            let offset = if part.is_piece { Some(part.offset) } else { failure.offset };
            // Pieces may end in any order; what counts is the first of the request.
            if owed.failure.is_none_or(|other| offset < other.offset) {
                owed.failure = Some(Failure { offset, ..failure });
            }
        }
        self.settle(part.request);
    }

    fn settle(&mut self, request: usize) {
        let is_settled = |owed: &mut Owed| owed.left == 0 && owed.answer.is_some();
        if let Some(Owed { answer: Some(answer), failure, .. }) = self.requests[request].take_if(is_settled) {
            self.free.push(request);
            self.settled.push((answer, failure.map_or(Ok(()), Err)));
        }
    }

    /// What requests came to.
    pub(super) fn take_settled(&mut self) -> Settled {
        std::mem::take(&mut self.settled)
    }

    /// Takes the emptied answer of [`WriteQueue::take_settled`] back, for its memory.
    pub(super) fn recycle(&mut self, settled: Settled) {
        if self.settled.is_empty() {
            self.settled = settled;
        }
    }
}

fn write_of<'a>(queued: &Queued, inbox: &'a Inbox) -> Write<'a> {
    Write { offset: queued.part.offset, data: inbox.bytes(queued.payload.clone()) }
}
