//! A ring and the thread it belongs to.
//!
//! A ring that only one thread may enter is the cheapest (completions are then posted when that thread asks for them, not
//! by interrupting it). The thread is the first that uses the ring. If another comes along later, a ring that any thread
//! may enter takes its place.

use std::io;
use std::thread::{self, ThreadId};
use std::time::Duration;

use io_uring::squeue::{Entry, PushError};
use io_uring::{IoUring, Probe, opcode, types};
use rustix::io::Errno;

/// Longer timeouts overflow in the kernel; ending this early does no harm.
const PATIENCE_MAX: Duration = Duration::from_secs(1 << 30);

/// How entering a ring ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entered {
    /// Normally, or early because of a signal.
    Done,
    /// The timeout passed before anything happened.
    TimedOut,
}

/// Set-ups from the best to the most widely known; older kernels refuse the newer ones with `EINVAL`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Setup {
    /// One thread, completions posted on demand (Linux 6.1).
    SingleIssuer,
    /// Any thread, no interruptions for completions (Linux 5.19).
    Cooperative,
    /// Any thread (Linux 5.11).
    Plain,
}

/// An io_uring.
pub(super) struct Ring {
    ring: IoUring,
    setup: Setup,
    entries: u32,
    owner: Option<ThreadId>,
}

/// Finds out whether io_uring works here: containers and hardened kernels forbid it, old ones lack what is needed.
pub(in crate::device) fn probe() -> io::Result<()> {
    let mut ring = Ring::new(1)?;
    let mut known = Probe::new();
    ring.ring.submitter().register_probe(&mut known)?;
    let needed = [opcode::Read::CODE, opcode::PollAdd::CODE, opcode::PollRemove::CODE];
    if !needed.iter().all(|&code| known.is_supported(code)) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    ring.bind(0)?;
    // SAFETY: a no-op refers to no memory.
    #[expect(unsafe_code, reason = "pushing any entry is unsafe")]
    let pushed = unsafe { ring.push(&opcode::Nop::new().build()) };
    pushed.expect("an empty ring has room");
    ring.enter(true, None)?;
    ring.next_event().map(|_| ()).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

impl Ring {
    /// A ring with room for `entries` operations, in the best set-up the kernel takes.
    pub(super) fn new(entries: usize) -> io::Result<Self> {
        let entries = u32::try_from(entries).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Self::first_of(&[Setup::SingleIssuer, Setup::Cooperative, Setup::Plain], entries)
    }

    fn first_of(setups: &[Setup], entries: u32) -> io::Result<Self> {
        let mut refused = io::Error::from(io::ErrorKind::Unsupported);
        for &setup in setups {
            match build(setup, entries) {
                Ok(ring) if ring.params().is_feature_ext_arg() && ring.params().is_feature_nodrop() => {
                    return Ok(Self { ring, setup, entries, owner: None });
                }
                Ok(_) => return Err(io::ErrorKind::Unsupported.into()),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => refused = error,
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    /// One ring of each set-up this kernel takes.
    #[cfg(test)]
    pub(super) fn of_every_setup(entries: u32) -> Vec<Self> {
        let setups = [Setup::SingleIssuer, Setup::Cooperative, Setup::Plain];
        setups.iter().filter_map(|&setup| Self::first_of(&[setup], entries).ok()).collect()
    }

    #[cfg(test)]
    pub(super) fn is_single_issuer(&self) -> bool {
        self.setup == Setup::SingleIssuer
    }

    pub(super) fn is_bound_here(&self) -> bool {
        self.owner == Some(thread::current().id())
    }

    /// Makes the ring usable by the calling thread. True if that took a new ring, with nothing in it.
    ///
    /// Fails with [`io::ErrorKind::ResourceBusy`] if the ring belongs to another thread and has reads in it.
    pub(super) fn bind(&mut self, reads_in_ring: usize) -> io::Result<bool> {
        if self.is_bound_here() {
            return Ok(false);
        }
        let moved = self.owner.is_some() && self.setup == Setup::SingleIssuer;
        if moved {
            if reads_in_ring > 0 {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
            *self = Self::first_of(&[Setup::Cooperative, Setup::Plain], self.entries)?;
        } else if self.setup == Setup::SingleIssuer {
            self.ring.submitter().register_enable_rings()?;
        }
        self.owner = Some(thread::current().id());
        Ok(moved)
    }

    /// Puts an entry where the next [`Ring::enter`] takes it from.
    ///
    /// # Safety
    /// What the entry refers to must stay valid, and buffers untouched, until its event was handed out.
    #[expect(unsafe_code, reason = "the kernel works on what the entry refers to")]
    pub(super) unsafe fn push(&mut self, entry: &Entry) -> Result<(), PushError> {
        // SAFETY: the caller's promise.
        unsafe { self.ring.submission().push(entry) }
    }

    /// Entries pushed that the kernel has not been told of.
    pub(super) fn pushed(&mut self) -> usize {
        self.ring.submission().len()
    }

    /// Whether entering would get anything done without waiting.
    pub(super) fn has_work(&mut self) -> bool {
        let queue = self.ring.submission();
        !queue.is_empty() || queue.taskrun()
    }

    /// Hands the kernel what was pushed; waits for an event if `blocking`, for at most `timeout`.
    pub(super) fn enter(&mut self, blocking: bool, timeout: Option<Duration>) -> io::Result<Entered> {
        let timespec = timeout.map(|timeout| types::Timespec::from(timeout.min(PATIENCE_MAX)));
        let mut arguments = types::SubmitArgs::new();
        if let Some(timespec) = &timespec {
            arguments = arguments.timespec(timespec);
        }
        match self.ring.submitter().submit_with_args(usize::from(blocking), &arguments) {
            Ok(_) => Ok(Entered::Done),
            Err(error) if error.raw_os_error() == Some(Errno::TIME.raw_os_error()) => Ok(Entered::TimedOut),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Entered::Done),
            Err(error) => Err(error),
        }
    }

    /// The name and the result of an operation that has ended.
    pub(super) fn next_event(&mut self) -> Option<(u64, i32)> {
        self.ring.completion().next().map(|event| (event.user_data(), event.result()))
    }
}

fn build(setup: Setup, entries: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.dontfork();
    match setup {
        // Disabled until its thread is known.
        Setup::SingleIssuer => {
            builder.setup_r_disabled().setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag()
        }
        Setup::Cooperative => builder.setup_coop_taskrun().setup_taskrun_flag(),
        Setup::Plain => &mut builder,
    };
    builder.build(entries)
}
