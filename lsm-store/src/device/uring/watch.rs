//! The watch on a socket inside a ring.
//!
//! A watch fires once. One that has not fired when a wait ends stays in the ring for the next wait on the same socket,
//! which saves arming it again; but what it says then may be old news (or, the descriptor closed and its number reused,
//! news of another socket), so it is checked before it is believed.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::{opcode, types};
use rustix::event::PollFlags;
use rustix::io::Errno;

use super::ring::Ring;
use crate::device::pool::poll_readable;

const WATCH_BIT: u64 = 1 << 63;
const DISARM_BIT: u64 = 1 << 62;

/// Whether an event of the ring belongs to a watch.
pub(super) fn is_watch_event(name: u64) -> bool {
    name & WATCH_BIT != 0
}

/// At most one armed watch, and the fate of earlier ones.
#[derive(Default)]
pub(super) struct SocketWatch {
    armed: Option<Armed>,
    fired: Option<Fired>,
    arm_count: u64,
    /// Watches that were just waking when they were to go. One that then finds nothing, as somebody has read the socket
    /// meanwhile, watches on.
    not_gone: Vec<u64>,
    /// Entries in the ring whose event has not come yet.
    entries_out: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fired {
    /// Armed and fired in the same wait: the truth.
    Now,
    /// Armed in an earlier wait: to be checked.
    Stale,
}

struct Armed {
    name: u64,
    fd: RawFd,
    /// Device and inode of the socket, known once a wait has ended without it firing.
    identity: Option<(u64, u64)>,
    /// Armed by the wait that is running.
    fresh: bool,
}

impl SocketWatch {
    /// Nothing of ours is in the ring.
    pub(super) fn is_quiet(&self) -> bool {
        self.entries_out == 0
    }

    /// Watches `socket` alone from now on.
    pub(super) fn start(&mut self, ring: &mut Ring, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.fired = None;
        if let (Some(armed), Some(socket)) = (&self.armed, socket)
            && armed.fd == socket.as_raw_fd()
            && armed.identity == Some(identity(socket)?)
        {
            return Ok(());
        }
        self.disarm(ring)?;
        match socket {
            Some(socket) => self.arm(ring, socket),
            None => Ok(()),
        }
    }

    fn arm(&mut self, ring: &mut Ring, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.arm_count += 1;
        let name = WATCH_BIT | self.arm_count;
        let fd = socket.as_raw_fd();
        let events = u32::from(PollFlags::IN.bits());
        self.push(ring, &opcode::PollAdd::new(types::Fd(fd), events).build().user_data(name))?;
        self.armed = Some(Armed { name, fd, identity: None, fresh: true });
        Ok(())
    }

    /// Takes the watch, if any, out of the ring at the next enter.
    pub(super) fn disarm(&mut self, ring: &mut Ring) -> io::Result<()> {
        let Some(armed) = &self.armed else { return Ok(()) };
        let name = armed.name;
        self.remove(ring, name)?;
        self.armed = None;
        Ok(())
    }

    /// As [`SocketWatch::disarm`], for watches that have not gone by that.
    pub(super) fn disarm_again(&mut self, ring: &mut Ring) -> io::Result<()> {
        std::mem::take(&mut self.not_gone).into_iter().try_for_each(|name| self.remove(ring, name))
    }

    fn remove(&mut self, ring: &mut Ring, name: u64) -> io::Result<()> {
        self.push(ring, &opcode::PollRemove::new(name).build().user_data(name | DISARM_BIT))
    }

    /// Earlier waits that failed may have left the ring full.
    fn push(&mut self, ring: &mut Ring, entry: &Entry) -> io::Result<()> {
        // SAFETY: watching and disarming refer to no memory. A descriptor closed before the ring is entered makes a watch
        // that fails or watches something else, which `take_readable` tells from the socket.
        #[expect(unsafe_code, reason = "pushing any entry is unsafe")]
        let pushed = unsafe { ring.push(entry) };
        pushed.map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))?;
        self.entries_out += 1;
        Ok(())
    }

    /// An event of a watch or of its disarming. A watch that failed has fired, too: who then reads the socket finds out why.
    pub(super) fn handle_event(&mut self, name: u64, result: i32) {
        self.entries_out -= 1;
        if name & DISARM_BIT != 0 {
            if result == -Errno::ALREADY.raw_os_error() {
                self.not_gone.push(name & !DISARM_BIT);
            }
            return;
        }
        self.not_gone.retain(|&other| other != name);
        if let Some(armed) = self.armed.take_if(|armed| armed.name == name) {
            self.fired = Some(if armed.fresh { Fired::Now } else { Fired::Stale });
        }
    }

    /// Whether the socket was found readable since [`SocketWatch::start`]. A false alarm arms the watch again.
    pub(super) fn take_readable(&mut self, ring: &mut Ring, socket: Option<BorrowedFd<'_>>) -> io::Result<bool> {
        let (Some(fired), Some(socket)) = (self.fired.take(), socket) else { return Ok(false) };
        if fired == Fired::Now || poll_readable([Some(socket)], Some(Duration::ZERO))?[0] {
            return Ok(true);
        }
        self.arm(ring, socket)?;
        Ok(false)
    }

    /// Readies a watch that has not fired for the next wait.
    pub(super) fn rest(&mut self, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
        if let (Some(armed), Some(socket)) = (&mut self.armed, socket) {
            armed.fresh = false;
            if armed.identity.is_none() {
                armed.identity = Some(identity(socket)?);
            }
        }
        Ok(())
    }
}

fn identity(socket: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let status = rustix::fs::fstat(socket)?;
    Ok((status.st_dev, status.st_ino))
}
