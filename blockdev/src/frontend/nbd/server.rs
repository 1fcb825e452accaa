//! Listens, accepts, and keeps account of connections; each connection is a thread of its own.
//!
//! Invariants: at most [`Limits::connections_max`] connections are served; the registry holds a reference to the socket
//! of every live connection, so stopping never touches a descriptor that was closed and given out again
//! (CVE-2024-7409); once stopping began no connection is added; [`Server::stop`] returns after the last one ended.

mod listener;
mod registry;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use lsm_store::clock::Clock;
use parking_lot::Mutex;
use rustix::event::EventfdFlags;

use super::Limits;
use super::connection::{self, Arrival};
use super::counters::Counters;
use super::socket::Socket;
use super::transmission::Surroundings;
use crate::access::Principal;
use crate::export::Exports;
use crate::tls::Tls;
use listener::Listener;
pub use registry::{ConnectionId, ConnectionInfo, Peer};
use registry::{Registered, Registry};

#[cfg(test)]
mod tests;

/// Stack of a connection's thread. The export runs on it, compression tables included; untouched pages cost nothing.
const STACK_BYTES: usize = 1 << 20;

/// Connections beyond the limit that are told so at a time; further ones are just closed.
const REFUSALS_MAX: usize = 16;

/// A listener that could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    /// Where.
    pub address: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// An NBD server. Dropping it stops it.
pub struct Server {
    shared: Arc<Shared>,
    acceptors: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    exports: Arc<dyn Exports>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    stopping: AtomicBool,
    /// Readable once stopping began.
    stop_signal: OwnedFd,
    registry: Registry,
}

impl Server {
    /// A server without listeners.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn new(exports: Arc<dyn Exports>, clock: Arc<dyn Clock>, limits: Limits) -> io::Result<Self> {
        let stop_signal = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
        let stopping = AtomicBool::new(false);
        let shared = Shared { exports, clock, limits, stopping, stop_signal, registry: Registry::default() };
        Ok(Self { shared: Arc::new(shared), acceptors: Mutex::default() })
    }

    /// Accepts on a Unix socket made at `path`, mode 0660. A socket left behind by a dead server is replaced.
    ///
    /// # Errors
    /// If the socket cannot be made, or another server listens on it.
    pub fn listen_unix(&self, path: impl AsRef<Path>) -> Result<(), ListenError> {
        let path = path.as_ref();
        let listener =
            Listener::unix(path).map_err(|source| ListenError { address: path.display().to_string(), source })?;
        self.accept_on(listener, None, path.display().to_string())
    }

    /// Accepts on a Unix socket that already listens, at `path` (for messages); whoever made it removes its name.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn listen_on(&self, listener: UnixListener, path: &Path) -> Result<(), ListenError> {
        self.accept_on(Listener::given(listener.into(), path), None, path.display().to_string())
    }

    /// Accepts on a TCP address and returns it with the port that was chosen if it was 0. Nothing is encrypted and
    /// nobody is asked who they are.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn listen_tcp(&self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        self.listen_inet(address, None)
    }

    /// As [`Server::listen_tcp`], but nothing is served without TLS.
    ///
    /// # Errors
    /// As there.
    pub fn listen_tls(&self, address: SocketAddr, tls: Tls) -> Result<SocketAddr, ListenError> {
        self.listen_inet(address, Some(tls))
    }

    fn listen_inet(&self, address: SocketAddr, tls: Option<Tls>) -> Result<SocketAddr, ListenError> {
        let fail = |source| ListenError { address: address.to_string(), source };
        let (listener, bound) = Listener::tcp(address).map_err(fail)?;
        self.accept_on(listener, tls, address.to_string())?;
        Ok(bound)
    }

    fn accept_on(&self, listener: Listener, tls: Option<Tls>, address: String) -> Result<(), ListenError> {
        let shared = Arc::clone(&self.shared);
        let accept = move || shared.accept(&listener, tls.as_ref());
        let thread = std::thread::Builder::new().name("nbd-accept".into()).spawn(accept);
        self.acceptors.lock().push(thread.map_err(|source| ListenError { address, source })?);
        Ok(())
    }

    /// Serves a client over an already connected stream socket (from socket activation, or a socket pair).
    ///
    /// # Errors
    /// If the server is stopping, or no thread can be started.
    pub fn adopt(&self, socket: OwnedFd) -> io::Result<()> {
        Shared::serve(&self.shared, Socket::new(socket), Peer::Adopted, None)
    }

    /// The connections that are open now.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.shared.registry.connections()
    }

    /// What was done on the exports that were opened here, by name, connections of the past included: all those that are open
    /// now, and 4096 others, those that were left last.
    #[must_use]
    pub fn export_counters(&self) -> Vec<(String, Counters)> {
        self.shared.registry.export_counters()
    }

    /// Stops: no new connections, no new requests; what was received is carried out, and answered if the client
    /// takes the answer within [`Limits::drain_timeout`]. Returns when no connection is left. May be called again.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        rustix::io::write(&self.shared.stop_signal, &1_u64.to_ne_bytes()).expect("an eventfd takes a small number");
        for acceptor in self.acceptors.lock().drain(..) {
            if acceptor.join().is_err() {
                tracing::error!("an acceptor of the NBD server panicked");
            }
        }
        self.shared.registry.close(self.shared.limits.drain_timeout);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &Listener, tls: Option<&Tls>) {
        loop {
            match listener.accept(self.stop_signal.as_fd()) {
                Ok(None) => return,
                Ok(Some((socket, peer))) => {
                    if let Err(error) = Self::serve(self, socket, peer, tls.cloned()) {
                        tracing::warn!(error = &error as &dyn std::error::Error, "an NBD connection was not served");
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "an NBD connection was not accepted");
                    // Out of descriptors or memory: accepting at once would fail at once.
                    self.clock.sleep(listener::PAUSE_AFTER_FAILURE);
                }
            }
        }
    }

    fn serve(shared: &Arc<Self>, socket: Socket, peer: Peer, tls: Option<Tls>) -> io::Result<()> {
        let served_max = shared.limits.connections_max;
        let Some((registered, admitted)) =
            Registry::admit(shared, Arc::new(socket), peer, served_max, served_max + REFUSALS_MAX)
        else {
            return Ok(());
        };
        std::thread::Builder::new()
            .name(format!("nbd-{}", registered.id().0))
            .stack_size(STACK_BYTES)
            .spawn(move || registered.run(admitted, peer.principal(), tls.as_ref()))?;
        Ok(())
    }
}

impl Registered {
    /// The body of a connection's thread.
    fn run(self, admitted: bool, principal: Principal, tls: Option<&Tls>) {
        let shared = self.shared();
        let around = Surroundings {
            socket: self.socket(),
            limits: &shared.limits,
            clock: &*shared.clock,
            counters: self.counters(),
            stopping: &shared.stopping,
        };
        let opened = |name: &str| shared.registry.set_export(self.id(), name);
        let arrival = Arrival { admitted, principal, tls };
        match connection::serve(around, &*shared.exports, arrival, opened) {
            Ok(()) => tracing::debug!(connection = self.id().0, "an NBD connection ended"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::info!(connection = self.id().0, error, "an NBD connection ended early");
            }
        }
    }
}
