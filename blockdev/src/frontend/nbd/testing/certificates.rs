//! An authority with the certificates it gives, in a directory of its own, and clients that show them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lsm_store::clock::SystemClock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::Raw;
use crate::frontend::nbd::tls::{Tls, TlsFiles};
use crate::frontend::nbd::wire::{OptionCode, OptionReply};

/// A stream under TLS.
pub(in crate::frontend::nbd) type Secured = StreamOwned<ClientConnection, TcpStream>;

pub(in crate::frontend::nbd) struct Authority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// An authority that has certified the server `localhost`.
    pub(in crate::frontend::nbd) fn new(test: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("silt-nbd-tls-{}-{test}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority of {test}"));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { directory, issuer };
        fs::write(authority.file("ca.pem"), authority.issuer.pem()).unwrap();
        authority.certify("server", "server", &["localhost"]);
        authority
    }

    pub(in crate::frontend::nbd) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes `FILE.pem` and `FILE.key`.
    pub(in crate::frontend::nbd) fn certify(&self, file: &str, common_name: &str, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.file(&format!("{file}.pem")), certificate.pem()).unwrap();
        let path = self.file(&format!("{file}.key"));
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The server's files; clients need a certificate of `clients` if that is given.
    pub(in crate::frontend::nbd) fn files(&self, clients: Option<&Self>) -> TlsFiles {
        TlsFiles {
            certificate: self.file("server.pem"),
            key: self.file("server.key"),
            client_authorities: clients.map(|authority| authority.file("ca.pem")),
        }
    }

    pub(in crate::frontend::nbd) fn tls(&self, clients: Option<&Self>) -> Tls {
        Tls::load(&self.files(clients), Arc::new(SystemClock::new())).unwrap()
    }

    /// A client that trusts this authority and shows the certificate in `FILE.pem` of `own`.
    pub(in crate::frontend::nbd) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<(&Self, &str)>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let Some((authority, file)) = own else { return builder.with_no_client_auth() };
        let certificate = CertificateDer::from_pem_file(authority.file(&format!("{file}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(authority.file(&format!("{file}.key"))).unwrap();
        builder.with_client_auth_cert(vec![certificate], key).unwrap()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Raw<Secured> {
    /// Past STARTTLS; the TLS handshake is done when something is said.
    pub(in crate::frontend::nbd) fn secure(address: SocketAddr, config: ClientConfig) -> Self {
        let mut clear = Raw::greet(TcpStream::connect(address).unwrap());
        clear.stream.set_nodelay(true).unwrap();
        // A stall is a failed test, not one that never ends.
        clear.stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(clear.option(OptionCode::STARTTLS, &[]), [OptionReply::ACK]);
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        Self { stream: StreamOwned::new(session, clear.stream) }
    }

    /// True if the server does not let it in.
    pub(in crate::frontend::nbd) fn is_refused(&mut self) -> bool {
        let said = self.stream.write_all(&[0]).and_then(|()| self.stream.flush());
        said.and_then(|()| self.stream.read(&mut [0])).is_err()
    }
}
