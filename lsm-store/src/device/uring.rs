//! Reads by io_uring: one small ring per queue, which also watches the socket, so that one system call waits for both.
//!
//! The kernel writes into buffers of reads in flight. So a buffer and its file belong to the queue from submission until
//! the kernel has posted the completion, and a queue that is dropped waits for its reads first (or, where it cannot wait,
//! gives the memory up for good).

mod ring;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::{opcode, types};

pub(super) use ring::probe;

use self::ring::{Entered, Ring};
use self::watch::{SocketWatch, is_watch_event};
use super::{AlignedBuffer, Completion, File, ReadQueue, Wake, alignment};

/// The most the kernel is asked for at once; its lengths have 32 bits.
const READ_BYTES_MAX: usize = 1 << 30;

/// Entries beside the reads: arming and disarming the watch on the socket.
const WATCH_ENTRIES: usize = 2;

/// The kernel is told of so many reads at the latest, so that the device works on the first of a burst while its owner
/// plans the others.
const READS_PUSHED_MAX: usize = 8;

/// One thread's ring and the reads in it.
pub(super) struct UringQueue {
    ring: Ring,
    watch: SocketWatch,
    /// Reads in the ring; the kernel's name for a read is its place here.
    slots: Vec<Option<RingRead>>,
    free_slots: Vec<usize>,
    ready: VecDeque<Completion>,
}

struct RingRead {
    token: u64,
    file: Arc<dyn File>,
    buffer: AlignedBuffer,
    offset: u64,
    filled: usize,
}

impl UringQueue {
    /// A queue of `depth` reads. Fails where io_uring is not available.
    pub(super) fn new(depth: usize) -> io::Result<Self> {
        Ok(Self {
            ring: Ring::new(depth + WATCH_ENTRIES)?,
            watch: SocketWatch::default(),
            slots: (0..depth).map(|_| None).collect(),
            free_slots: (0..depth).rev().collect(),
            ready: VecDeque::new(),
        })
    }

    fn reads_in_ring(&self) -> usize {
        self.slots.len() - self.free_slots.len()
    }

    fn bind(&mut self) -> io::Result<()> {
        if self.ring.bind(self.reads_in_ring())? {
            self.watch = SocketWatch::default();
        }
        Ok(())
    }

    /// Puts (the rest of) a read into the ring, or answers it if that cannot be.
    fn start(&mut self, mut read: RingRead) {
        let Some(fd) = read.file.fd().map(|fd| types::Fd(fd.as_raw_fd())) else {
            let result = read.file.read_at(&mut read.buffer, read.offset);
            return self.answer(read, result);
        };
        if let Err(error) = self.bind() {
            return self.answer(read, Err(error));
        }
        let slot = self.free_slots.pop().expect("a slot for every read within the depth");
        let rest = &mut read.buffer[read.filled..];
        let len = u32::try_from(rest.len().min(READ_BYTES_MAX)).expect("a length of 30 bits");
        let entry = opcode::Read::new(fd, rest.as_mut_ptr(), len)
            .offset(read.offset + read.filled as u64)
            .build()
            .user_data(slot as u64);
        self.slots[slot] = Some(read);
        // SAFETY: the entry points into a buffer and names a descriptor that both belong to the read now in `slots`. It
        // stays there, untouched, until `finish` sees the completion or, if none can come, is leaked by `drop`. Moving an
        // `AlignedBuffer` does not move its memory.
        #[expect(unsafe_code, reason = "the kernel writes into the buffer behind the compiler's back")]
        let pushed = unsafe { self.ring.push(&entry) };
        pushed.expect("the ring has an entry for every read within the depth");
    }

    /// Tells the kernel what was pushed, without waiting. Errors show in the next wait.
    fn hand_over(&mut self) {
        if self.ring.is_bound_here() {
            let _ = self.ring.enter(false, None);
        }
    }

    fn answer(&mut self, read: RingRead, result: io::Result<()>) {
        self.ready.push_back(Completion { token: read.token, buffer: read.buffer, result });
    }

    /// Takes what the kernel has finished out of the ring; returns how many events there were.
    fn reap(&mut self) -> usize {
        let mut count = 0;
        while let Some((name, result)) = self.ring.next_event() {
            count += 1;
            if is_watch_event(name) {
                self.watch.handle_event(name, result);
            } else {
                self.finish(usize::try_from(name).expect("a slot's number"), result);
            }
        }
        count
    }

    fn finish(&mut self, slot: usize, result: i32) {
        let mut read = self.slots[slot].take().expect("the kernel finishes a read once");
        self.free_slots.push(slot);
        let Ok(count) = usize::try_from(result) else {
            let error = io::Error::from_raw_os_error(-result);
            return match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => self.start(read),
                _ => self.answer(read, Err(error)),
            };
        };
        read.filled += count;
        if read.filled == read.buffer.len() {
            self.answer(read, Ok(()));
        } else if alignment::at_end(count, read.filled, read.buffer.len(), read.file.alignment()) {
            self.answer(read, Err(io::ErrorKind::UnexpectedEof.into()));
        } else {
            self.start(read);
        }
    }

    /// Waits until the kernel holds no buffer and no socket of ours; false if it cannot be waited for.
    fn settle(&mut self) -> bool {
        if self.reads_in_ring() == 0 && self.watch.is_quiet() {
            return true;
        }
        if self.bind().is_err() || self.watch.disarm(&mut self.ring).is_err() {
            return false;
        }
        while self.reads_in_ring() > 0 || !self.watch.is_quiet() {
            if self.watch.disarm_again(&mut self.ring).is_err() || self.ring.enter(true, None).is_err() {
                return false;
            }
            self.reap();
        }
        true
    }
}

impl ReadQueue for UringQueue {
    fn submit(&mut self, token: u64, file: &Arc<dyn File>, buffer: AlignedBuffer, offset: u64) {
        assert!(self.in_flight() < self.slots.len(), "a queue of depth {} is full", self.slots.len());
        self.start(RingRead { token, file: Arc::clone(file), buffer, offset, filled: 0 });
        if self.ring.pushed() >= READS_PUSHED_MAX {
            self.hand_over();
        }
    }

    fn in_flight(&self) -> usize {
        self.reads_in_ring() + self.ready.len()
    }

    fn next_completion(&mut self) -> Option<Completion> {
        if self.ready.is_empty() && self.reads_in_ring() > 0 {
            // A caller that never waits must get on, too.
            if self.ring.has_work() {
                self.hand_over();
            }
            self.reap();
        }
        self.ready.pop_front()
    }

    fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> io::Result<Wake> {
        assert!(self.in_flight() > 0 || socket.is_some() || timeout.is_some(), "nothing to wait for");
        self.bind()?;
        self.watch.start(&mut self.ring, socket)?;
        loop {
            let blocking = self.ready.is_empty();
            let entered = self.ring.enter(blocking, timeout)?;
            let event_count = self.reap();
            let socket_readable = self.watch.take_readable(&mut self.ring, socket)?;
            let wake = Wake { socket_readable, completions: !self.ready.is_empty() };
            // A wait that gave no event at all ran out of time, even if the kernel reports how many entries it took.
            let out_of_time = timeout.is_some() && (event_count == 0 || entered == Entered::TimedOut);
            if wake.is_something() || out_of_time {
                self.watch.rest(socket)?;
                return Ok(wake);
            }
        }
    }
}

impl Drop for UringQueue {
    fn drop(&mut self) {
        if !self.settle() {
            // The kernel may still write into these buffers: their memory must never be used again.
            self.slots.drain(..).for_each(std::mem::forget);
        }
    }
}
