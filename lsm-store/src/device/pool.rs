//! Reads by a pool of threads, for machines without io_uring.
//!
//! Sixteen threads at most, shared by every queue of a device and started when there is work for them. A queue hears of
//! finished reads through an eventfd, so that one `poll` waits for them and a socket together. The threads end when the
//! device and its queues are gone.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::{Errno, retry_on_intr};

use super::{AlignedBuffer, Completion, File, ReadQueue, Wake};

const THREADS_MAX: usize = 16;

/// The threads.
pub(super) struct ReadPool {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Default)]
struct Work {
    reads: VecDeque<Read>,
    threads: Vec<JoinHandle<()>>,
    idle_threads: usize,
    closing: bool,
}

struct Read {
    token: u64,
    file: Arc<dyn File>,
    buffer: AlignedBuffer,
    offset: u64,
    answer_to: Arc<Answers>,
}

/// Finished reads of one queue. The event is signalled whenever the list stops being empty.
struct Answers {
    finished: Mutex<VecDeque<Completion>>,
    event: OwnedFd,
}

impl ReadPool {
    /// A pool without threads yet.
    pub(super) fn new() -> Self {
        Self { shared: Arc::default() }
    }

    fn submit(&self, read: Read) {
        let mut work = self.shared.work.lock();
        work.reads.push_back(read);
        if work.reads.len() > work.idle_threads && work.threads.len() < THREADS_MAX {
            self.start_thread(&mut work);
        }
        let without_thread = if work.threads.is_empty() { work.reads.pop_back() } else { None };
        drop(work);
        match without_thread {
            Some(read) => read.run(),
            None => {
                self.shared.changed.notify_one();
            }
        }
    }

    /// A thread that cannot be started is done without.
    fn start_thread(&self, work: &mut Work) {
        let shared = Arc::clone(&self.shared);
        if let Ok(thread) = Builder::new().name("silt-read".into()).spawn(move || shared.run()) {
            work.threads.push(thread);
        }
    }
}

impl Drop for ReadPool {
    fn drop(&mut self) {
        let threads = {
            let mut work = self.shared.work.lock();
            work.closing = true;
            std::mem::take(&mut work.threads)
        };
        self.shared.changed.notify_all();
        for thread in threads {
            thread.join().expect("a read thread does not panic");
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut work = self.work.lock();
        loop {
            if let Some(read) = work.reads.pop_front() {
                drop(work);
                read.run();
                work = self.work.lock();
            } else if work.closing {
                return;
            } else {
                work.idle_threads += 1;
                self.changed.wait(&mut work);
                work.idle_threads -= 1;
            }
        }
    }
}

impl Read {
    fn run(mut self) {
        let result = self.file.read_at(&mut self.buffer, self.offset);
        // The file goes first: who has the completion may count on its handle being closed.
        drop(self.file);
        self.answer_to.push(Completion { token: self.token, buffer: self.buffer, result });
    }
}

impl Answers {
    fn push(&self, completion: Completion) {
        let mut finished = self.finished.lock();
        let was_empty = finished.is_empty();
        finished.push_back(completion);
        drop(finished);
        if was_empty {
            // A full counter (EAGAIN) is a signalled event already.
            let signalled = retry_on_intr(|| rustix::io::write(&self.event, &1_u64.to_ne_bytes()));
            assert!(matches!(signalled, Ok(_) | Err(Errno::AGAIN)), "an eventfd can be written");
        }
    }

    fn clear_event(&self) {
        let mut count = [0_u8; 8];
        let cleared = retry_on_intr(|| rustix::io::read(&self.event, &mut count));
        assert!(matches!(cleared, Ok(_) | Err(Errno::AGAIN)), "an eventfd can be read");
    }
}

/// One thread's reads.
pub(super) struct PoolQueue {
    pool: Arc<ReadPool>,
    answers: Arc<Answers>,
    depth: usize,
    in_flight: usize,
}

impl PoolQueue {
    /// A queue of `depth` reads that `pool` carries out.
    pub(super) fn new(pool: Arc<ReadPool>, depth: usize) -> io::Result<Self> {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let answers = Arc::new(Answers { finished: Mutex::default(), event });
        Ok(Self { pool, answers, depth, in_flight: 0 })
    }
}

impl ReadQueue for PoolQueue {
    fn submit(&mut self, token: u64, file: &Arc<dyn File>, buffer: AlignedBuffer, offset: u64) {
        assert!(self.in_flight < self.depth, "a queue of depth {} is full", self.depth);
        self.in_flight += 1;
        let answer_to = Arc::clone(&self.answers);
        self.pool.submit(Read { token, file: Arc::clone(file), buffer, offset, answer_to });
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn next_completion(&mut self) -> Option<Completion> {
        let completion = self.answers.finished.lock().pop_front()?;
        self.in_flight -= 1;
        Some(completion)
    }

    fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<Wake> {
        let possible = self.in_flight > 0 || socket.is_some() || timeout.is_some();
        assert!(possible, "nothing to wait for");
        loop {
            let finished = !self.answers.finished.lock().is_empty();
            let patience = if finished { Some(Duration::ZERO) } else { timeout };
            let ready = poll_readable([Some(self.answers.event.as_fd()), socket], patience)?;
            if ready[0] {
                self.answers.clear_event();
            }
            let completions = !self.answers.finished.lock().is_empty();
            let wake = Wake { socket_readable: ready[1], completions };
            // A stale event, signalled for a completion that was fetched since, is no reason to wake.
            if wake.is_something() || (timeout.is_some() && !ready[0]) {
                return Ok(wake);
            }
        }
    }
}

/// Which of the descriptors can be read (or are hung up) once one can, or `timeout` has passed, or a signal came.
pub(super) fn poll_readable<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout =
        timeout.map(|timeout| Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
    match rustix::event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok([false; N]),
        Err(error) => return Err(error.into()),
    }
    let mut ready = polled.iter().map(|fd| !fd.revents().is_empty());
    Ok(fds.map(|fd| fd.is_some() && ready.next().unwrap_or(false)))
}
