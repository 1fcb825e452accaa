//! Where NBD clients reach a node, and the URIs that say so
//! (<https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md>).

use std::fmt::Write;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use siltstone::name::ExportName;

/// An address that an NBD server listens on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp(SocketAddr),
    /// A TCP port that serves nothing without TLS.
    Tls(SocketAddr),
}

impl Endpoint {
    /// The URI of a volume or snapshot. Their names need no escapes: a path may hold `@` (RFC 3986, 3.3).
    pub(crate) fn uri(&self, name: &ExportName) -> String {
        match self {
            Self::Unix(path) => format!("nbd+unix:///{name}?socket={}", escape(path)),
            Self::Tcp(address) => format!("nbd://{address}/{name}"),
            Self::Tls(address) => format!("nbds://{address}/{name}"),
        }
    }

    /// The URI of the server, without a volume.
    pub(crate) fn base(&self) -> String {
        match self {
            Self::Unix(path) => format!("nbd+unix:///?socket={}", escape(path)),
            Self::Tcp(address) => format!("nbd://{address}/"),
            Self::Tls(address) => format!("nbds://{address}/"),
        }
    }
}

/// A path as a URI's query may hold it (RFC 3986: unreserved characters and `/` stay).
fn escape(path: &Path) -> String {
    let mut escaped = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
