//! The transport over QUIC.
//!
//! It runs on one thread of its own with a runtime of its own; calls reach it by queues that wake it, and the handler is
//! called on that thread. All tasks share the thread, which is what keeps "up", messages and "down" of a link in order.
//!
//! Of two nodes the one with the lower id dials. A session is one to eight connections that were made together and end
//! together (`session.rs`); on them, each channel is a stream in one direction and each question a stream in both.

mod accept;
mod backoff;
mod close;
mod config;
mod dial;
mod endpoint;
mod join;
mod outbox;
mod request;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;

pub use config::{Config, ConfigError, StartError};
pub use join::join;

use self::accept::Assemblies;
use self::outbox::Outbox;
use super::{Channel, Down, Handler, Link, OnAnswer, Peer, RequestError, SendError, Transport};
use crate::envelope::Message;
use crate::environment::{Clock, Rng};
use crate::identity::{self, Allowed, ClusterId, Credentials, NodeId, PublicKey, Tls};
use crate::join::{Admission, JOIN_PROTOCOL};

/// The protocol between nodes, as TLS negotiates it.
pub(crate) const CLUSTER_PROTOCOL: &[u8] = b"siltstone-cluster/1";

const ACCEPTED_PROTOCOLS: [&[u8]; 2] = [CLUSTER_PROTOCOL, JOIN_PROTOCOL];

/// Threads for decisions about joining nodes.
const JOINING_THREADS_MAX: usize = 2;

/// What all tasks share.
struct Shared {
    config: Config,
    cluster: ClusterId,
    node: NodeId,
    allowed: Allowed,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    handler: Arc<dyn Handler>,
    endpoint: quinn::Endpoint,
    runtime: Handle,
    tls: Mutex<Tls>,
    /// Live sessions by peer.
    sessions: Mutex<HashMap<NodeId, Arc<Outbox>>>,
    last_session: Mutex<u64>,
    seats: Mutex<HashMap<NodeId, Arc<tokio::sync::Mutex<()>>>>,
    assemblies: Mutex<Assemblies>,
    /// Decides about nodes that want to join, if this node does.
    admission: Mutex<Option<Arc<Admission>>>,
    /// Why the last attempt to dial a peer failed.
    failures: Mutex<HashMap<NodeId, Down>>,
}

enum Command {
    Peers(Vec<Peer>),
    Stop,
}

/// A node's end of the cluster's network. Dropping it ends all sessions.
pub struct QuicTransport {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for QuicTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicTransport").field("node", &self.shared.node).finish_non_exhaustive()
    }
}

impl QuicTransport {
    /// Starts listening. Nobody may speak and nobody is dialled before [`Transport::set_peers`].
    ///
    /// # Errors
    /// [`StartError`] if the address cannot be had or TLS does not take the credentials.
    pub fn start(
        config: Config,
        credentials: &Credentials,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, StartError> {
        config.check()?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(JOINING_THREADS_MAX)
            .build()
            .map_err(StartError::Runtime)?;
        let allowed = Allowed::default();
        let tls = Tls::new(credentials, &allowed, &clock, &ACCEPTED_PROTOCOLS, CLUSTER_PROTOCOL)?;
        let endpoint = {
            let _inside = runtime.enter();
            endpoint::bind(&config, credentials, &tls, rng.clone())?
        };
        let shared = Arc::new(Shared {
            config,
            cluster: credentials.cluster(),
            node: credentials.node(),
            allowed,
            clock,
            rng,
            handler,
            endpoint,
            runtime: runtime.handle().clone(),
            tls: Mutex::new(tls),
            sessions: Mutex::default(),
            last_session: Mutex::new(0),
            seats: Mutex::default(),
            assemblies: Mutex::default(),
            admission: Mutex::default(),
            failures: Mutex::default(),
        });
        let (commands, queue) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("silt-quic".to_owned()).spawn({
            let shared = shared.clone();
            move || run(&runtime, shared, queue)
        });
        Ok(Self { shared, commands, thread: Mutex::new(Some(thread.map_err(StartError::Runtime)?)) })
    }

    /// The address it listens on.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.shared.endpoint.local_addr()
    }

    /// Uses a renewed key and certificate for handshakes from now on; sessions go on.
    ///
    /// # Errors
    /// If they are another node's, or TLS does not take them.
    pub fn renew(&self, credentials: &Credentials) -> Result<(), identity::Error> {
        let shared = &self.shared;
        if (credentials.cluster(), credentials.node()) != (shared.cluster, shared.node) {
            return Err(identity::Error::Name { found: format!("node {}", credentials.node()) });
        }
        let tls = Tls::new(credentials, &shared.allowed, &shared.clock, &ACCEPTED_PROTOCOLS, CLUSTER_PROTOCOL)?;
        shared.endpoint.set_server_config(Some(endpoint::server_config(&shared.config, &tls)));
        *shared.tls.lock() = tls;
        Ok(())
    }

    /// From now on a node may speak with its key of these and no other; `None`: with any that the authority signed for it, which
    /// is for as long as this node may not know the present ones. Sessions that began with another key end; where the keys were
    /// known already, those that began before a key was renewed go on.
    pub fn pin_keys(&self, keys: Option<BTreeMap<NodeId, PublicKey>>) {
        if !self.shared.allowed.pin(keys) {
            self.shared.sessions.lock().values().for_each(|outbox| end_stranger(&self.shared, outbox));
        }
    }

