//! The TLS configurations of a node. Version 1.3 with ring, named explicitly: no process-wide provider is installed.
//!
//! Sessions are never resumed: a resumed session skips the check of certificates, and a node that was removed from the
//! cluster could go on speaking. Without resumption there is no early data either.

use std::fmt;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, cipher_suite};
use rustls::pki_types::UnixTime;
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig, version};

use super::error::Error;
use super::verifier::{Check, ClientCheck, PinnedCheck, ServerCheck};
use super::{Allowed, Credentials, Fingerprint};
use crate::environment::Clock;

/// AES-128 first: as good here as AES-256, and 1.4 times as fast without the wide instructions.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
}

struct WallClock(Arc<dyn Clock>);

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").finish_non_exhaustive()
    }
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.wall()))
    }
}

/// The time by which certificates are checked.
fn time_provider(clock: Arc<dyn Clock>) -> Arc<dyn TimeProvider> {
    Arc::new(WallClock(clock))
}

/// Configurations for one node's credentials.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) server: Arc<QuicServerConfig>,
    pub(crate) client: Arc<QuicClientConfig>,
}

impl Tls {
    /// Listens for the protocols of `accepted`, dials with `dialled`.
    pub(crate) fn new(
        credentials: &Credentials,
        allowed: &Allowed,
        clock: &Arc<dyn Clock>,
        accepted: &[&[u8]],
        dialled: &[u8],
    ) -> Result<Self, Error> {
        let provider = provider();
        let check = || Check {
            cluster: credentials.cluster(),
            authority: credentials.authority().clone(),
            allowed: allowed.clone(),
            provider: provider.clone(),
        };
        let mut server = ServerConfig::builder_with_details(provider.clone(), time_provider(clock.clone()))
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(Arc::new(ClientCheck(check())))
            .with_single_cert(credentials.chain(), credentials.private_key())?;
        server.alpn_protocols = accepted.iter().map(|protocol| protocol.to_vec()).collect();
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;
        let mut client = ClientConfig::builder_with_details(provider.clone(), time_provider(clock.clone()))
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ServerCheck(check())))
            .with_client_auth_cert(credentials.chain(), credentials.private_key())?;
        client.alpn_protocols = vec![dialled.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        client.enable_early_data = false;
        Ok(Self {
            server: Arc::new(QuicServerConfig::try_from(server).map_err(no_initial_suite)?),
            client: Arc::new(QuicClientConfig::try_from(client).map_err(no_initial_suite)?),
        })
    }
}

/// The configuration of a node that is about to join the cluster of this authority.
pub(crate) fn pinned_tls(
    authority: Fingerprint,
    clock: &Arc<dyn Clock>,
    protocol: &[u8],
) -> Result<Arc<QuicClientConfig>, Error> {
    let provider = provider();
    let mut client = ClientConfig::builder_with_details(provider.clone(), time_provider(clock.clone()))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedCheck { authority, provider }))
        .with_no_client_auth();
    client.alpn_protocols = vec![protocol.to_vec()];
    client.resumption = Resumption::disabled();
    client.enable_sni = false;
    client.enable_early_data = false;
    Ok(Arc::new(QuicClientConfig::try_from(client).map_err(no_initial_suite)?))
}

fn no_initial_suite(_: quinn::crypto::rustls::NoInitialCipherSuite) -> Error {
    Error::Tls(rustls::Error::General("QUIC needs TLS13_AES_128_GCM_SHA256".to_owned()))
}
