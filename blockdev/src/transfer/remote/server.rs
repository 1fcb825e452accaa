//! The receiver's end: a thread for each sender.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lsm_store::clock::Clock;
use parking_lot::Mutex;
use rustls::{ServerConnection, StreamOwned};

use super::super::accept::{accept, refusal};
use super::super::error::{Result as TransferResult, TransferError};
use super::super::receiver::{ReceiveOptions, Received};
use super::super::sender::Outlet;
use super::hello;
use super::watched::Watched;
use crate::access::Principal;
use crate::name::VolumeName;
use crate::node::Node;
use crate::tls::Tls;

/// Senders at once; each may take as much of a disk and a processor as it gets.
const SENDERS_MAX: usize = 16;

/// Bytes taken of a sender at once at most.
const PIECE_BYTES: usize = 256 << 10;

/// How long a sender that was told why it failed may take to hear it.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(10);

/// After a failure to accept, which would be met again at once.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// A receiver that cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// It would let in everybody.
    #[error("a receiver needs the authorities that certify senders")]
    Open,
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Whether a name means a volume that is not the node's own, so that nothing can be received into it.
pub type IsTaken = dyn Fn(&VolumeName) -> bool + Send + Sync;

/// Receives snapshots from senders with a certificate. Dropping it stops it.
pub struct ReceiveServer {
    listener: TcpListener,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    node: Arc<Node>,
    is_taken: Box<IsTaken>,
    options: ReceiveOptions,
    tls: Tls,
    clock: Arc<dyn Clock>,
    connections_max: usize,
    is_stopping: AtomicBool,
    connections: Mutex<Connections>,
    senders: AtomicUsize,
}

#[derive(Default)]
struct Connections {
    next_id: u64,
    open: HashMap<u64, (TcpStream, JoinHandle<()>)>,
}

impl ReceiveServer {
    /// Listens at an address and says at which, if its port was 0. What is received is made as `options` say. At most
    /// `connections_max` are open at a time: most of them of who has not said yet who it is, and has ten seconds for that. Each
    /// takes two descriptors.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn listen(
        address: SocketAddr,
        tls: Tls,
        (node, is_taken): (Arc<Node>, Box<IsTaken>),
        options: ReceiveOptions,
        connections_max: usize,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, SocketAddr), ReceiveError> {
        if !tls.asks_clients() {
            return Err(ReceiveError::Open);
        }
        let is_stopping = AtomicBool::new(false);
        let shared = Arc::new(Shared {
            node,
            is_taken,
            options,
            tls,
            clock,
            connections_max,
            is_stopping,
            connections: Mutex::default(),
            senders: AtomicUsize::new(0),
        });
        let start = || {
            let listener = TcpListener::bind(address)?;
            let bound = listener.local_addr()?;
            let (accepting, for_acceptor) = (listener.try_clone()?, Arc::clone(&shared));
            let accept = move || for_acceptor.accept_all(&accepting);
            let acceptor = Some(thread::Builder::new().name("receive-accept".into()).spawn(accept)?);
            Ok((listener, acceptor, bound))
        };
        let (listener, acceptor, bound) = start().map_err(|source| ReceiveError::Listen { address, source })?;
        Ok((Self { listener, shared, acceptor }, bound))
    }

    /// Breaks off what is being received, and returns when nobody is served any more. What came waits to be gone on with.
    pub fn stop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        // Wakes the acceptor. If the kernel refuses, there is no listener to wake.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        self.acceptor.take().into_iter().for_each(join);
        let open = std::mem::take(&mut self.shared.connections.lock().open);
        for (stream, _) in open.values() {
            // A sender that is gone needs no shutdown.
            let _ = stream.shutdown(Shutdown::Both);
        }
        open.into_values().for_each(|(_, thread)| join(thread));
    }
}

