//! The envelope: what every message between nodes travels in.
//!
//! Specified in `docs/protocol.md`, "Envelope". A header of 16 bytes says version, kind and length and has a checksum
//! over itself and the body. A length is checked against the limit of its kind before memory is taken, the checksum
//! before the body is looked into; a body is an `rkyv` archive of one frozen type per version, read by checked access only.

mod body;
mod error;
mod header;
mod hello;
mod kind;
#[cfg(test)]
mod tests;
mod version;

pub use body::{Checked, decode_body, encode_body};
pub use error::Error;
pub use header::{HEADER_BYTES, Header};
pub use hello::{Hello, Opening, Welcome};
pub use kind::{Family, Kind};
pub use version::{LINK_VERSION, VERSION, Versions};

use bytes::Bytes;

/// What one node tells another: a kind, and the body that is meant by it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Its body as on the wire, at most [`Kind::body_bytes_max`] long.
    pub body: Bytes,
}

impl Message {
    /// A message of these parts.
    #[must_use]
    pub fn new(kind: Kind, body: impl Into<Bytes>) -> Self {
        Self { kind, body: body.into() }
    }

    /// Bytes it takes on the wire.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }
}

/// Takes one message from the front of `bytes`; gives it and what follows.
///
/// # Errors
/// [`Error::Short`] if bytes are missing; any other error means the stream is of no further use.
pub fn take(bytes: &[u8], version: u16) -> Result<(Message, &[u8]), Error> {
    let (head, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Error::Short)?;
    let header = Header::decode(head, version)?;
    let (body, rest) = rest.split_at_checked(header.body_bytes()).ok_or(Error::Short)?;
    header.check(body)?;
    Ok((Message::new(header.kind(), body.to_vec()), rest))
}
