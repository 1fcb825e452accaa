//! Dialling the nodes with higher ids, for as long as they are peers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use quinn::Connection;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::stream::{read_early, write_last};
use super::{Shared, close, endpoint, session};
use crate::envelope::{Family, Header, Hello, LINK_VERSION, Welcome};
use crate::environment::random;
use crate::identity::{NodeId, node_name};
use crate::transport::{Down, Peer};

/// The peers being dialled.
#[derive(Default)]
pub(super) struct Dialling(HashMap<NodeId, (Vec<SocketAddr>, JoinHandle<()>)>);

impl Dialling {
    /// Starts dialling new peers, stops dialling old ones. Sessions are not touched.
    pub(super) fn set(&mut self, shared: &Arc<Shared>, peers: Vec<Peer>) {
        let mut before = std::mem::take(&mut self.0);
        for Peer { node, addresses } in peers.into_iter().filter(|peer| peer.node > shared.node) {
            let task = match before.remove(&node) {
                Some((same, task)) if same == addresses => task,
                other => {
                    other.iter().for_each(|(_, task)| task.abort());
                    tokio::spawn(dial(shared.clone(), node, addresses.clone()))
                }
            };
            self.0.insert(node, (addresses, task));
        }
        before.into_values().for_each(|(_, task)| task.abort());
        shared.failures.lock().retain(|node, _| self.0.contains_key(node));
    }
}

/// Keeps a session with `peer`.
async fn dial(shared: Arc<Shared>, peer: NodeId, addresses: Vec<SocketAddr>) {
    let mut backoff = Backoff::new(shared.config.backoff);
    loop {
        // After a change of addresses, the session that was made by the old ones may still be good.
        drop(shared.seat(peer).lock().await);
        for address in &addresses {
            match connect(&shared, peer, *address).await {
                Ok((version, connections)) => {
                    shared.failures.lock().remove(&peer);
                    backoff.reset();
                    // A task of its own: it must say "down" even if dialling is stopped.
                    let session = tokio::spawn(session::run(shared.clone(), peer, version, connections));
                    // A session that panicked has been reported by the panic hook.
                    let _ = session.await;
                    break;
                }
                Err(reason) => {
                    tracing::debug!(%peer, %address, %reason, "not connected");
                    shared.failures.lock().insert(peer, reason);
                }
            }
        }
        sleep(backoff.pause(&*shared.rng)).await;
    }
}

/// Makes a session's connections.
async fn connect(shared: &Shared, peer: NodeId, address: SocketAddr) -> Result<(u16, Vec<Connection>), Down> {
    let attempt = async {
        let session = u64::from_le_bytes(random(&*shared.rng));
        let mut connections = Vec::new();
        let mut version = 0;
        for index in 0..shared.config.connections {
            let connection = handshake(shared, peer, address).await?;
            version = greet(shared, &connection, session, index).await?;
            connections.push(connection);
        }
        Ok((version, connections))
    };
    timeout(shared.config.handshake_timeout, attempt).await.unwrap_or(Err(Down::Silent))
}

async fn handshake(shared: &Shared, peer: NodeId, address: SocketAddr) -> Result<Connection, Down> {
    let client = endpoint::client_config(&shared.config, &shared.tls.lock());
    let connecting = shared.endpoint.connect_with(client, address, &node_name(shared.cluster, peer));
    connecting.map_err(|error| Down::Failed(error.to_string()))?.await.map_err(close::reason)
}

/// Says hello; gives the version agreed on.
async fn greet(shared: &Shared, connection: &Connection, session: u64, index: u8) -> Result<u16, Down> {
    let config = &shared.config;
    let (versions, program) = (config.versions, config.program.clone());
    let hello = Hello { versions, session, index, count: config.connections, program }.encode();
    let header = Header::encode(LINK_VERSION, hello.kind, &hello.body)?;
    let (mut sender, mut receiver) = connection.open_bi().await.map_err(close::reason)?;
    // If this fails, reading the answer tells why.
    let _ = write_last(&mut sender, &header, &hello).await;
    let answer = read_early(&mut receiver, Family::Link).await.map_err(|error| error.into_down(connection))?;
    let Welcome { version, program } = Welcome::decode(&answer)?;
    if !(versions.min..=versions.max).contains(&version) {
        return Err(Down::Protocol("an answer with a version that was not offered"));
    }
    tracing::debug!(program, version, "greeted");
    Ok(version)
}
