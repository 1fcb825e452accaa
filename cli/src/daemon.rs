//! The daemon: a node with its sockets, from the start to a clean stop.

mod control;
mod descriptors;
mod frontends;
mod signals;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use siltstone::cluster::{AllExports, ClusterSlot, Place};
use siltstone::control::{Handler, Kind};
use siltstone::export::Exports;
use siltstone::join::Token;
use siltstone::name::VolumeName;
use siltstone::node::{Duties, Node};
use siltstone::store::clock::{Clock, SystemClock};
use siltstone::store::codec::{Codec, ZstdLevel};
use siltstone::store::store::Store;
use siltstone::tls::Tls;
use siltstone::transfer::ReceiveOptions;
use siltstone::transfer::remote::{IsTaken, ReceiveError, ReceiveServer};

use crate::backend;
use crate::data_dir::{Access, DataDir};
use crate::exit::Complaint;
use crate::handler::endpoint::Endpoint;
use crate::handler::space::WarnAt;
use crate::handler::{NodeHandler, Serving};
use crate::membership::Membership;
use crate::socket;
use control::{ControlServer, Patience};
use descriptors::Descriptors;
use frontends::Frontends;
pub(crate) use signals::Signals;

/// How a daemon is started.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) memory_bytes: u64,
    pub(crate) capacity_bytes: Option<u64>,
    /// What volumes get whose maker does not care.
    pub(crate) codec: Codec,
    /// How what nobody reads is compressed again, if it is.
    pub(crate) cold: Option<ZstdLevel>,
    /// Where NBD is served by TCP, if anywhere.
    pub(crate) listen: Option<Listen>,
    /// Where snapshots are received, if anywhere.
    pub(crate) receive: Option<Receive>,
    /// Where the node is in a cluster.
    pub(crate) place: Place,
    /// The cluster to join, if it is in none.
    pub(crate) token: Option<Token>,
    /// How full it has to be for a warning.
    pub(crate) warn_at: WarnAt,
    /// What is to be said of the command line.
    pub(crate) warnings: Vec<String>,
}

/// Where a node listens unless it is told: NBD by TCP, other nodes by UDP.
pub(crate) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10809);

/// A TCP address to serve at.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    /// Without it nothing is encrypted and nobody is asked who they are.
    pub(crate) tls: Option<Tls>,
}

/// An address to receive snapshots at.
#[derive(Clone, Debug)]
pub(crate) struct Receive {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Tls,
}

impl Listen {
    /// What is to be said of it.
    fn warning(&self) -> Option<String> {
        let is_open = self.tls.as_ref().is_some_and(|tls| !tls.asks_clients()) && !self.address.ip().is_loopback();
        is_open.then(|| {
            format!(
                "whoever reaches {} may open every volume that has no list of names: --tls-client-ca lets in only clients \
                 with a certificate",
                self.address
            )
        })
    }
}

impl Receive {
    fn listen(
        &self,
        node: &Arc<Node>,
        codec: Codec,
        membership: &Arc<Membership>,
        connections_max: usize,
        clock: &Arc<dyn Clock>,
    ) -> Result<(ReceiveServer, SocketAddr), ReceiveError> {
        let options = ReceiveOptions { codec, force: false };
        let membership = Arc::clone(membership);
        let is_taken = move |name: &VolumeName| membership.cluster().is_ok_and(|cluster| cluster.has_volume(name));
        let node = (Arc::clone(node), Box::new(is_taken) as Box<IsTaken>);
        ReceiveServer::listen(self.address, self.tls.clone(), node, options, connections_max, Arc::clone(clock))
    }
}

/// A running daemon.
pub(crate) struct Daemon {
    handler: Arc<NodeHandler>,
    control: ControlServer,
    frontends: Frontends,
    receiver: Option<(ReceiveServer, SocketAddr)>,
    membership: Arc<Membership>,
    duties: Duties,
    endpoints: Vec<Endpoint>,
    warnings: Vec<String>,
}

