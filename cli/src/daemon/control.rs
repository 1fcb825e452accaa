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
use siltstone::control;

use crate::backend::PROGRAM;
use crate::handler::NodeHandler;
use crate::socket;

/// Only the owner of the node may manage it.
const SOCKET_MODE: u32 = 0o600;

/// Connections at once; more than that is no use of people or scripts.
const CONNECTIONS_MAX: usize = 64;

/// How long a connection may stay silent before it has said anything.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// A listening control socket.
pub(crate) struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

struct Shared {
    handler: Arc<NodeHandler>,
    stopping: AtomicBool,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    next_id: u64,
    open: HashMap<u64, (UnixStream, JoinHandle<()>)>,
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        // A thread that panicked here has left the table as it found it: the table stays usable.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ControlServer {
    /// Listens at `path`.
    pub(crate) fn start(path: &Path, handler: Arc<NodeHandler>) -> anyhow::Result<Self> {
        let listener = socket::bind(path, SOCKET_MODE);
        let listener = listener.with_context(|| format!("listening on {}", path.display()))?;
        let shared = Arc::new(Shared { handler, stopping: AtomicBool::new(false), connections: Mutex::default() });
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
            Err(error) => tracing::warn!(%error, "a control connection could not be accepted"),
        }
    }
}

fn start_connection(stream: UnixStream, shared: &Arc<Shared>) -> io::Result<()> {
    if !is_trusted(&stream)? {
        tracing::warn!("refused a control connection of another user");
        return Ok(());
    }
    let mut connections = shared.connections();
    if connections.open.len() >= CONNECTIONS_MAX {
        tracing::warn!(connections = CONNECTIONS_MAX, "refused a control connection: there are too many");
        return Ok(());
    }
    let id = connections.next_id;
    connections.next_id += 1;
    let for_shutdown = stream.try_clone()?;
    let for_thread = Arc::clone(shared);
    let converse = move || {
        converse(stream, &for_thread.handler);
        for_thread.connections().open.remove(&id);
    };
    let thread = thread::Builder::new().name("control".into()).spawn(converse)?;
    connections.open.insert(id, (for_shutdown, thread));
    Ok(())
}

/// The socket's mode keeps others out already; this holds where somebody has changed it.
fn is_trusted(stream: &UnixStream) -> io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

fn converse(stream: UnixStream, handler: &NodeHandler) {
    let served = Greeted::new(stream)
        .map_err(control::Error::Stream)
        .and_then(|stream| control::serve(stream, handler, PROGRAM, std::process::id()));
    if let Err(error) = served {
        tracing::debug!(%error, "a control connection ended early");
    }
}

/// A stream that must say something soon, and may then take its time.
struct Greeted {
    stream: UnixStream,
    has_spoken: bool,
}

impl Greeted {
    fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
        Ok(Self { stream, has_spoken: false })
    }
}

impl Read for Greeted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.stream.read(buf)?;
        if !self.has_spoken {
            self.stream.set_read_timeout(None)?;
            self.has_spoken = true;
        }
        Ok(len)
    }
}

impl Write for Greeted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
