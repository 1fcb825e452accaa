//! Joining over QUIC: both ends of the exchange. A session of this protocol carries one question and its answer.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Connection, Endpoint, SendStream};
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::stream::{ReadError, read_early, write_last};
use super::{Shared, close};
use crate::envelope::{self, Family, Header, LINK_VERSION};
use crate::environment::Clock;
use crate::identity::{NodeKey, pinned_tls};
use crate::join::{
    Binding, JOIN_PROTOCOL, JoinError, JoinRequest, Joined, Token, TokenId, decode_answer, encode_answer,
};
use crate::transport::Down;

/// Label of the secret that binds the proof to the session (RFC 9266 does the same for TCP).
const BINDING_LABEL: &[u8] = b"EXPORTER-siltstone-join";

/// The name a joining node dials; the pinned authority is what counts.
const ANY_NAME: &str = "join.siltstone";

/// How long one address may take, with the decision of the cluster.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(10);

fn binding(connection: &Connection, token: TokenId) -> Result<Binding, Down> {
    let mut binding = [0; 32];
    let exported = connection.export_keying_material(&mut binding, BINDING_LABEL, &token.0);
    exported.map(|()| binding).map_err(|_| Down::Protocol("a TLS session without exporter"))
}

/// Answers whoever wants to join. Nothing else is possible on the connection.
pub(super) async fn serve(shared: &Shared, connection: &Connection) -> Result<(), Down> {
    let admission = shared.admission.lock().clone().ok_or(Down::Protocol("this node lets nobody join"))?;
    let asked = timeout(shared.config.handshake_timeout, read_request(connection));
    let (mut sender, request) = asked.await.unwrap_or(Err(Down::Silent))?;
    let binding = binding(connection, request.token)?;
    let decision = tokio::task::spawn_blocking(move || admission.decide(&request, &binding));
    let answer = decision.await.map_err(|error| Down::Failed(error.to_string()))?;
    let answer = encode_answer(&answer);
    let header = Header::encode(LINK_VERSION, answer.kind, &answer.body)?;
    write_last(&mut sender, &header, &answer).await.map_err(|_| Down::Protocol("it does not wait for an answer"))?;
    // The asker closes once it has the answer.
    connection.closed().await;
    Ok(())
}

/// What somebody who wants to join says, and where it waits for the answer.
async fn read_request(connection: &Connection) -> Result<(SendStream, JoinRequest), Down> {
    let (sender, mut receiver) = connection.accept_bi().await.map_err(close::reason)?;
    let request = read_early(&mut receiver, Family::Join).await.map_err(|error| error.into_down(connection))?;
    Ok((sender, JoinRequest::decode(&request)?))
}

/// Joins the cluster that `token` invites to, as the node with `key`, which is going to listen at `addresses`. Blocks: for some seconds per address at worst.
///
/// The caller checks and keeps the certificate with [`NodeKey::with_certificate`]. If the answer is lost, the same
/// token works again with the same key.
///
/// # Errors
/// [`JoinError::Refused`] says what to do; [`JoinError::Unreachable`] why the last of the addresses failed.
pub fn join(
    token: &Token,
    key: &NodeKey,
    addresses: &[SocketAddr],
    clock: Arc<dyn Clock>,
    program: &str,
) -> Result<Joined, JoinError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let client = ClientConfig::new(pinned_tls(token.authority(), &clock, JOIN_PROTOCOL)?);
    runtime.block_on(async {
        let mut failure = JoinError::NoAddress;
        for address in token.addresses() {
            let attempt = ask(token, key, client.clone(), *address, (addresses, program.to_owned()));
            match timeout(ADDRESS_TIMEOUT, attempt).await.unwrap_or(Err(JoinError::Unreachable(Down::Silent))) {
                Err(elsewhere @ (JoinError::Unreachable(_) | JoinError::OtherAuthority(_))) => failure = elsewhere,
                done => return done,
            }
        }
        Err(failure)
    })
}

async fn ask(
    token: &Token,
    key: &NodeKey,
    client: ClientConfig,
    address: SocketAddr,
    about: (&[SocketAddr], String),
) -> Result<Joined, JoinError> {
    let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let endpoint = Endpoint::client(SocketAddr::new(any, 0))?;
    let unreachable = |error| JoinError::Unreachable(close::reason(error));
    let connecting = endpoint.connect_with(client, address, ANY_NAME);
    let connecting = connecting.map_err(|error| JoinError::Unreachable(Down::Failed(error.to_string())))?;
    let connection = connecting.await.map_err(|error| match error {
        error if close::is_unknown_authority(&error) => JoinError::OtherAuthority(address),
        error => unreachable(error),
    })?;
    let binding = binding(&connection, token.id()).map_err(JoinError::Unreachable)?;
    let request = JoinRequest::new((token.id(), &token.key()), key, &binding, about)?.encode();
    let garbled = |error: ReadError| JoinError::Unreachable(error.into_down(&connection));
    let header = Header::encode(LINK_VERSION, request.kind, &request.body).map_err(|error| garbled(error.into()))?;
    let (mut sender, mut receiver) = connection.open_bi().await.map_err(unreachable)?;
    // If this fails, reading the answer tells why.
    let _ = write_last(&mut sender, &header, &request).await;
    let answer = read_early(&mut receiver, Family::Join).await.map_err(garbled)?;
    let answer = decode_answer(&answer).map_err(|error: envelope::Error| garbled(error.into()))?;
    connection.close(close::STOP, b"thank you");
    // Lets the last packet out.
    let _ = timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
    Ok(answer?)
}