impl Daemon {
    /// Opens the store, making it if there is none, and `prepare`s the node before clients can reach it. Its cluster is asked
    /// meanwhile, so that no name gets a second meaning.
    pub(crate) fn start(
        dir: &DataDir,
        options: &Options,
        prepare: impl FnOnce(&NodeHandler) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let descriptors = Descriptors::raise();
        let store = open_store(dir, options, &*clock)?;
        if options.capacity_bytes.is_some() {
            store.set_capacity(options.capacity_bytes).context("--capacity")?;
        }
        store.set_cold(options.cold);
        let node = Node::open(store, false)?;
        if let Err(error) = node.events().keep_in(dir.path()) {
            tracing::warn!(%error, "events are not kept in the data directory");
        }
        // Before there are clients: of a replicated volume they would be told that it does not exist.
        let membership = Membership::start(options.place.clone(), options.token.as_ref(), &node);
        let membership = Arc::new(membership.context("the node's cluster")?);
        let started_ms = u64::try_from(clock.wall().as_millis()).unwrap_or(u64::MAX);
        let frontends = Frontends::new(exports(&node, membership.slot()), descriptors.nbd_connections(), &clock)?;
        let (counters, warn_at) = (frontends.counters(), options.warn_at.clone());
        let (of_handler, its_clock) = (Arc::clone(&membership), Arc::clone(&clock));
        let serving = Serving { started_ms, clock: its_clock, counters, warn_at, membership: of_handler };
        let mut handler = NodeHandler::running(Arc::clone(&node), dir, options.codec, serving);
        prepare(&handler)?;
        let (endpoints, mut warnings) = listen(dir, options.listen.as_ref(), &frontends)?;
        warnings.extend(options.warnings.iter().cloned());
        warnings.extend(descriptors.warning());
        // Asked for by name: without it the node would not be what its user wants.
        let receive = options.receive.as_ref();
        let receiver = receive
            .map(|it| it.listen(&node, options.codec, &membership, descriptors.senders(), &clock))
            .transpose()?;
        let duties = Duties::start(node).context("starting a thread")?;
        handler.reached_at(endpoints.clone());
        let handler = Arc::new(handler);
        // Last, since commands take a daemon that answers for one that is ready.
        let answering = Arc::clone(&handler) as Arc<dyn Handler>;
        let control = ControlServer::start(&dir.control_socket(), answering, Patience::default(), clock)?;
        Ok(Self { handler, control, frontends, receiver, membership, duties, endpoints, warnings })
    }

    /// Where NBD clients reach it.
    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Where snapshots are received.
    pub(crate) fn receives_at(&self) -> Option<SocketAddr> {
        self.receiver.as_ref().map(|(_, address)| *address)
    }

    /// What the user should know but need not stop for.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The node served.
    pub(crate) fn node(&self) -> &Arc<Node> {
        self.handler.node()
    }

    /// Takes no more requests, ends the connections, and closes the store.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        // While it is known which names are the cluster's.
        drop(self.receiver);
        // Early, so that no request waits for other nodes.
        self.membership.stop();
        drop(self.duties);
        self.control.stop();
        // Again, since a request may have made a cluster meanwhile.
        self.membership.stop();
        self.frontends.stop();
        for endpoint in &self.endpoints {
            if let Endpoint::Unix(path) = endpoint {
                // A leftover is replaced at the next start.
                let _ = std::fs::remove_file(path);
            }
        }
        self.handler.node().store().close().context("closing the store")
    }
}

/// What clients can open.
fn exports(node: &Arc<Node>, cluster: &Arc<ClusterSlot>) -> Arc<dyn Exports> {
    Arc::new(AllExports::new(Arc::clone(node), Arc::clone(cluster)))
}

/// Opens the store; waits a little for a command that is at work on it, but not for another daemon.
fn open_store(dir: &DataDir, options: &Options, clock: &dyn Clock) -> anyhow::Result<Arc<Store>> {
    backend::await_lock(dir, clock, || match backend::connect(dir)? {
        Some(other) => {
            let message = format!("process {} serves {} already", other.pid(), dir.path().display());
            Err(Complaint::new(Kind::Busy, message).into())
        }
        None => dir.open_store(Access::Create, options.memory_bytes, options.capacity_bytes),
    })
}

/// Opens the frontends' sockets; what does not keep the daemon from serving comes back as a warning.
fn listen(dir: &DataDir, tcp: Option<&Listen>, frontends: &Frontends) -> anyhow::Result<(Vec<Endpoint>, Vec<String>)> {
    let mut warnings = Vec::new();
    let path = dir.nbd_socket();
    frontends.listen_unix(&path).with_context(|| format!("listening on {}", path.display()))?;
    if !socket::is_reachable(&path) {
        warnings.push(format!(
            "{} is longer than the {} bytes clients can connect to: use a shorter --data for NBD by Unix socket",
            path.display(),
            socket::PATH_BYTES_MAX
        ));
    }
    let mut endpoints = vec![Endpoint::Unix(path)];
    match tcp.map(|listen| (listen.address, frontends.listen_tcp(listen))) {
        None => {}
        Some((_, Ok(endpoint))) => {
            endpoints.push(endpoint);
            warnings.extend(tcp.and_then(Listen::warning));
        }
        Some((address, Err(error))) => warnings.push(format!(
            "cannot listen on {address} ({error}): NBD is served by the Unix socket only; --listen names another port, \
             --no-tcp none"
        )),
    }
    Ok((endpoints, warnings))
}