impl Drop for ReceiveServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread that received a snapshot panicked");
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    fn accept_all(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let accepted = listener.accept();
            if self.is_stopping() {
                return;
            }
            if let Err(error) = accepted.and_then(|(stream, peer)| self.start(stream, peer)) {
                tracing::warn!(%error, "a sender could not be let in");
                self.clock.sleep(PAUSE_AFTER_FAILURE);
            }
        }
    }

    fn start(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let mut connections = self.connections.lock();
        let connections_max = self.connections_max;
        if connections.open.len() >= connections_max {
            tracing::warn!(%peer, connections_max, "refused a connection of a sender: there are too many");
            return Ok(());
        }
        let id = connections.next_id;
        connections.next_id += 1;
        let for_shutdown = stream.try_clone()?;
        let shared = Arc::clone(self);
        let converse = move || {
            // Made here: a thread that cannot be started drops what it was given, under the lock that this takes.
            let leaving = Leaving { shared, id };
            if let Err(error) = leaving.shared.converse(stream, peer) {
                tracing::info!(%peer, %error, "a sender's connection ended early");
            }
        };
        let thread = thread::Builder::new().name("receive".into()).spawn(converse)?;
        connections.open.insert(id, (for_shutdown, thread));
        Ok(())
    }

    /// Hears a sender and answers it.
    fn converse(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let mut stream = Watched::new(stream, Arc::clone(&self.clock))?;
        let mut session = self.tls.accept().map_err(io::Error::other)?;
        session.complete_io(&mut stream)?;
        let principal = self.tls.principal(session.peer_certificates());
        let mut line = StreamOwned::new(session, stream);
        let named = hello::read(&mut line)?;
        line.sock.greeted()?;
        let received = match named.map_err(TransferError::from).and_then(|name| self.begin(name, &principal)) {
            Ok((name, _turn)) => self.receive(&name, &principal, &mut line),
            Err(error) => {
                line.write_all(&refusal(&error))?;
                Err(error)
            }
        };
        match &received {
            Ok(received) => tracing::info!(%peer, snapshot = %received.snapshot.name, "received a snapshot"),
            Err(error) => {
                tracing::info!(%peer, error = error as &dyn std::error::Error, "nothing was received");
            }
        }
        end(line)
    }

    fn begin(&self, name: VolumeName, sender: &Principal) -> TransferResult<(VolumeName, Turn<'_>)> {
        self.admit(&name, sender)?;
        let turn = Turn(&self.senders);
        match self.senders.fetch_add(1, Ordering::AcqRel) {
            SENDERS_MAX.. => Err(TransferError::TooMany(SENDERS_MAX)),
            _ => Ok((name, turn)),
        }
    }

    /// A volume with a list takes snapshots from those who may open it. That may change while one comes.
    fn admit(&self, name: &VolumeName, sender: &Principal) -> TransferResult<()> {
        if !self.node.admits(name, sender) {
            return Err(TransferError::NotAdmitted(name.clone()));
        }
        if (self.is_taken)(name) { Err(TransferError::Replicated(name.clone())) } else { Ok(()) }
    }

    fn receive(
        &self,
        name: &VolumeName,
        sender: &Principal,
        line: &mut StreamOwned<ServerConnection, Watched>,
    ) -> TransferResult<Received> {
        let mut outlet = Answers { shared: self, name, sender, line };
        accept(Arc::clone(&self.node), name.clone(), self.options, &mut outlet)
    }
}

/// One of the senders, as long as it is at work.
struct Turn<'s>(&'s AtomicUsize);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection that is forgotten when its thread ends, however that comes.
struct Leaving {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("a thread that received a snapshot panicked");
        }
        self.shared.connections.lock().open.remove(&self.id);
    }
}

/// Ends a connection so that its last words are heard: a socket that is closed while something has come that nobody has read is reset,
/// and what was said on it may be lost.
fn end(mut line: StreamOwned<ServerConnection, Watched>) -> io::Result<()> {
    line.sock.allow(LAST_WORD_TIMEOUT);
    line.conn.send_close_notify();
    line.flush()?;
    line.sock.stream().shutdown(Shutdown::Write)?;
    io::copy(&mut line.sock, &mut io::sink()).map(drop)
}

/// The sender, as who receives from it sees it.
struct Answers<'l> {
    shared: &'l Shared,
    name: &'l VolumeName,
    sender: &'l Principal,
    line: &'l mut StreamOwned<ServerConnection, Watched>,
}

impl Answers<'_> {
    fn noted<T>(done: io::Result<T>) -> TransferResult<T> {
        done.map_err(|error| {
            tracing::info!(%error, "a sender is no longer there");
            TransferError::Stopped
        })
    }
}

impl Outlet for Answers<'_> {
    fn write(&mut self, bytes: &[u8]) -> TransferResult<()> {
        Self::noted(self.line.write_all(bytes).and_then(|()| self.line.flush()))
    }

    fn read(&mut self) -> TransferResult<Vec<u8>> {
        let mut piece = vec![0; PIECE_BYTES];
        let len = match self.line.read(&mut piece) {
            // It hung up without a word, as one does whose process was ended.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            other => Self::noted(other)?,
        };
        piece.truncate(len);
        // It may have thought for long.
        self.shared.admit(self.name, self.sender)?;
        Ok(piece)
    }

    fn progress(&mut self, _: &str, _: u64, _: u64) -> TransferResult<()> {
        self.shared.admit(self.name, self.sender)?;
        if self.shared.is_stopping() { Err(TransferError::Stopped) } else { Ok(()) }
    }
}
