//! The checks of a handshake.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible, SignatureScheme,
};
use webpki::KeyUsage;

use super::error::Error;
use super::name::server_name;
use super::{Allowed, ClusterId, NodeId, peer_node};

/// Names a cluster's authority in a token: the BLAKE3-256 of its certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// That of an authority's certificate, X.509 DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(*blake3::hash(certificate).as_bytes())
    }
}

/// Checks that `authority` signed `certificate`, for this use, valid at `now`.
pub(crate) fn verify_chain(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'_>,
    now: UnixTime,
    usage: KeyUsage,
) -> Result<(), Error> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(Error::Untrusted)?;
    let anchor = webpki::anchor_from_trusted_cert(authority).map_err(Error::Untrusted)?;
    parsed
        .verify_for_usage(&[webpki::ring::ED25519], &[anchor], &[], now, usage, None, None)
        .map(|_| ())
        .map_err(Error::Untrusted)
}

/// When a certificate expires, since the Unix epoch: what the check says about it at the end of time.
pub(super) fn expiry(certificate: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> Result<Duration, Error> {
    let end = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    match verify_chain(certificate, authority, end, KeyUsage::client_auth()) {
        Err(Error::Untrusted(webpki::Error::CertExpired { not_after, .. })) => {
            Ok(Duration::from_secs(not_after.as_secs()))
        }
        Err(other) => Err(other),
        Ok(()) => Ok(Duration::from_secs(u64::MAX)),
    }
}

/// The key of a certificate, as a SubjectPublicKeyInfo.
pub(crate) fn key_info(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, Error> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(Error::Untrusted)?;
    Ok(parsed.subject_public_key_info().to_vec())
}

/// What both ends of a connection between nodes check.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) cluster: ClusterId,
    pub(super) authority: CertificateDer<'static>,
    pub(super) allowed: Allowed,
    pub(super) provider: Arc<CryptoProvider>,
}

impl Check {
    /// The node the peer is.
    fn peer(&self, certificate: &CertificateDer<'_>, now: UnixTime, usage: KeyUsage) -> Result<NodeId, rustls::Error> {
        if let Err(error) = verify_chain(certificate, &self.authority, now, usage)
            && !self.allowed.is_signed_by_another(certificate, now, usage)
        {
            return Err(refused(error));
        }
        let node = peer_node(self.cluster, certificate).map_err(refused)?;
        let key_info = key_info(certificate).map_err(refused)?;
        if !self.allowed.permits(node, &key_info) {
            return Err(CertificateError::Revoked.into());
        }
        Ok(node)
    }
}

/// An identity's error as TLS says it.
fn refused(error: Error) -> rustls::Error {
    let error = match error {
        Error::Untrusted(webpki::Error::CertExpired { .. }) => CertificateError::Expired,
        Error::Untrusted(webpki::Error::CertNotValidYet { .. }) => CertificateError::NotValidYet,
        Error::Untrusted(webpki::Error::UnknownIssuer) => CertificateError::UnknownIssuer,
        Error::Name { .. } => CertificateError::NotValidForName,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    };
    error.into()
}

fn no_tls12() -> rustls::Error {
    PeerIncompatible::Tls13RequiredForQuic.into()
}

/// What every check answers alike: TLS 1.3 only, signed by Ed25519 only.
macro_rules! signatures {
    ($self:ident, $provider:expr) => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Err(no_tls12())
        }

        fn verify_tls13_signature(
            &$self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(message, certificate, signed, &$provider.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }
    };
}

/// The listening side: a client without a certificate may only join, which is seen by its protocol afterwards.
#[derive(Debug)]
pub(super) struct ClientCheck(pub(super) Check);

impl ClientCertVerifier for ClientCheck {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.peer(end_entity, now, KeyUsage::client_auth()).map(|_| ClientCertVerified::assertion())
    }

    signatures!(self, self.0.provider);
}

/// The dialling side.
#[derive(Debug)]
pub(super) struct ServerCheck(pub(super) Check);

/// The dialling side of a node that is about to join: it knows the authority's fingerprint and nobody's name.
#[derive(Debug)]
pub(super) struct PinnedCheck {
    pub(super) authority: Fingerprint,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates.iter().find(|certificate| Fingerprint::of(certificate) == self.authority);
        let authority = authority.ok_or(CertificateError::UnknownIssuer)?;
        verify_chain(end_entity, authority, now, KeyUsage::server_auth()).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!(self, self.provider);
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let node = self.0.peer(end_entity, now, KeyUsage::server_auth())?;
        if *name != server_name(self.0.cluster, node) {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    signatures!(self, self.0.provider);
}
