//! Connections that others dial.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Incoming};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::config::CONNECTIONS_MAX;
use super::stream::{read_early, write_last};
use super::{Shared, close, join, session};
use crate::envelope::{Family, Header, Hello, LINK_VERSION, Welcome};
use crate::identity::{NodeId, key_info, peer_node};
use crate::join::JOIN_PROTOCOL;
use crate::transport::Down;

/// Handshakes under way at once.
const HANDSHAKES_MAX: usize = 64;

/// From here on, a client must first show that it has the address it says.
const HANDSHAKES_BUSY: usize = 16;

/// Nodes that may be joining at once. Anybody can say that it wants to: they take no place that the cluster's own nodes need.
const JOINING_MAX: usize = 16;

/// How long a node that wants to join may take, with the decision.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections of sessions that are not complete yet, by peer.
pub(super) type Assemblies = HashMap<NodeId, Assembly>;

/// Connections that were made for one session.
pub(super) struct Assembly {
    session: u64,
    connections: Vec<Option<Connection>>,
}

impl Assembly {
    fn new(hello: &Hello) -> Self {
        Self { session: hello.session, connections: vec![None; hello.count.into()] }
    }

    /// Closes what there is.
    pub(super) fn close(&self, reason: &Down) {
        for connection in self.connections.iter().flatten() {
            close::close(connection, reason);
        }
    }
}

/// What those who are not known yet have at once.
struct Places {
    handshakes: Arc<Semaphore>,
    joining: Semaphore,
}

/// Accepts connections until the endpoint is closed.
pub(super) async fn listen(shared: Arc<Shared>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let places = Arc::new(Places { handshakes, joining: Semaphore::new(JOINING_MAX) });
    while let Some(incoming) = shared.endpoint.accept().await {
        let Ok(place) = places.handshakes.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let busy = HANDSHAKES_MAX - places.handshakes.available_permits() > HANDSHAKES_BUSY;
        if busy && !incoming.remote_address_validated() && incoming.may_retry() {
            // It may retry, so this does not fail.
            let _ = incoming.retry();
            continue;
        }
        let (shared, places) = (shared.clone(), places.clone());
        tokio::spawn(async move {
            let remote = incoming.remote_address();
            if let Err(reason) = admit(&shared, incoming, place, &places.joining).await {
                tracing::debug!(%remote, %reason, "a connection was refused");
            }
        });
    }
}

/// Finds out who it is, agrees on a version, and starts the session if this was its last connection.
async fn admit(
    shared: &Arc<Shared>,
    incoming: Incoming,
    place: OwnedSemaphorePermit,
    joining: &Semaphore,
) -> Result<(), Down> {
    let limit = shared.config.handshake_timeout;
    let handshake = async { incoming.accept().map_err(close::reason)?.await.map_err(close::reason) };
    let connection = timeout(limit, handshake).await.unwrap_or(Err(Down::Silent))?;
    if protocol(&connection).as_deref() == Some(JOIN_PROTOCOL) {
        drop(place);
        let serving = async {
            let _place =
                joining.try_acquire().map_err(|_| Down::Failed("too many nodes want to join at once".into()))?;
            timeout(JOIN_TIMEOUT, join::serve(shared, &connection)).await.unwrap_or(Err(Down::Silent))
        };
        return serving.await.inspect_err(|reason| close::close(&connection, reason));
    }
    let greeting = async {
        let peer = peer(shared, &connection)?;
        let (hello, version) = greet(shared, peer, &connection).await?;
        Ok((peer, hello, version))
    };
    let greeted = timeout(limit, greeting).await.unwrap_or(Err(Down::Silent));
    let (peer, hello, version) = greeted.inspect_err(|reason| {
        close::close(&connection, reason);
    })?;
    if let Some(connections) = assemble(shared, peer, &hello, connection) {
        tracing::debug!(%peer, program = hello.program, "greeted");
        tokio::spawn(session::run(shared.clone(), peer, version, connections));
    }
    Ok(())
}

/// The protocol that was agreed on; TLS accepts no others than ours.
fn protocol(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

/// The node at the other end, by its certificate, which the handshake has checked.
fn peer(shared: &Shared, connection: &Connection) -> Result<NodeId, Down> {
    let certificate = certificate(connection).ok_or_else(|| Down::Identity("no certificate".to_owned()))?;
    let peer = peer_node(shared.cluster, &certificate);
    let peer = peer.map_err(|error| Down::Identity(error.to_string()))?;
    if peer >= shared.node {
        return Err(Down::Protocol("the node with the higher id dialled"));
    }
    Ok(peer)
}

/// The certificate that the other end has shown.
fn certificate(connection: &Connection) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.into_iter().next()
}

/// The key that the other end has shown, as a SubjectPublicKeyInfo.
pub(super) fn key_of(connection: &Connection) -> Option<Vec<u8>> {
    key_info(&certificate(connection)?).ok()
}

/// Reads the hello and answers it.
async fn greet(shared: &Shared, peer: NodeId, connection: &Connection) -> Result<(Hello, u16), Down> {
    let (mut sender, mut receiver) = connection.accept_bi().await.map_err(close::reason)?;
    let hello = read_early(&mut receiver, Family::Link).await.map_err(|error| error.into_down(connection))?;
    let hello = Hello::decode(&hello)?;
    if hello.count == 0 || hello.count > CONNECTIONS_MAX || hello.index >= hello.count {
        return Err(Down::Protocol("a hello for no connection of a session"));
    }
    let (ours, theirs) = (shared.config.versions, hello.versions);
    let version = ours.common(theirs).ok_or_else(|| {
        let me = shared.node;
        Down::Version(format!(
            "node {peer} speaks {} to {}, node {me} {} to {}",
            theirs.min, theirs.max, ours.min, ours.max
        ))
    })?;
    let welcome = Welcome { version, program: shared.config.program.clone() }.encode();
    let header = Header::encode(LINK_VERSION, welcome.kind, &welcome.body)?;
    write_last(&mut sender, &header, &welcome).await.map_err(|_| Down::Protocol("it does not wait for an answer"))?;
    Ok((hello, version))
}

/// Adds a connection to its session; gives all of them when they are complete. A new session replaces an incomplete one.
fn assemble(shared: &Shared, peer: NodeId, hello: &Hello, connection: Connection) -> Option<Vec<Connection>> {
    let mut assemblies = shared.assemblies.lock();
    let assembly = assemblies.entry(peer).or_insert_with(|| Assembly::new(hello));
    if assembly.session != hello.session || assembly.connections.len() != usize::from(hello.count) {
        assembly.close(&Down::Superseded);
        *assembly = Assembly::new(hello);
    }
    assembly.connections[usize::from(hello.index)] = Some(connection);
    if assembly.connections.iter().any(Option::is_none) {
        return None;
    }
    assemblies.remove(&peer).map(|assembly| assembly.connections.into_iter().flatten().collect())
}
