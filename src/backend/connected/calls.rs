//! Requests to a daemon. Each has a connection to itself while it runs; what is idle is used again.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blockdev::net::control::{Client, Error, Failure, Kind, Peer, Progress, Received, Request, Response};

use crate::error::{Cause, Caused};
use crate::progress::{self, Watch};
use crate::socket;

/// Connections kept for the next requests.
const IDLE_MAX: usize = 4;

/// How long a daemon may take to greet.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

const PROGRAM: &str = concat!("siltstone ", env!("CARGO_PKG_VERSION"));

type Connection = Client<UnixStream>;

/// A way to ask one daemon. Clones are the same.
#[derive(Clone)]
pub(super) struct Calls {
    dir: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Calls {
    /// Connects to the daemon of an absolute directory.
    pub(super) fn connect(dir: &Path) -> Caused<Self> {
        let calls = Self { dir: Arc::new(dir.into()), idle: Arc::default() };
        calls.keep(calls.dial()?);
        Ok(calls)
    }

    /// The daemon's data directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Closes what is idle.
    pub(super) fn let_go(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        // Nothing is half done while it is held.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    fn dial(&self) -> Caused<Connection> {
        let path = self.dir.join("control.sock");
        let unreachable = |source| Cause::NoDaemon { dir: self.dir.to_path_buf(), source };
        let stream = socket::connect(&path).map_err(unreachable)?;
        let timeouts = stream.try_clone().map_err(unreachable)?;
        timeouts.set_read_timeout(Some(GREETING_TIMEOUT)).map_err(unreachable)?;
        let client = Client::connect(stream, PROGRAM).map_err(|error| match error {
            Error::Stream(source) => unreachable(source),
            other => Cause::Control(other),
        })?;
        timeouts.set_read_timeout(None).map_err(unreachable)?;
        Ok(client)
    }

    /// Asks, and passes what comes before the answer to `listener`, whose error ends the request.
    pub(super) fn ask(&self, request: &Request, listener: &mut dyn Listener) -> Caused<Response> {
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.dial()?,
        };
        let mut asker = Asker { listener, broken: None };
        let answer = connection.call(request, &mut asker);
        if let Some(cause) = asker.broken {
            // The daemon is still at it, and learns that nobody waits by the end of the connection.
            return Err(cause);
        }
        match answer {
            Ok(answer) => {
                self.keep(connection);
                Ok(answer)
            }
            Err(error @ Error::Failed(_)) => {
                self.keep(connection);
                Err(Cause::Control(error))
            }
            Err(error) => {
                // The others are as old or older.
                self.let_go();
                Err(Cause::Control(error))
            }
        }
    }

    /// Asks, and ends the request when `watch` says so.
    pub(super) fn watched(&self, request: &Request, watch: Watch<'_>) -> Caused<Response> {
        self.ask(request, &mut |step: &Progress| progress::tell(watch, step.done, step.total))
    }
}

/// Who hears what comes before an answer.
pub(super) trait Listener {
    /// The request has come so far.
    fn progress(&mut self, progress: &Progress) -> Caused<()>;

    /// A piece of content.
    fn content(&mut self, _offset: u64, _data: &[u8]) -> Caused<()> {
        Err(Cause::Answer)
    }
}

impl<F: FnMut(&Progress) -> Caused<()>> Listener for F {
    fn progress(&mut self, progress: &Progress) -> Caused<()> {
        self(progress)
    }
}

/// The listener as the protocol wants it.
struct Asker<'l> {
    listener: &'l mut dyn Listener,
    broken: Option<Cause>,
}

impl Asker<'_> {
    fn note(&mut self, heard: Caused<()>) -> Result<(), Error> {
        heard.map_err(|cause| {
            self.broken = Some(cause);
            Error::Stream(io::ErrorKind::Interrupted.into())
        })
    }
}

impl Peer for Asker<'_> {
    fn progress(&mut self, progress: &Progress) -> Result<(), Error> {
        let heard = self.listener.progress(progress);
        self.note(heard)
    }

    fn send(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let heard = self.listener.content(offset, data);
        self.note(heard)
    }

    fn receive(&mut self) -> Result<Received, Error> {
        Err(Failure::new(Kind::Protocol, "there is no content to give").into())
    }
}
