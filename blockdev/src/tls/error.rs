//! What can be wrong with certificates of one's own.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;
use rustls::server::VerifierBuilderError;

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// One's own certificate, with those between it and a root.
    Certificate,
    /// Its private key.
    Key,
    /// The authorities that certify the other end.
    Authorities,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "private key",
            Self::Authorities => "certificate of an authority",
        })
    }
}

/// Files that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("cannot read the {part} in {}", .file.display())]
    Read {
        /// What it is for.
        part: Part,
        /// Its path.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A key that is no secret.
    #[error("everybody can read or change the private key in {}: take that away with `chmod o=`", .0.display())]
    KeyExposed(PathBuf),
    /// A file with a damaged PEM section.
    #[error("{} is not PEM", .file.display())]
    Pem {
        /// Its path.
        file: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// A file with PEM of other kinds only, or none.
    #[error("{} holds no {part} in PEM", .file.display())]
    Missing {
        /// What it is for.
        part: Part,
        /// Its path.
        file: PathBuf,
    },
    /// Something that is no authority's certificate.
    #[error("{} holds what is no certificate of an authority", .file.display())]
    Authority {
        /// Its path.
        file: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// Authorities that clients cannot be checked against.
    #[error("clients cannot be checked against these authorities")]
    Authorities(#[source] VerifierBuilderError),
    /// A key of another certificate.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// A certificate or key of a kind that is not known.
    #[error("the certificate and its key cannot be used")]
    Unusable(#[source] rustls::Error),
}
