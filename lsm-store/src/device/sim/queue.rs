//! A queue whose reads are carried out, and finish, in an order that the seed gives.
//!
//! Time is the device's clock, except that a wait for a socket alone has to be a real one.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::device::pool::poll_readable;
use crate::device::{AlignedBuffer, Completion, File, ReadQueue, Wake};

pub(super) struct SimQueue {
    shared: Arc<Shared>,
    depth: usize,
    submitted: Vec<(u64, Arc<dyn File>, AlignedBuffer, u64)>,
    started: Vec<Started>,
    finished: VecDeque<Completion>,
}

/// A read whose result is known but not yet due.
struct Started {
    due: Duration,
    completion: Completion,
}

impl SimQueue {
    pub(super) fn new(shared: Arc<Shared>, depth: usize) -> Self {
        Self { shared, depth, submitted: Vec::new(), started: Vec::new(), finished: VecDeque::new() }
    }

    fn pick(&self, count: usize) -> usize {
        usize::try_from(self.shared.rng.below(count as u64)).expect("a number below a usize")
    }

    /// Carries out what was submitted.
    fn start(&mut self) {
        while !self.submitted.is_empty() {
            let picked = self.pick(self.submitted.len());
            let (token, file, mut buffer, offset) = self.submitted.swap_remove(picked);
            let (result, delay) = self.shared.gather_delay(|| file.read_at(&mut buffer, offset));
            let due = self.shared.options.clock.monotonic() + delay;
            self.started.push(Started { due, completion: Completion { token, buffer, result } });
        }
    }

    /// Finishes at least one of the reads that are due, if there are any.
    fn finish(&mut self) {
        let now = self.shared.options.clock.monotonic();
        loop {
            let due: Vec<usize> = (0..self.started.len()).filter(|&index| self.started[index].due <= now).collect();
            if due.is_empty() {
                return;
            }
            let picked = due[self.pick(due.len())];
            self.finished.push_back(self.started.swap_remove(picked).completion);
            if self.pick(2) == 0 {
                return;
            }
        }
    }

    /// Lets time pass until the next read is due or `timeout` is over; false if it is over.
    fn sleep(&self, timeout: Option<Duration>, since: Duration) -> bool {
        let clock = &self.shared.options.clock;
        let now = clock.monotonic();
        let next_due = self.started.iter().map(|read| read.due).min();
        let end = timeout.map(|timeout| since.saturating_add(timeout));
        let until = next_due.into_iter().chain(end).min().expect("something to wait for");
        clock.sleep(until.saturating_sub(now));
        end.is_none_or(|end| until < end)
    }
}

impl ReadQueue for SimQueue {
    fn submit(&mut self, token: u64, file: &Arc<dyn File>, buffer: AlignedBuffer, offset: u64) {
        assert!(self.in_flight() < self.depth, "a queue of depth {} is full", self.depth);
        self.submitted.push((token, Arc::clone(file), buffer, offset));
    }

    fn in_flight(&self) -> usize {
        self.submitted.len() + self.started.len() + self.finished.len()
    }

    fn next_completion(&mut self) -> Option<Completion> {
        if self.finished.is_empty() && self.in_flight() > 0 && self.pick(2) == 0 {
            self.start();
            self.finish();
        }
        self.finished.pop_front()
    }

    fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<Wake> {
        assert!(self.in_flight() > 0 || socket.is_some() || timeout.is_some(), "nothing to wait for");
        let since = self.shared.options.clock.monotonic();
        self.start();
        loop {
            if self.finished.is_empty() {
                self.finish();
            }
            let alone = self.in_flight() == 0 && socket.is_some();
            let patience = if alone { timeout } else { Some(Duration::ZERO) };
            let socket_readable = poll_readable([socket], patience)?[0];
            let wake = Wake { socket_readable, completions: !self.finished.is_empty() };
            let out_of_time = |queue: &Self| if alone { timeout.is_some() } else { !queue.sleep(timeout, since) };
            if wake.is_something() || out_of_time(self) {
                return Ok(wake);
            }
        }
    }
}
