//! Requests to a daemon. Each has a connection to itself while it runs; what is idle is used again.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blockdev::net::control::{Client, Error, Event, Peer, Progress, Received, Request, Response};

use crate::error::{Cause, Caused};
use crate::progress::{self, Watch};
use crate::socket;

/// Connections kept for the next requests.
const IDLE_MAX: usize = 4;

/// How long a daemon may take to greet.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

const PROGRAM: &str = concat!("siltstone ", env!("CARGO_PKG_VERSION"));

/// A connection, and another handle on its socket, by which its end is seen.
struct Connection {
    client: Client<UnixStream>,
    socket: UnixStream,
}

impl Connection {
    /// Whether the daemon still listens: it closes what was idle for long, and everything when it stops.
    fn is_open(&self) -> bool {
        // Nothing is to come between two requests.
        socket::is_quiet(&self.socket)
    }
}

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
        let socket = stream.try_clone().map_err(unreachable)?;
        socket.set_read_timeout(Some(GREETING_TIMEOUT)).map_err(unreachable)?;
        let client = Client::connect(stream, PROGRAM).map_err(|error| match error {
            Error::Stream(source) => unreachable(source),
            other => Cause::Control(other),
        })?;
        socket.set_read_timeout(None).map_err(unreachable)?;
        Ok(Connection { client, socket })
    }

    /// Asks, and passes what comes before the answer to `listener`, whose error ends the request.
    pub(super) fn ask(&self, request: &Request, listener: &mut dyn Listener) -> Caused<Response> {
        let mut connection = self.connection()?;
        let mut asker = Asker { listener, broken: None, giving: request.uploads() || request.converses() };
        let answer = connection.client.call(request, &mut asker);
        match (answer, asker.broken) {
            // The daemon may still be at it, and learns that nobody waits by the end of the connection.
            (Err(Error::Stream(_)), Some(cause)) => Err(cause),
            // What is done is done, and what failed by itself failed, even if the listener broke then.
            (answer, _) => self.settle(answer, connection),
        }
    }

    /// Asks for content without waiting for all of it.
    pub(super) fn download(&self, request: &Request) -> Caused<Download> {
        let mut connection = self.connection()?;
        match connection.client.start(request) {
            Ok(()) => Ok(Download { calls: self.clone(), connection: Some(connection) }),
            Err(error) => self.settle(Err(error), connection),
        }
    }

    fn connection(&self) -> Caused<Connection> {
        let open = {
            let mut idle = self.idle();
            std::iter::from_fn(|| idle.pop()).find(Connection::is_open)
        };
        open.map_or_else(|| self.dial(), Ok)
    }

    /// Keeps the connection of a request that is over, if it can be used again.
    fn settle<T>(&self, answer: Result<T, Error>, connection: Connection) -> Caused<T> {
        match answer {
            Ok(_) | Err(Error::Failed(_)) => self.keep(connection),
            // The others are as old or older.
            Err(_) => self.let_go(),
        }
        Ok(answer?)
    }

    /// Asks, and ends the request when `watch` says so.
    pub(super) fn watched(&self, request: &Request, watch: Watch<'_>) -> Caused<Response> {
        self.ask(request, &mut |step: &Progress| progress::tell(watch, step.done, step.total))
    }
}

/// Content on its way. Dropped before its end, it ends the connection, by which the daemon learns that nobody waits.
pub(super) struct Download {
    calls: Calls,
    /// Until the answer.
    connection: Option<Connection>,
}

impl Download {
    /// What comes next; nothing after the answer.
    pub(super) fn next(&mut self) -> Caused<Event> {
        let mut connection = self.connection.take().ok_or(Cause::Answer)?;
        match connection.client.next_event() {
            Ok(event @ (Event::Progress(_) | Event::Content(_))) => {
                self.connection = Some(connection);
                Ok(event)
            }
            answer => self.calls.settle(answer, connection),
        }
    }
}

/// Who hears what comes before an answer, and has the content that a request brings.
pub(super) trait Listener {
    /// The request has come so far.
    fn progress(&mut self, progress: &Progress) -> Caused<()>;

    /// A piece of content.
    fn content(&mut self, _offset: u64, _data: &[u8]) -> Caused<()> {
        Err(Cause::Answer)
    }

    /// Gives the next of the content.
    fn give(&mut self) -> Caused<Received> {
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
    /// What broke first.
    broken: Option<Cause>,
    /// Content is still to be given. What breaks until then is said in its place, so that the daemon has tidied up when the
    /// request ends.
    giving: bool,
}

fn interrupted() -> Error {
    Error::Stream(io::ErrorKind::Interrupted.into())
}

impl Asker<'_> {
    fn note<T>(&mut self, heard: Caused<T>) -> Result<T, Error> {
        heard.map_err(|cause| {
            self.broken.get_or_insert(cause);
            interrupted()
        })
    }
}

impl Peer for Asker<'_> {
    fn progress(&mut self, progress: &Progress) -> Result<(), Error> {
        if self.broken.is_some() {
            return Ok(());
        }
        let heard = self.listener.progress(progress);
        let noted = self.note(heard);
        if self.giving { Ok(()) } else { noted }
    }

    fn send(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let heard = self.listener.content(offset, data);
        let noted = self.note(heard);
        if self.giving { Ok(()) } else { noted }
    }

    fn receive(&mut self) -> Result<Received, Error> {
        if self.broken.is_some() {
            return Err(interrupted());
        }
        let given = self.listener.give();
        let given = self.note(given)?;
        self.giving = matches!(given, Received::Chunk(_));
        Ok(given)
    }
}

#[cfg(test)]
mod tests;
