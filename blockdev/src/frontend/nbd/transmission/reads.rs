//! The reads of a connection that have not been answered yet.

use std::time::Duration;

use lsm_store::Result;
use lsm_store::read::ReadData;

use super::{Answer, Ended, Socket};
use crate::export::{Export, Reads};
use std::os::fd::AsFd;

struct InFlight {
    answer: Answer,
    one_chunk: bool,
}

/// Reads in flight by slot; the slot is the token the export sees, since a client may use one cookie twice.
#[derive(Default)]
pub(super) struct ReadTable {
    /// Made for the first read, given back when idle.
    reads: Option<Box<dyn Reads>>,
    slots: Vec<Option<InFlight>>,
    free: Vec<usize>,
    bytes: usize,
}

impl ReadTable {
    pub(super) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn bytes_in_flight(&self) -> usize {
        self.bytes
    }

    pub(super) fn start(&mut self, export: &dyn Export, answer: Answer, one_chunk: bool) -> Result<()> {
        let reads = match &mut self.reads {
            Some(reads) => reads,
            none => none.insert(export.reads()?),
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(InFlight { answer, one_chunk });
        self.bytes += answer.len as usize;
        reads.start(slot as u64, answer.offset, answer.len as usize);
        Ok(())
    }

    /// The next read that is done, with whether it must be answered in one chunk.
    pub(super) fn next_finished(&mut self) -> Option<(Answer, bool, Result<ReadData>)> {
        if self.in_flight() == 0 {
            return None;
        }
        let (token, result) = self.reads.as_mut()?.next_finished()?;
        let slot = usize::try_from(token).expect("a token is a slot");
        let InFlight { answer, one_chunk } = self.slots[slot].take().expect("a read finishes once");
        self.free.push(slot);
        self.bytes -= answer.len as usize;
        if let Ok(data) = &result {
            // A reply of another length would have the client take later replies for data.
            assert_eq!(data.len(), answer.len as usize, "a read answers with as many bytes as were asked for");
        }
        Some((answer, one_chunk, result))
    }

    /// Sleeps until a read is done or `socket` has input; true for the latter.
    pub(super) fn wait(&mut self, socket: Option<&Socket>, timeout: Option<Duration>) -> Result<bool, Ended> {
        let Some(reads) = &mut self.reads else { return Ok(false) };
        Ok(reads.wait(socket.map(AsFd::as_fd), timeout)?.socket_readable)
    }

    /// Has the device work on what was started while the thread does something else.
    pub(super) fn push_on(&mut self) -> Result<(), Ended> {
        if self.in_flight() > 0 {
            self.wait(None, Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// Gives memory back if nothing is in flight.
    pub(super) fn shrink(&mut self) {
        if self.in_flight() == 0 {
            *self = Self::default();
        }
    }
}
