//! A connection that must get past its beginning in time, and whose other end must be alive after that.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use lsm_store::clock::Clock;
use rustix::net::sockopt;

/// How long both ends have for TLS and the hello.
pub(super) const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that is silent for so long is asked whether it is there.
const IDLE: Duration = Duration::from_secs(60);

/// And again after so long each, so many times.
const PROBE: Duration = Duration::from_secs(10);
const PROBES: u32 = 6;

pub(super) struct Watched {
    stream: TcpStream,
    clock: Arc<dyn Clock>,
    /// By then the beginning must be over, until it is.
    until: Option<Duration>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, clock: Arc<dyn Clock>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, IDLE)?;
        sockopt::set_tcp_keepintvl(&stream, PROBE)?;
        sockopt::set_tcp_keepcnt(&stream, PROBES)?;
        let until = Some(clock.monotonic() + GREETING_TIMEOUT);
        Ok(Self { stream, clock, until })
    }

    /// The beginning is over: from now on an end may think for as long as it needs.
    pub(super) fn greeted(&mut self) -> io::Result<()> {
        self.until = None;
        self.stream.set_read_timeout(None)?;
        self.stream.set_write_timeout(None)
    }

    /// From now on there is so much time for all that is still to come.
    pub(super) fn allow(&mut self, timeout: Duration) {
        self.until = Some(self.clock.monotonic() + timeout);
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.map(|until| until.saturating_sub(self.clock.monotonic()));
        if left == Some(Duration::ZERO) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Watched {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.stream.set_read_timeout(Some(left))?;
        }
        self.stream.read(buf).map_err(timed_out)
    }
}

impl Write for Watched {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.stream.set_write_timeout(Some(left))?;
        }
        self.stream.write(buf).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The kernel says of a socket that it would block when its time is up.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}
