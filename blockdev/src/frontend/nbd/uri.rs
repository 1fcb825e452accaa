//! NBD URIs: `nbd://host:port/export` and `nbd+unix:///export?socket=path`.
//!
//! Specification: `doc/uri.md` of <https://github.com/NetworkBlockDevice/nbd>.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use super::wire::PORT;

#[cfg(test)]
mod tests;

/// Where a server is.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// A name or address, and a port.
    Tcp {
        /// Host name or address, an IPv6 address without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Where an export is.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct NbdUri {
    /// The server.
    pub endpoint: Endpoint,
    /// The export's name; the default one's is empty.
    pub export: String,
}

/// Text that is no NBD URI, or one this client cannot use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// Another scheme than `nbd` or `nbd+unix`.
    #[error("an NBD URI starts with nbd:// or nbd+unix://")]
    Scheme,
    /// `nbds`: TLS is asked for.
    #[error("TLS is not supported")]
    Tls,
    /// `nbd+unix` without `?socket=`.
    #[error("a nbd+unix URI names its socket with ?socket=")]
    NoSocket,
    /// A bad host or port.
    #[error("the host or port is malformed")]
    Authority,
    /// A bad percent escape, or escaped bytes that are not UTF-8.
    #[error("an escaped character is malformed")]
    Escape,
}

impl FromStr for NbdUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let (scheme, rest) = uri.split_once("://").ok_or(UriError::Scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let endpoint = match scheme {
            "nbd" => tcp_endpoint(authority)?,
            "nbd+unix" if authority.is_empty() => unix_endpoint(query)?,
            "nbd+unix" => return Err(UriError::Authority),
            "nbds" | "nbds+unix" => return Err(UriError::Tls),
            _ => return Err(UriError::Scheme),
        };
        Ok(Self { endpoint, export: unescape(path)? })
    }
}

fn tcp_endpoint(authority: &str) -> Result<Endpoint, UriError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').ok_or(UriError::Authority)?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| UriError::Authority)?,
        None if port.is_empty() => PORT,
        None => return Err(UriError::Authority),
    };
    if host.contains(['@', '#']) {
        return Err(UriError::Authority);
    }
    let host = if host.is_empty() { "localhost" } else { host };
    Ok(Endpoint::Tcp { host: host.to_owned(), port })
}

fn unix_endpoint(query: &str) -> Result<Endpoint, UriError> {
    let socket = query.split('&').find_map(|parameter| parameter.strip_prefix("socket="));
    let socket = unescape(socket.filter(|socket| !socket.is_empty()).ok_or(UriError::NoSocket)?)?;
    Ok(Endpoint::Unix(socket.into()))
}

fn unescape(text: &str) -> Result<String, UriError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or(UriError::Escape)?;
        rest = after;
        let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(UriError::Escape);
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
    }
    String::from_utf8(bytes).map_err(|_| UriError::Escape)
}

/// `text` with everything escaped that means something in a URI, slashes excepted.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                f.write_char(char::from(byte))
            }
            other => write!(f, "%{other:02X}"),
        })
    }
}

impl fmt::Display for NbdUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let export = Escaped(&self.export);
        match &self.endpoint {
            Endpoint::Unix(path) => write!(f, "nbd+unix:///{export}?socket={}", Escaped(&path.to_string_lossy())),
            Endpoint::Tcp { port: PORT, host } if !host.contains(':') => write!(f, "nbd://{host}/{export}"),
            endpoint => write!(f, "nbd://{endpoint}/{export}"),
        }
    }
}
