//! The cluster's certificate authority: its key signs the certificates of all nodes.

use std::fmt;
use std::io;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use zeroize::Zeroizing;

use super::credentials::{Credentials, PublicKey};
use super::error::Error;
use super::folder::Folder;
use super::name::node_name;
use super::stored::Stored;
use super::verifier::{Fingerprint, key_info, verify_chain};
use super::{ClusterId, NodeId};
use crate::environment::{Rng, random};

/// The file with the authority's key.
const AUTHORITY_FILE: &str = "authority";

/// The file with that of the authority which is to take its place.
const NEXT_AUTHORITY_FILE: &str = "authority-next";

/// How long a node's certificate is valid.
pub const NODE_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);

/// How long before its end it is renewed.
pub const RENEW_BEFORE_EXPIRY: Duration = Duration::from_secs(30 * 24 * 3600);

/// How far a certificate's validity starts before the authority's clock, for nodes whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

/// A certificate the authority signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node it is for.
    pub node: NodeId,
    /// The certificate, X.509 DER.
    pub certificate: Vec<u8>,
    /// The authority's own, X.509 DER.
    pub authority: Vec<u8>,
}

/// The authority, on a node that has its key.
pub struct Authority {
    cluster: ClusterId,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Authority {
    /// Founds a cluster: draws its id, makes the authority and stores it.
    ///
    /// # Errors
    /// [`Error::Exists`] if the folder has one already.
    pub fn create(folder: &dyn Folder, rng: &dyn Rng) -> Result<Self, Error> {
        let made = Self::draw(ClusterId(random(rng)), rng)?;
        made.store(folder)?;
        Ok(made)
    }

    /// Another authority for a cluster that there is, in memory only.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn draw(cluster: ClusterId, rng: &dyn Rng) -> Result<Self, Error> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = params(cluster);
        params.serial_number = Some(serial(rng));
        let certificate = params.self_signed(&key)?.der().to_vec();
        let stored =
            Stored { cluster, key: Zeroizing::new(key.serialize_der()), authority: certificate.clone(), certificate };
        Self::from_stored(&stored)
    }

    /// Its certificate, X.509 DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Writes it to a folder that has none.
    ///
    /// # Errors
    /// [`Error::Exists`] if the folder has one already.
    pub fn store(&self, folder: &dyn Folder) -> Result<(), Error> {
        folder.create(AUTHORITY_FILE, &self.encode()).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { name: AUTHORITY_FILE },
            _ => Error::Io { name: AUTHORITY_FILE, source },
        })
    }

    /// Writes it in place of the one before it, whose certificates nobody shows any more.
    pub fn store_in_force(&self, folder: &dyn Folder) -> Result<(), Error> {
        let stored = folder.replace(AUTHORITY_FILE, &self.encode());
        stored.map_err(|source| Error::Io { name: AUTHORITY_FILE, source })
    }

    /// Writes it beside the one in force, until the whole cluster trusts it.
    pub fn store_next(&self, folder: &dyn Folder) -> Result<(), Error> {
        let stored = folder.replace(NEXT_AUTHORITY_FILE, &self.encode());
        stored.map_err(|source| Error::Io { name: NEXT_AUTHORITY_FILE, source })
    }

    /// The bytes of its file, a secret.
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let certificate = self.certificate.to_vec();
        let key = Zeroizing::new(self.issuer.key().serialize_der());
        Stored { cluster: self.cluster, key, authority: certificate.clone(), certificate }.encode()
    }

    /// The authority of these bytes, if it is the one that the certificate is of.
    pub(super) fn decode(bytes: &[u8], certificate: &[u8]) -> Result<Self, Error> {
        let authority = Self::from_stored(&Stored::decode(AUTHORITY_FILE, bytes)?)?;
        let has_key = authority.issuer.key().subject_public_key_info() == key_info(&certificate.into())?;
        if *authority.certificate != *certificate || !has_key {
            return Err(Error::Name { found: "another cluster's authority".to_owned() });
        }
        Ok(authority)
    }

    /// Reads the authority from its folder; `None` if this node does not have it.
    pub fn load(folder: &dyn Folder) -> Result<Option<Self>, Error> {
        Self::load_file(folder, AUTHORITY_FILE)
    }

    /// Reads what [`Self::store_next`] wrote; `None` if there is nothing, or it was forgotten.
    pub fn load_next(folder: &dyn Folder) -> Result<Option<Self>, Error> {
        Self::load_file(folder, NEXT_AUTHORITY_FILE)
    }

    /// Removes what [`Self::store_next`] wrote, if anything.
    pub fn forget_next(folder: &dyn Folder) -> Result<(), Error> {
        folder.remove(NEXT_AUTHORITY_FILE).map_err(|source| Error::Io { name: NEXT_AUTHORITY_FILE, source })
    }

    /// Reads the authority that signed these credentials, which may have been in force or the next; `None` if this node does not have it.
    pub fn load_of(folder: &dyn Folder, credentials: &Credentials) -> Result<Option<Self>, Error> {
        let is_its = |authority: &Self| authority.certificate == *credentials.authority();
        match Self::load(folder)?.filter(is_its) {
            Some(authority) => Ok(Some(authority)),
            None => Ok(Self::load_next(folder)?.filter(is_its)),
        }
    }

    fn load_file(folder: &dyn Folder, name: &'static str) -> Result<Option<Self>, Error> {
        let bytes = folder.read(name).map_err(|source| Error::Io { name, source })?;
        let Some(bytes) = bytes else { return Ok(None) };
        Self::from_stored(&Stored::decode(name, &bytes)?).map(Some)
    }

    fn from_stored(stored: &Stored) -> Result<Self, Error> {
        let key = PrivatePkcs8KeyDer::from(&stored.key[..]);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ED25519)?;
        Ok(Self {
            cluster: stored.cluster,
            issuer: Issuer::new(params(stored.cluster), key),
            certificate: CertificateDer::from(stored.certificate.clone()),
        })
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// What tokens pin.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Signs a certificate that says `key` is `node`'s, valid from `now` (since the Unix epoch) for [`NODE_VALIDITY`].
    ///
    /// The caller has made sure that whoever has the key may be that node: by a token, or because it asked over a
    /// connection as that node.
    pub fn issue(&self, node: NodeId, key: PublicKey, now: Duration, rng: &dyn Rng) -> Result<Issued, Error> {
        let mut params = CertificateParams::new(vec![node_name(self.cluster, node)])?;
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + now.saturating_sub(BACKDATED);
        params.not_after = epoch + (now + NODE_VALIDITY);
        params.serial_number = Some(serial(rng));
        params.distinguished_name = common_name(node_name(self.cluster, node));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        // The issuer's name is built anew at each start; a certificate that does not chain must not leave this node.
        verify_chain(
            &certificate,
            &self.certificate,
            UnixTime::since_unix_epoch(now),
            webpki::KeyUsage::server_auth(),
        )?;
        let (certificate, authority) = (certificate.to_vec(), self.certificate.to_vec());
        Ok(Issued { cluster: self.cluster, node, certificate, authority })
    }
}

/// What the authority's certificate says. It does not expire: it is trusted because it is pinned, and a node because it
/// is in the configuration.
fn params(cluster: ClusterId) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    params.distinguished_name = common_name(format!("siltstone cluster {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn common_name(name: String) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// 126 random bits, positive and of constant length: never the same twice.
fn serial(rng: &dyn Rng) -> SerialNumber {
    let mut bytes: [u8; 16] = random(rng);
    bytes[0] = bytes[0] & 0x3f | 0x40;
    SerialNumber::from_slice(&bytes)
}