    /// From now on these authorities (X.509 DER) are trusted besides that of this node's own certificate, and no others. Handshakes see
    /// it at once; sessions go on.
    pub fn trust(&self, authorities: Vec<Vec<u8>>) {
        self.shared.allowed.trust(authorities);
    }

    /// True if a link is up and nobody has asked it to end.
    #[must_use]
    pub fn is_open(&self, link: Link) -> bool {
        self.shared.outbox(link).is_some_and(|outbox| !outbox.is_ended())
    }

    /// Ends all sessions in good order, and listens no more. Blocks until peers have been told.
    pub fn stop(&self) {
        // Fails only if the thread has stopped already.
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread was reported by the panic hook.
            let _ = thread.join();
        }
    }

    /// From now on `admission` decides about nodes that want to join; none, and nobody can.
    pub fn admit_by(&self, admission: Option<Arc<Admission>>) {
        *self.shared.admission.lock() = admission;
    }

    /// Why the last attempt to reach `peer` failed; `None` if it did not, or if it is the peer that dials.
    #[must_use]
    pub fn last_failure(&self, peer: NodeId) -> Option<Down> {
        self.shared.failures.lock().get(&peer).cloned()
    }

    /// Round-trip time of a link's first connection.
    #[must_use]
    pub fn round_trip(&self, link: Link) -> Option<Duration> {
        Some(self.shared.outbox(link)?.connection(Channel::control(0)).rtt())
    }
}

impl Shared {
    fn outbox(&self, link: Link) -> Option<Arc<Outbox>> {
        self.sessions.lock().get(&link.peer).filter(|outbox| outbox.link() == link).cloned()
    }
}

impl Transport for QuicTransport {
    fn send(&self, link: Link, channel: Channel, message: Message) -> Result<(), SendError> {
        self.shared.outbox(link).ok_or(SendError::Down)?.send(channel, &message)
    }

    fn request(&self, link: Link, message: Message, deadline: Duration, answer: OnAnswer) {
        match self.shared.outbox(link) {
            Some(outbox) => request::ask(&self.shared.runtime, &outbox, message, deadline, answer),
            None => answer(Err(RequestError::Unsent(SendError::Down))),
        }
    }

    fn link(&self, peer: NodeId) -> Option<Link> {
        self.shared.sessions.lock().get(&peer).map(|outbox| outbox.link())
    }

    fn disconnect(&self, link: Link) {
        if let Some(outbox) = self.shared.outbox(link) {
            outbox.end(Down::Asked);
        }
    }

    fn retain_channels(&self, is_wanted: &dyn Fn(Link, Channel) -> bool) {
        for outbox in self.shared.sessions.lock().values() {
            outbox.retain(|channel| is_wanted(outbox.link(), channel));
        }
    }

    fn set_peers(&self, peers: Vec<Peer>) {
        // From here on no handshake of another node succeeds; the rest follows on the transport's thread.
        self.shared.allowed.replace(peers.iter().map(|peer| peer.node));
        // Fails only if the thread has stopped, and then there are no sessions.
        let _ = self.commands.send(Command::Peers(peers));
    }
}

impl Drop for QuicTransport {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The transport's thread.
fn run(runtime: &Runtime, shared: Arc<Shared>, mut commands: mpsc::UnboundedReceiver<Command>) {
    runtime.block_on(async {
        let listening = tokio::spawn(accept::listen(shared.clone()));
        let mut dialling = dial::Dialling::default();
        while let Some(Command::Peers(peers)) = commands.recv().await {
            end_others(&shared);
            dialling.set(&shared, peers);
        }
        listening.abort();
        dialling.set(&shared, Vec::new());
        shared.allowed.replace([]);
        end_all(&shared).await;
        shared.endpoint.close(close::STOP, b"stopped");
        // Lets the last packets out; peers that do not answer are not waited for.
        let _ = tokio::time::timeout(Duration::from_millis(200), shared.endpoint.wait_idle()).await;
    });
}

/// Ends the sessions of nodes that may no longer speak.
fn end_others(shared: &Shared) {
    for outbox in shared.sessions.lock().values() {
        if !shared.allowed.contains(outbox.link().peer) {
            outbox.end(Down::Removed);
        }
    }
    shared.assemblies.lock().retain(|peer, assembly| {
        let stays = shared.allowed.contains(*peer);
        if !stays {
            assembly.close(&Down::Removed);
        }
        stays
    });
}

/// Ends a session whose peer has shown a key that is not its own.
fn end_stranger(shared: &Shared, outbox: &Outbox) {
    let peer = outbox.link().peer;
    let is_its_own = |connection| accept::key_of(connection).is_some_and(|key| shared.allowed.permits(peer, &key));
    if !outbox.connections().iter().all(is_its_own) {
        outbox.end(Down::Identity("its key is not the one that the cluster knows of".to_owned()));
    }
}

/// Ends all sessions and waits until their handlers have heard it.
async fn end_all(shared: &Shared) {
    for outbox in shared.sessions.lock().values() {
        outbox.end(Down::Asked);
    }
    let seats: Vec<_> = shared.seats.lock().values().cloned().collect();
    for seat in seats {
        drop(seat.lock().await);
    }
}
