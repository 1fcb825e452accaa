//! A connected stream socket: receiving and sending with and without waiting, by one owner of the descriptor.
//!
//! The descriptor is closed when the last reference goes, never by [`Socket::shutdown`], so a thread can be told to stop
//! while it uses the socket and never touches a descriptor that is something else by then (CVE-2024-7409).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

/// Idle TCP peers are probed after this long, so that the connection of a vanished machine ends some day.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
}

/// What a receive gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Received {
    Bytes(usize),
    /// The peer will send no more.
    End,
    /// Nothing came, for as long as was waited.
    Nothing,
}

/// Whether a call may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    /// As long as the timeouts of the socket allow.
    Wait,
    None,
}

/// What a socket is ready for; a hang-up counts as both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Readiness {
    pub(super) readable: bool,
    pub(super) writable: bool,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// For TCP: small replies leave at once, and a peer that is gone is noticed.
    pub(super) fn tune_tcp(&self) -> io::Result<()> {
        sockopt::set_tcp_nodelay(&self.fd, true)?;
        sockopt::set_socket_keepalive(&self.fd, true)?;
        sockopt::set_tcp_keepidle(&self.fd, KEEPALIVE_AFTER)?;
        Ok(())
    }

    /// How long calls with [`Patience::Wait`] wait; `None` is for ever.
    pub(super) fn set_timeouts(&self, receive: Option<Duration>, send: Option<Duration>) -> io::Result<()> {
        sockopt::set_socket_timeout(&self.fd, Timeout::Recv, receive)?;
        sockopt::set_socket_timeout(&self.fd, Timeout::Send, send)?;
        Ok(())
    }

    pub(super) fn receive(&self, buffer: &mut [u8], patience: Patience) -> io::Result<Received> {
        let flags = if patience == Patience::None { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
        match retry_on_intr(|| rustix::net::recv(&self.fd, &mut *buffer, flags)) {
            Ok((0, _)) => Ok(Received::End),
            Ok((count, _)) => Ok(Received::Bytes(count)),
            Err(Errno::AGAIN) => Ok(Received::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes taken by the kernel, 0 if it takes none for as long as was waited.
    pub(super) fn send(&self, slices: &[IoSlice<'_>], patience: Patience) -> io::Result<usize> {
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::DONTWAIT, patience == Patience::None);
        let mut control = SendAncillaryBuffer::default();
        match retry_on_intr(|| rustix::net::sendmsg(&self.fd, slices, &mut control, flags)) {
            Err(Errno::AGAIN) => Ok(0),
            sent => Ok(sent?),
        }
    }

    /// Waits until the socket is ready for what is wanted, or `timeout` has passed.
    pub(super) fn wait(&self, readable: bool, writable: bool, timeout: Option<Duration>) -> io::Result<Readiness> {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, readable);
        wanted.set(PollFlags::OUT, writable);
        let mut fds = [PollFd::new(&self.fd, wanted)];
        let timeout = timeout.map(timespec);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let events = fds[0].revents();
        let gone = events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        Ok(Readiness {
            readable: gone || events.contains(PollFlags::IN),
            writable: gone || events.contains(PollFlags::OUT),
        })
    }

    /// Ends receiving: whoever waits for input sees the end of it.
    pub(super) fn shutdown_receive(&self) {
        // Fails only if the peer has gone already, which is as good.
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Read);
    }

    /// Ends both directions; waiting calls return.
    pub(super) fn shutdown(&self) {
        // As above.
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `duration` for the kernel; centuries are cut short.
pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}
