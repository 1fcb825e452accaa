//! A node's key and certificate, and the file that holds them.

use std::fmt;
use std::io;
use std::time::Duration;

use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use zeroize::Zeroizing;

use super::authority::{Authority, Issued, RENEW_BEFORE_EXPIRY};
use super::error::Error;
use super::folder::Folder;
use super::stored::Stored;
use super::verifier::{Fingerprint, expiry, verify_chain};
use super::{ClusterId, NodeId, peer_node};
use crate::environment::Rng;

/// The file with a node's key and certificate.
pub(super) const NODE_FILE: &str = "node";

/// The file with those that are to take their place.
const NEXT_FILE: &str = "node-next";

/// The file with the certificate of the authority that was in force before.
const FORMER_FILE: &str = "authority-former";

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl PublicKey {
    /// True if `signature` was made of `message` with the private half.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        webpki::ring::ED25519.verify_signature(&self.0, message, signature).is_ok()
    }
}

/// A node's key before there is a certificate for it. Made by the operating system's randomness.
pub struct NodeKey(KeyPair);

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeKey").finish_non_exhaustive()
    }
}

impl NodeKey {
    /// A new key.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self(KeyPair::generate_for(&PKCS_ED25519)?))
    }

    /// The public half.
    ///
    /// # Panics
    /// Never: Ed25519 keys have 32 bytes.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key_raw().try_into().expect("Ed25519 keys have 32 bytes"))
    }

    /// A signature of `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message)?)
    }

    /// What the node speaks with from here on: this key and the certificate `issued` for it.
    ///
    /// # Errors
    /// [`Error::Untrusted`] or [`Error::Name`] if the certificate is not one of this authority for this node, cluster,
    /// key and `now`.
    pub fn with_certificate(self, issued: Issued, now: Duration) -> Result<Credentials, Error> {
        Credentials::checked(
            Stored {
                cluster: issued.cluster,
                key: Zeroizing::new(self.0.serialize_der()),
                certificate: issued.certificate,
                authority: issued.authority,
            },
            Some((issued.node, now)),
        )
    }
}

/// A node's key, its certificate and that of the authority.
#[derive(Clone)]
pub struct Credentials {
    cluster: ClusterId,
    node: NodeId,
    key: Zeroizing<Vec<u8>>,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
    expires: Duration,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("cluster", &self.cluster).field("node", &self.node).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads what [`Self::store`] wrote; `None` if this folder is of no cluster. An expired certificate is read too.
    pub fn load(folder: &dyn Folder) -> Result<Option<Self>, Error> {
        Self::load_file(folder, NODE_FILE)
    }

    /// Reads what [`Self::store_next`] wrote last, also if it has taken the place of the older ones since; `None` if nothing was.
    pub fn load_next(folder: &dyn Folder) -> Result<Option<Self>, Error> {
        Self::load_file(folder, NEXT_FILE)
    }

    fn load_file(folder: &dyn Folder, name: &'static str) -> Result<Option<Self>, Error> {
        let bytes = folder.read(name).map_err(|source| Error::Io { name, source })?;
        let Some(bytes) = bytes else { return Ok(None) };
        Self::checked(Stored::decode(name, &bytes)?, None).map(Some)
    }

