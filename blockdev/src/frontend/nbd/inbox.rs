//! The receive buffer of a connection: many requests per receive, their payloads used in place.
//!
//! Small while the connection is idle, full-sized from the first receive that fills it.

use std::ops::Range;

use super::socket::Received;

/// Size while nothing happens; holds a burst of requests without payload.
const IDLE_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct Inbox {
    storage: Vec<u8>,
    /// The bytes received and not yet consumed.
    filled: Range<usize>,
    full_bytes: usize,
}

impl Inbox {
    pub(super) fn new(full_bytes: usize) -> Self {
        Self { storage: vec![0; IDLE_BYTES], filled: 0..0, full_bytes }
    }

    /// What has been received and not consumed.
    pub(super) fn pending(&self) -> &[u8] {
        &self.storage[self.filled.clone()]
    }

    /// Takes `len` pending bytes off; they stay readable by the range returned until the next receive.
    pub(super) fn consume(&mut self, len: usize) -> Range<usize> {
        assert!(len <= self.filled.len(), "only what was received is consumed");
        let taken = self.filled.start..self.filled.start + len;
        self.filled.start = taken.end;
        taken
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.storage[range]
    }

    /// Has `receive` put bytes behind what is pending, making room for `wanted` pending bytes in all.
    pub(super) fn receive<E>(
        &mut self,
        wanted: usize,
        receive: impl FnOnce(&mut [u8]) -> Result<Received, E>,
    ) -> Result<Received, E> {
        self.make_room(wanted);
        let received = receive(&mut self.storage[self.filled.end..])?;
        if let Received::Bytes(count) = received {
            self.filled.end += count;
            if self.filled.end == self.storage.len() && self.storage.len() < self.full_bytes {
                self.storage.resize(self.full_bytes, 0);
            }
        }
        Ok(received)
    }

    /// Moves the pending bytes to the front where there is too little behind them, and grows the buffer if it is too small
    /// for `wanted` bytes.
    fn make_room(&mut self, wanted: usize) {
        let wanted = wanted.max(self.filled.len() + 1);
        let behind = self.storage.len() - self.filled.end;
        // Moving no more than has been consumed since the last move keeps the cost per byte constant.
        let worth_it = behind < self.storage.len() / 4 && self.filled.len() <= self.filled.start;
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if worth_it || self.storage.len() - self.filled.start < wanted {
            self.storage.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        if self.storage.len() < wanted {
            self.storage.resize(wanted.max(self.full_bytes), 0);
        }
    }

    /// Gives back what is not needed to keep the pending bytes.
    pub(super) fn shrink(&mut self) {
        let len = self.filled.len();
        if self.storage.len() > len.max(IDLE_BYTES) {
            let mut storage = vec![0; len.max(IDLE_BYTES)];
            storage[..len].copy_from_slice(self.pending());
            self.storage = storage;
            self.filled = 0..len;
        }
    }

    #[cfg(test)]
    pub(super) fn storage_bytes(&self) -> usize {
        self.storage.len()
    }
}
