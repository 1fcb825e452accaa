//! PEM files, read once.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::{Part, TlsError};

/// Bytes of one file; all authorities of the world take a quarter of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a listener's certificates are, in PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// Its certificate, then those between it and a root that clients trust.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1. Not for everybody to read.
    pub key: PathBuf,
    /// The authorities whose certificates clients have to show; nobody has to show one if absent.
    pub client_authorities: Option<PathBuf>,
}

impl TlsFiles {
    pub(super) fn client_authorities(&self) -> Result<Option<RootCertStore>, TlsError> {
        self.client_authorities.as_deref().map(authorities).transpose()
    }
}

/// Where a client's certificates are, in PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientTlsFiles {
    /// The authorities that it believes about servers.
    pub authorities: PathBuf,
    /// Its own certificate, then those between it and a root that servers trust.
    pub certificate: PathBuf,
    /// Its private key, as in [`TlsFiles::key`].
    pub key: PathBuf,
}

pub(super) fn authorities(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(Part::Authorities, file)? {
        roots.add(certificate).map_err(|source| TlsError::Authority { file: file.to_owned(), source })?;
    }
    Ok(roots)
}

pub(super) fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates(Part::Certificate, file)
}

pub(super) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(Part::Key, file)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::Missing { part: Part::Key, file: file.to_owned() },
        source => TlsError::Pem { file: file.to_owned(), source },
    })
}

fn certificates(part: Part, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(part, file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::Missing { part, file: file.to_owned() }),
        Ok(certificates) => Ok(certificates),
        Err(source) => Err(TlsError::Pem { file: file.to_owned(), source }),
    }
}

fn read(part: Part, file: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let fail = |source| TlsError::Read { part, file: file.to_owned(), source };
    let opened = File::open(file).map_err(fail)?;
    // Of the opened file, so that it is the one that is read.
    let mode = opened.metadata().map_err(fail)?.permissions().mode();
    if part == Part::Key && mode & 0o006 != 0 {
        return Err(TlsError::KeyExposed(file.to_owned()));
    }
    // Made large at once: growing would leave copies of a key behind.
    let mut pem = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut pem).map_err(fail)?;
    if pem.len() as u64 > FILE_BYTES_MAX { Err(fail(io::ErrorKind::FileTooLarge.into())) } else { Ok(pem) }
}
