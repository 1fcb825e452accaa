//! The socket and what QUIC is told about the network.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::{CryptoError, HmacKey};
use quinn::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use rustix::net::sockopt;

use super::config::{Config, StartError};
use super::outbox::CHANNELS_MAX;
use super::request::QUESTIONS_MAX;
use crate::environment::{Rng, random};
use crate::identity::{Credentials, Tls};

/// Handshakes not yet looked at; more are turned away.
const INCOMING_MAX: usize = 64;

/// Longest datagram there is.
const DATAGRAM_BYTES_MAX: u16 = 65_527;

const CONNECTION_ID_BYTES: usize = 8;

/// Round trip assumed before one was measured: what a lost first packet costs is three times this.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(50);

/// Opens the socket.
pub(super) fn bind(
    config: &Config,
    credentials: &Credentials,
    tls: &Tls,
    rng: Arc<dyn Rng>,
) -> Result<Endpoint, StartError> {
    let listen = |source| StartError::Listen { address: config.listen, source };
    let socket = UdpSocket::bind(config.listen).map_err(listen)?;
    // The kernel gives what its limits allow; less is slower, not wrong.
    sockopt::set_socket_recv_buffer_size(&socket, config.socket_buffer_bytes).map_err(|e| listen(e.into()))?;
    sockopt::set_socket_send_buffer_size(&socket, config.socket_buffer_bytes).map_err(|e| listen(e.into()))?;
    let server = server_config(config, tls);
    Endpoint::new(endpoint_config(credentials, rng), Some(server), socket, Arc::new(TokioRuntime)).map_err(listen)
}

/// Resets are signed with the node's key and not with one of this process, and ids are plain random ones that a later
/// process does not reject: so a peer learns of a restart as soon as it sends something.
fn endpoint_config(credentials: &Credentials, rng: Arc<dyn Rng>) -> EndpointConfig {
    let reset = ResetKey(*credentials.derived_key("siltstone 2026-11-26 QUIC stateless resets"));
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(move || Box::new(RandomIds(rng.clone())));
    config.max_udp_payload_size(DATAGRAM_BYTES_MAX).expect("within the limits of QUIC");
    config
}

pub(super) fn server_config(config: &Config, tls: &Tls) -> ServerConfig {
    let mut server = ServerConfig::with_crypto(tls.server.clone());
    server.transport_config(Arc::new(transport_config(config)));
    server.migration(false);
    server.max_incoming(INCOMING_MAX);
    server.incoming_buffer_size(64 << 10).incoming_buffer_size_total(1 << 20);
    server
}

pub(super) fn client_config(config: &Config, tls: &Tls) -> ClientConfig {
    let mut client = ClientConfig::new(tls.client.clone());
    client.transport_config(Arc::new(transport_config(config)));
    client
}

/// A connection starts with room for one stream, that of the hello; the others come with [`admit`].
fn transport_config(config: &Config) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(config.datagram_bytes_max);
    transport
        .max_idle_timeout(IdleTimeout::try_from(config.idle_timeout).ok())
        .keep_alive_interval(Some(config.keep_alive))
        .initial_rtt(INITIAL_ROUND_TRIP)
        .stream_receive_window(VarInt::from_u32(config.window_bytes / 2))
        .receive_window(VarInt::from_u32(config.window_bytes))
        .send_window(config.window_bytes.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .mtu_discovery_config(Some(mtu))
        .datagram_receive_buffer_size(None);
    transport
}

/// Lets a peer that is known open its streams.
pub(super) fn admit(connection: &quinn::Connection) {
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(CHANNELS_MAX));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(QUESTIONS_MAX.iter().sum()));
}

struct RandomIds(Arc<dyn Rng>);

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&random::<CONNECTION_ID_BYTES>(&*self.0))
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], out: &mut [u8]) {
        out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let found: [u8; 32] = signature.try_into().map_err(|_| CryptoError)?;
        // Compares in constant time.
        if blake3::keyed_hash(&self.0, data) == found { Ok(()) } else { Err(CryptoError) }
    }
}
