//! Who executes a command's requests: the daemon of the data directory if one runs, else this process on the store it
//! opens itself. The command cannot tell which.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Context;
use siltstone::control::{Client, Error, Handler, Kind, NoTransfer, Peer, Request, Response};
use siltstone::node::Node;
use siltstone::store::clock::{Clock, SystemClock};
use siltstone::store::{Error as StoreError, ErrorKind};

use crate::args::Global;
use crate::data_dir::{Access, DataDir};
use crate::exit::Complaint;
use crate::handler::NodeHandler;
use crate::socket;

/// How long a command waits for a daemon that recovers, or for another command to end.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Between two looks at a lock.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// How long a daemon may take to greet.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// The budget of a store that a command opens for itself.
const MEMORY_BYTES: u64 = 1 << 30;

/// What this program calls itself in greetings.
pub(crate) const PROGRAM: &str = concat!("silt ", env!("CARGO_PKG_VERSION"));

/// Who executes requests.
pub(crate) enum Backend {
    /// A running daemon.
    Remote(Box<Remote>),
    /// This process.
    Local(Box<NodeHandler>),
}

/// A connection with a daemon, which closes one on which nothing is asked for minutes.
pub(crate) struct Remote {
    client: Client<UnixStream>,
    /// Another handle on its socket.
    socket: UnixStream,
    dir: DataDir,
}

impl Remote {
    /// The daemon's process.
    pub(crate) fn pid(&self) -> u32 {
        self.client.node().pid
    }

    fn call(&mut self, request: &Request, peer: &mut dyn Peer) -> Result<Response, Error> {
        if !socket::is_quiet(&self.socket)
            && let Ok(Some(again)) = connect(&self.dir)
        {
            *self = again;
        }
        self.client.call(request, peer)
    }
}

/// Asks one thing.
pub(crate) fn ask(global: &Global, access: Access, request: &Request) -> anyhow::Result<Response> {
    transfer(global, access, request, &mut NoTransfer)
}

/// Asks one thing and moves content.
pub(crate) fn transfer(
    global: &Global,
    access: Access,
    request: &Request,
    peer: &mut dyn Peer,
) -> anyhow::Result<Response> {
    let mut backend = Backend::open(&DataDir::new(&global.data)?, access)?;
    let answer = backend.call(request, peer);
    let closed = backend.close();
    let answer = answer?;
    closed?;
    Ok(answer)
}

/// What to say of an answer that is not the one to the request.
pub(crate) fn unexpected(answer: &Response) -> anyhow::Error {
    tracing::debug!(?answer, "unexpected answer");
    Complaint::new(Kind::Protocol, "the daemon gave the answer to another question; are both of one version?").into()
}

impl Backend {
    /// Connects to the daemon, or opens the store.
    pub(crate) fn open(dir: &DataDir, access: Access) -> anyhow::Result<Self> {
        await_lock(dir, &SystemClock::new(), || match connect(dir)? {
            Some(remote) => Ok(Self::Remote(Box::new(remote))),
            None => Self::open_local(dir, access),
        })
    }

    fn open_local(dir: &DataDir, access: Access) -> anyhow::Result<Self> {
        let store = dir.open_store(access, MEMORY_BYTES, None)?;
        let node = Node::open(store, access == Access::Read)?;
        Ok(Self::Local(Box::new(NodeHandler::stopped(node, dir))))
    }

    /// Executes a request.
    pub(crate) fn call(&mut self, request: &Request, peer: &mut dyn Peer) -> Result<Response, Error> {
        match self {
            Self::Remote(remote) => remote.call(request, peer),
            Self::Local(handler) => handler.handle(request, peer).map_err(Error::Failed),
        }
    }

    /// Leaves the daemon alone, or closes the store.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Remote(_) => Ok(()),
            Self::Local(handler) => handler.node().store().close().context("closing the store"),
        }
    }
}

/// The daemon of a data directory, if one answers.
pub(crate) fn connect(dir: &DataDir) -> anyhow::Result<Option<Remote>> {
    let path = dir.control_socket();
    let context = || format!("asking the daemon at {}", path.display());
    let stream = match socket::connect(&path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        other => other.with_context(context)?,
    };
    let socket = stream.try_clone().with_context(context)?;
    socket.set_read_timeout(Some(GREETING_TIMEOUT)).with_context(context)?;
    match Client::connect(stream, PROGRAM) {
        Ok(client) => {
            socket.set_read_timeout(None).with_context(context)?;
            Ok(Some(Remote { client, socket, dir: dir.clone() }))
        }
        Err(Error::Stream(error)) if error.kind() == io::ErrorKind::WouldBlock => {
            let message = format!("the daemon at {} does not answer", path.display());
            Err(Complaint::new(Kind::Busy, message).into())
        }
        // It is just stopping.
        Err(Error::Stream(_)) => Ok(None),
        Err(error) => Err(error).with_context(context),
    }
}

/// Attempts something until nobody else has the store: a daemon may be recovering or stopping, a command be at work.
pub(crate) fn await_lock<T>(
    dir: &DataDir,
    clock: &dyn Clock,
    mut attempt: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let start = clock.monotonic();
    loop {
        match attempt() {
            Err(error) if is_locked(&error) => {
                if clock.monotonic() - start >= LOCK_WAIT {
                    return Err(locked(dir));
                }
                clock.sleep(LOCK_POLL);
            }
            other => return other,
        }
    }
}

fn is_locked(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<StoreError>().is_some_and(|error| error.kind() == ErrorKind::Busy))
}

/// Says that somebody else has the store and does not let go.
fn locked(dir: &DataDir) -> anyhow::Error {
    let message = format!(
        "the store in {} is in use by another process, which does not answer on {}: it may be recovering; try again",
        dir.path().display(),
        dir.control_socket().display()
    );
    Complaint::new(Kind::Busy, message).into()
}
