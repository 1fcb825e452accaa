//! An authority with the certificates it gives, in a directory of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use lsm_store::clock::SystemClock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::{ClientTls, ClientTlsFiles, Tls, TlsFiles};

pub(crate) struct Authority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// An authority that has certified the server `localhost`.
    pub(crate) fn new(test: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("silt-tls-{}-{test}", std::process::id()));
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

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes `FILE.pem` and `FILE.key`.
    pub(crate) fn certify(&self, file: &str, common_name: &str, names: &[&str]) {
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
    pub(crate) fn files(&self, clients: Option<&Self>) -> TlsFiles {
        TlsFiles {
            certificate: self.file("server.pem"),
            key: self.file("server.key"),
            client_authorities: clients.map(|authority| authority.file("ca.pem")),
        }
    }

    pub(crate) fn tls(&self, clients: Option<&Self>) -> Tls {
        Tls::load(&self.files(clients), Arc::new(SystemClock::new())).unwrap()
    }

    /// The files of a client that believes this authority and has the certificate in `FILE.pem` of `own`.
    pub(crate) fn client_files(&self, own: &Self, file: &str) -> ClientTlsFiles {
        ClientTlsFiles {
            authorities: self.file("ca.pem"),
            certificate: own.file(&format!("{file}.pem")),
            key: own.file(&format!("{file}.key")),
        }
    }

    pub(crate) fn client_tls(&self, own: &Self, file: &str) -> ClientTls {
        ClientTls::load(&self.client_files(own, file), Arc::new(SystemClock::new())).unwrap()
    }

    /// A client that trusts this authority and shows the certificate in `FILE.pem` of `own`.
    pub(crate) fn client(
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
