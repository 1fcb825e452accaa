//! Why an identity cannot be made, read or renewed.

use std::io;

/// An identity that is not there or not sound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing the cluster's folder failed.
    #[error("the folder of the cluster's keys failed at {name}")]
    Io {
        /// The file.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what was written: restore it from a backup, or join the cluster again.
    #[error("{name} of the cluster's folder is damaged: {what}")]
    Damaged {
        /// The file.
        name: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A newer program wrote the file: use that one.
    #[error("{name} of the cluster's folder has format {found}, this program reads 1")]
    Version {
        /// The file.
        name: &'static str,
        /// Its format.
        found: u32,
    },
    /// The file is there already: this directory belongs to a cluster.
    #[error("this data directory belongs to a cluster already ({name} exists)")]
    Exists {
        /// The file.
        name: &'static str,
    },
    /// A key or certificate could not be made.
    #[error("a certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    /// A certificate is not one this cluster's authority signed for this use and time.
    #[error("a certificate does not hold")]
    Untrusted(#[source] webpki::Error),
    /// A certificate has no name of the form a node's has, or that of another node or cluster.
    #[error("a certificate names another node or cluster: {found}")]
    Name {
        /// What it names.
        found: String,
    },
    /// TLS refuses key and certificate.
    #[error("TLS does not take this node's key and certificate")]
    Tls(#[from] rustls::Error),
}
