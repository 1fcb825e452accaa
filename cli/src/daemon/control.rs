//! The daemon's end of the control socket: a thread for each connection.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use siltstone::control::{self, Failure, Handler, Kind, Peer, Request, Response};
use siltstone::store::clock::Clock;

use crate::backend::PROGRAM;
use crate::socket;

/// Only the owner of the node may manage it.
const SOCKET_MODE: u32 = 0o600;

/// Connections at once; more than that is no use of people or scripts.
const CONNECTIONS_MAX: usize = 64;

/// Connections beyond that which are told so at a time; further ones are just closed.
const REFUSALS_MAX: usize = 16;

/// After a failure to accept, which would be met again at once.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// How long a connection may be silent while no request of it is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Before it has said anything.
    pub(crate) greeting: Duration,
    /// Later.
    pub(crate) idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { greeting: Duration::from_secs(10), idle: Duration::from_secs(300) }
    }
}

/// A listening control socket.
pub(crate) struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

struct Shared {
    handler: Arc<dyn Handler>,
    patience: Patience,
    clock: Arc<dyn Clock>,
    stopping: AtomicBool,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    next_id: u64,
    open: HashMap<u64, (Arc<UnixStream>, JoinHandle<()>)>,
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        // A thread that panicked here has left the table as it found it: the table stays usable.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ControlServer {
    /// Listens at `path`.
    pub(crate) fn start(
        path: &Path,
        handler: Arc<dyn Handler>,
        patience: Patience,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let listener = socket::bind(path, SOCKET_MODE);
        let listener = listener.with_context(|| format!("listening on {}", path.display()))?;
        let (stopping, connections) = (AtomicBool::new(false), Mutex::default());
        let shared = Arc::new(Shared { handler, patience, clock, stopping, connections });
        let accepting = (listener.try_clone().context("the control socket")?, Arc::clone(&shared));
        let accept = move || accept_all(&accepting.0, &accepting.1);
        let acceptor = thread::Builder::new().name("control-accept".into()).spawn(accept)?;
        Ok(Self { listener, path: path.into(), shared, acceptor })
    }

    /// Ends all connections and waits until no request is under way.
    pub(crate) fn stop(self) {
        self.shared.stopping.store(true, Ordering::Release);
        // Gone before the listener: a command that comes now sees a stopped daemon, not a deaf one. A leftover is
        // replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
        // Wakes the acceptor. If the kernel refuses, there is no listener to wake.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        join(self.acceptor);
        let open = std::mem::take(&mut self.shared.connections().open);
        for (stream, _) in open.values() {
            // A client that is gone needs no shutdown.
            let _ = stream.shutdown(Shutdown::Both);
        }
        open.into_values().for_each(|(_, thread)| join(thread));
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a control thread panicked");
    }
}

fn accept_all(listener: &UnixListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        match accepted.and_then(|(stream, _)| start_connection(stream, shared)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                tracing::warn!(%error, "a control connection could not be accepted");
                shared.clock.sleep(PAUSE_AFTER_FAILURE);
            }
        }
    }
}

fn start_connection(stream: UnixStream, shared: &Arc<Shared>) -> io::Result<()> {
    if !is_trusted(&stream)? {
        tracing::warn!("refused a control connection of another user");
        return Ok(());
    }
    let mut connections = shared.connections();
    let open = connections.open.len();
    if open >= CONNECTIONS_MAX {
        tracing::warn!(connections = CONNECTIONS_MAX, "refused a control connection: there are too many");
    }
    if open >= CONNECTIONS_MAX + REFUSALS_MAX {
        return Ok(());
    }
    let id = connections.next_id;
    connections.next_id += 1;
    let (stream, for_thread) = (Arc::new(stream), Arc::clone(shared));
    let of_thread = Arc::clone(&stream);
    let converse = move || {
        // Made here: a thread that cannot be started drops what it was given, under the lock that this takes.
        let leaving = Leaving { shared: for_thread, id };
        let ended =
            if open < CONNECTIONS_MAX { leaving.shared.serve(&of_thread) } else { leaving.shared.refuse(&of_thread) };
        if let Err(error) = ended {
            tracing::debug!(%error, "a control connection ended early");
        }
    };
    let thread = thread::Builder::new().name("control".into()).spawn(converse)?;
    connections.open.insert(id, (stream, thread));
    Ok(())
}

/// A connection that is forgotten when its thread ends, however that comes.
struct Leaving {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("a control thread panicked");
        }
        self.shared.connections().open.remove(&self.id);
    }
}

/// The socket's mode keeps others out already; this holds where somebody has changed it.
fn is_trusted(stream: &UnixStream) -> io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

impl Shared {
    fn serve(&self, stream: &UnixStream) -> Result<(), control::Error> {
        let watched = Watched::new(stream, self.patience)?;
        let attended = Attended { handler: &*self.handler, stream, idle: self.patience.idle };
        control::serve(watched, &attended, PROGRAM, std::process::id())
    }

    fn refuse(&self, stream: &UnixStream) -> Result<(), control::Error> {
        let message = format!(
            "the daemon has {CONNECTIONS_MAX} control connections, and takes no more: try again when other programs have ended"
        );
        control::refuse(Watched::new(stream, self.patience)?, &Failure::new(Kind::Busy, message))
    }
}

/// A stream that must say something soon, and may then be silent for longer.
struct Watched<'s> {
    stream: &'s UnixStream,
    idle: Duration,
    has_spoken: bool,
}

impl<'s> Watched<'s> {
    fn new(stream: &'s UnixStream, patience: Patience) -> Result<Self, control::Error> {
        stream.set_read_timeout(Some(patience.greeting)).map_err(control::Error::Stream)?;
        Ok(Self { stream, idle: patience.idle, has_spoken: false })
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.stream.read(buf)?;
        if !self.has_spoken {
            self.stream.set_read_timeout(Some(self.idle))?;
            self.has_spoken = true;
        }
        Ok(len)
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A handler for one connection, which may take its time while a request is under way.
struct Attended<'a> {
    handler: &'a dyn Handler,
    stream: &'a UnixStream,
    idle: Duration,
}

impl Handler for Attended<'_> {
    fn handle(&self, request: &Request, peer: &mut dyn Peer) -> Result<Response, Failure> {
        let allow = |timeout| {
            let allowed = self.stream.set_read_timeout(timeout);
            allowed.map_err(|error| Failure::new(Kind::Io, format!("the control connection: {error}")))
        };
        allow(None)?;
        let answer = self.handler.handle(request, peer);
        allow(Some(self.idle))?;
        answer
    }
}

#[cfg(test)]
mod tests;
