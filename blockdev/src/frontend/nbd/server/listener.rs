//! A listening socket, Unix or TCP.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Mode, Stat, chmod, lstat, unlink};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, acceptfrom_with, bind, connect, listen, socket_with,
    sockopt,
};

use super::{Peer, Socket};

/// How long accepting rests after it failed.
pub(super) const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Connections the kernel keeps waiting.
const BACKLOG: i32 = 256;

#[derive(Debug)]
pub(super) enum Listener {
    Unix { fd: OwnedFd, path: PathBuf, made: Option<FileIdentity> },
    Tcp(OwnedFd),
}

/// Which file a path led to, so that only our own socket is removed at the end.
type FileIdentity = (u64, u64);

fn identity(stat: &Stat) -> FileIdentity {
    (stat.st_dev, stat.st_ino)
}

impl Listener {
    /// Makes the socket at `path`. Nobody can connect before it has its final mode, since it does not listen before.
    pub(super) fn unix(path: &Path) -> io::Result<Self> {
        remove_abandoned(path)?;
        let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&fd, &SocketAddrUnix::new(path)?)?;
        let made = lstat(path).ok().map(|stat| identity(&stat));
        let listener = Self::Unix { fd, path: path.to_owned(), made };
        chmod(path, Mode::from_raw_mode(0o660))?;
        listen(listener.fd(), BACKLOG)?;
        Ok(listener)
    }

    /// A Unix socket that somebody else made and listens on; its name stays theirs.
    pub(super) fn given(fd: OwnedFd, path: &Path) -> Self {
        Self::Unix { fd, path: path.to_owned(), made: None }
    }

    pub(super) fn tcp(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(address)?;
        let bound = listener.local_addr()?;
        Ok((Self::Tcp(listener.into()), bound))
    }

    fn fd(&self) -> &OwnedFd {
        match self {
            Self::Unix { fd, .. } | Self::Tcp(fd) => fd,
        }
    }

    /// Waits for a client; `None` once `stop` is readable.
    pub(super) fn accept(&self, stop: BorrowedFd<'_>) -> io::Result<Option<(Socket, Peer)>> {
        loop {
            let mut fds = [PollFd::new(self.fd(), PollFlags::IN), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if !fds[1].revents().is_empty() {
                return Ok(None);
            }
            match acceptfrom_with(self.fd(), SocketFlags::CLOEXEC) {
                // The client may have gone between the two calls.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
                Ok((fd, address)) => return self.describe(fd, address).map(Some),
            }
        }
    }

    fn describe(&self, fd: OwnedFd, address: Option<rustix::net::SocketAddrAny>) -> io::Result<(Socket, Peer)> {
        let peer = match self {
            Self::Unix { .. } => {
                let credentials = sockopt::socket_peercred(&fd)?;
                Peer::Unix { pid: credentials.pid.as_raw_nonzero().get(), uid: credentials.uid.as_raw() }
            }
            Self::Tcp(_) => {
                let address = address.ok_or(Errno::NOTCONN)?;
                Peer::Tcp(SocketAddr::try_from(address)?)
            }
        };
        let socket = Socket::new(fd);
        if matches!(self, Self::Tcp(_)) {
            socket.tune_tcp()?;
        }
        Ok((socket, peer))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, made: Some(made), .. } = self
            && lstat(&*path).is_ok_and(|stat| identity(&stat) == *made)
        {
            // Left behind, it would be removed by the next server.
            let _ = unlink(&*path);
        }
    }
}

/// Removes a socket that nobody listens on. Anything else at `path` is left for `bind` to complain about.
fn remove_abandoned(path: &Path) -> io::Result<()> {
    let Ok(stat) = lstat(path) else { return Ok(()) };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Ok(());
    }
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if connect(&probe, &SocketAddrUnix::new(path)?) == Err(Errno::CONNREFUSED) {
        unlink(path)?;
    }
    Ok(())
}