    /// Writes them for the first time.
    ///
    /// # Errors
    /// [`Error::Exists`] if the folder belongs to a node already.
    pub fn store(&self, folder: &dyn Folder) -> Result<(), Error> {
        folder.create(NODE_FILE, &self.encode()).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { name: NODE_FILE },
            _ => Error::Io { name: NODE_FILE, source },
        })
    }

    /// Writes them in place of older ones of the same node.
    ///
    /// # Errors
    /// [`Error::Name`] if the folder belongs to another node or cluster.
    pub fn store_renewed(&self, folder: &dyn Folder) -> Result<(), Error> {
        if let Some(old) = Self::load(folder)?
            && (old.cluster, old.node) != (self.cluster, self.node)
        {
            return Err(Error::Name { found: format!("{} of cluster {}", old.node, old.cluster) });
        }
        folder.replace(NODE_FILE, &self.encode()).map_err(|source| Error::Io { name: NODE_FILE, source })
    }

    /// Writes them beside those that count, until the cluster knows their key.
    pub fn store_next(&self, folder: &dyn Folder) -> Result<(), Error> {
        folder.replace(NEXT_FILE, &self.encode()).map_err(|source| Error::Io { name: NEXT_FILE, source })
    }

    /// Notes the certificate of the authority that signed these, to be trusted on when another has signed the next ones.
    pub fn store_former_authority(&self, folder: &dyn Folder) -> Result<(), Error> {
        let (certificate, authority) = (self.authority.to_vec(), self.authority.to_vec());
        let stored = Stored { cluster: self.cluster, key: Zeroizing::default(), certificate, authority };
        folder.replace(FORMER_FILE, &stored.encode()).map_err(|source| Error::Io { name: FORMER_FILE, source })
    }

    /// Reads what [`Self::store_former_authority`] wrote, X.509 DER; `None` if there is nothing, or it was forgotten.
    pub fn load_former_authority(folder: &dyn Folder) -> Result<Option<Vec<u8>>, Error> {
        let bytes = folder.read(FORMER_FILE).map_err(|source| Error::Io { name: FORMER_FILE, source })?;
        bytes.map(|bytes| Ok(Stored::decode(FORMER_FILE, &bytes)?.authority)).transpose()
    }

    /// Removes what [`Self::store_former_authority`] wrote, if anything.
    pub fn forget_former_authority(folder: &dyn Folder) -> Result<(), Error> {
        folder.remove(FORMER_FILE).map_err(|source| Error::Io { name: FORMER_FILE, source })
    }

    /// The same key with a new certificate, valid from `now` on, by the authority that signed these or another of the cluster.
    pub fn reissued(&self, authority: &Authority, now: Duration, rng: &dyn Rng) -> Result<Self, Error> {
        let Issued { cluster, node, certificate, authority } =
            authority.issue(self.node, self.public_key()?, now, rng)?;
        Self::checked(Stored { cluster, key: self.key.clone(), certificate, authority }, Some((node, now)))
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let Self { cluster, key, certificate, authority, .. } = self;
        let (certificate, authority) = (certificate.to_vec(), authority.to_vec());
        Stored { cluster: *cluster, key: key.clone(), certificate, authority }.encode()
    }

    /// Puts the parts together; checks the certificate if it is `expected` to be of a node and valid at a time.
    fn checked(stored: Stored, expected: Option<(NodeId, Duration)>) -> Result<Self, Error> {
        let certificate = CertificateDer::from(stored.certificate);
        let authority = CertificateDer::from(stored.authority);
        let node = peer_node(stored.cluster, &certificate)?;
        let public = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(&stored.key[..]), &PKCS_ED25519)?;
        let parsed = webpki::EndEntityCert::try_from(&certificate).map_err(Error::Untrusted)?;
        if *parsed.subject_public_key_info() != public.subject_public_key_info()[..] {
            return Err(Error::Name { found: "another node's key".to_owned() });
        }
        if let Some((expected, now)) = expected {
            verify_chain(&certificate, &authority, UnixTime::since_unix_epoch(now), webpki::KeyUsage::client_auth())?;
            if node != expected {
                return Err(Error::Name { found: format!("node {node}") });
            }
        }
        let expires = expiry(&certificate, &authority)?;
        Ok(Self { cluster: stored.cluster, node, key: stored.key, certificate, authority, expires })
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The public half of its key.
    ///
    /// # Errors
    /// If the key is none; it was checked when this was made.
    pub fn public_key(&self) -> Result<PublicKey, Error> {
        Ok(NodeKey(KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(&self.key[..]), &PKCS_ED25519)?)
            .public())
    }

    /// When the certificate expires, since the Unix epoch.
    #[must_use]
    pub fn expires(&self) -> Duration {
        self.expires
    }

    /// Whether the certificate holds at `now`: it may have expired, or have been made by a clock that was ahead.
    #[must_use]
    pub fn is_valid(&self, now: Duration) -> bool {
        let now = UnixTime::since_unix_epoch(now);
        verify_chain(&self.certificate, &self.authority, now, webpki::KeyUsage::client_auth()).is_ok()
    }

    /// When to make the next one, since the Unix epoch.
    #[must_use]
    pub fn renew_at(&self) -> Duration {
        self.expires.saturating_sub(RENEW_BEFORE_EXPIRY)
    }

    /// The fingerprint of the authority, as tokens pin it.
    #[must_use]
    pub fn authority_fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.authority)
    }

    /// The certificate of the authority, X.509 DER.
    #[must_use]
    pub fn authority_certificate(&self) -> &[u8] {
        &self.authority
    }

    pub(super) fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    /// What a handshake shows: the node's certificate, then the authority's, which a joining node pins.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone(), self.authority.clone()]
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.to_vec()))
    }

    /// A secret of this key for another purpose.
    pub(crate) fn derived_key(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(purpose, &self.key))
    }
}
