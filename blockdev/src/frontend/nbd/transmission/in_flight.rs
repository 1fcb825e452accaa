//! The requests of a connection that its export is at work on.

use std::os::fd::AsFd;
use std::time::Duration;

use lsm_store::Result;
use lsm_store::read::ReadData;

use super::{Answer, Ended, Socket};
use crate::export::{Change, Export, Requests};

struct Read {
    answer: Answer,
    one_chunk: bool,
    /// Waits so far when it was started.
    waits: u64,
}

/// A read that is done.
pub(super) struct FinishedRead {
    pub(super) answer: Answer,
    /// It must be answered in one chunk.
    pub(super) one_chunk: bool,
    pub(super) result: Result<ReadData>,
    /// The thread has waited for the export since it was started. Else it was most likely answered from memory.
    pub(super) waited: bool,
}

/// Reads by slot, which is the token that the export sees, since a client may use one cookie twice; and how many changes.
#[derive(Default)]
pub(super) struct InFlight {
    /// Made for the first request, given back when idle.
    requests: Option<Box<dyn Requests>>,
    reads: Vec<Option<Read>>,
    free: Vec<usize>,
    read_bytes: usize,
    changes: usize,
    waits: u64,
}

impl InFlight {
    /// Reads without an answer.
    pub(super) fn reads(&self) -> usize {
        self.reads.len() - self.free.len()
    }

    pub(super) fn read_bytes(&self) -> usize {
        self.read_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reads() == 0 && self.changes == 0
    }

    fn requests(&mut self, export: &dyn Export) -> Result<&mut Box<dyn Requests>> {
        match &mut self.requests {
            Some(requests) => Ok(requests),
            none => Ok(none.insert(export.requests()?)),
        }
    }

    pub(super) fn start_read(&mut self, export: &dyn Export, answer: Answer, one_chunk: bool) -> Result<()> {
        self.requests(export)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.reads.push(None);
            self.reads.len() - 1
        });
        self.reads[slot] = Some(Read { answer, one_chunk, waits: self.waits });
        self.read_bytes += answer.len as usize;
        self.requests(export)?.start_read(slot as u64, answer.offset, answer.len as usize);
        Ok(())
    }

    /// The next read that is done.
    pub(super) fn next_read(&mut self) -> Option<FinishedRead> {
        if self.reads() == 0 {
            return None;
        }
        let (token, result) = self.requests.as_mut()?.next_read()?;
        let slot = usize::try_from(token).expect("a token is a slot");
        let Read { answer, one_chunk, waits } = self.reads[slot].take().expect("a read finishes once");
        self.free.push(slot);
        self.read_bytes -= answer.len as usize;
        if let Ok(data) = &result {
            // A reply of another length would have the client take later replies for data.
            assert_eq!(data.len(), answer.len as usize, "a read answers with as many bytes as were asked for");
        }
        Some(FinishedRead { answer, one_chunk, result, waited: waits < self.waits })
    }

    /// Starts a change; false if the export makes changes by its own calls only.
    pub(super) fn start_change(&mut self, export: &dyn Export, token: u64, change: Change<'_>) -> Result<bool> {
        let is_started = self.requests(export)?.start_change(token, change);
        self.changes += usize::from(is_started);
        Ok(is_started)
    }

    /// The next change that is done.
    pub(super) fn next_change(&mut self) -> Option<(u64, Result<()>)> {
        if self.changes == 0 {
            return None;
        }
        let finished = self.requests.as_mut()?.next_change()?;
        self.changes -= 1;
        Some(finished)
    }

    /// Sleeps until a request is done or `socket` has input; true for the latter.
    pub(super) fn wait(&mut self, socket: Option<&Socket>, timeout: Option<Duration>) -> Result<bool, Ended> {
        let Some(requests) = &mut self.requests else { return Ok(false) };
        self.waits += 1;
        Ok(requests.wait(socket.map(AsFd::as_fd), timeout)?.socket_readable)
    }

    /// Has the device work on what was started while the thread does something else.
    pub(super) fn push_on(&mut self) -> Result<(), Ended> {
        if !self.is_empty() {
            self.wait(None, Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// Gives memory back if nothing is in flight.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}
