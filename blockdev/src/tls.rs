//! What a listener needs to speak TLS: its certificate and key, and perhaps whom it trusts to certify clients; and what a client needs.
//!
//! TLS 1.2 and 1.3 with ring, named explicitly: no process-wide provider is installed. Sessions are never resumed, so
//! certificates are checked at each connection, and without resumption there is no early data.

mod error;
mod files;
mod names;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use lsm_store::clock::Clock;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, InconsistentKeys, RootCertStore, ServerConfig, ServerConnection};

use crate::access::Principal;
pub use error::{Part, TlsError};
pub use files::{ClientTlsFiles, TlsFiles};

/// A listener's side of TLS. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    asks_clients: bool,
}

impl Tls {
    /// Reads the files. What they hold later counts for the next call.
    ///
    /// # Errors
    /// [`TlsError`] says which file is wrong and how.
    pub fn load(files: &TlsFiles, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (chain, key) = (files::chain(&files.certificate)?, files::private_key(&files.key)?);
        let verifier = files.client_authorities()?.map(|roots| client_verifier(roots, &provider)).transpose()?;
        let builder = ServerConfig::builder_with_details(provider, Arc::new(WallClock(clock)))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), asks_clients: files.client_authorities.is_some() })
    }

    /// True if clients have to show a certificate.
    #[must_use]
    pub fn asks_clients(&self) -> bool {
        self.asks_clients
    }

    pub(crate) fn accept(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(Arc::clone(&self.config))
    }

    /// Who the client with these certificates is; they have been verified.
    pub(crate) fn principal(&self, certificates: Option<&[CertificateDer<'_>]>) -> Principal {
        match certificates {
            Some([own, ..]) => Principal::Certified(names::names(own)),
            _ => Principal::Anonymous,
        }
    }
}

fn unusable(error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch,
        other => TlsError::Unusable(other),
    }
}

/// A client's side of TLS. Clones are the same.
#[derive(Clone, Debug)]
pub struct ClientTls(Arc<ClientConfig>);

impl ClientTls {
    /// Reads the files. What they hold later counts for the next call.
    ///
    /// # Errors
    /// As [`Tls::load`].
    pub fn load(files: &ClientTlsFiles, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let roots = files::authorities(&files.authorities)?;
        let (chain, key) = (files::chain(&files.certificate)?, files::private_key(&files.key)?);
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_details(provider, Arc::new(WallClock(clock)))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(unusable)?;
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn connect(&self, server: ServerName<'static>) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.0), server)
    }
}

fn client_verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(TlsError::Authorities)
}

/// The time by which certificates are checked.
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
