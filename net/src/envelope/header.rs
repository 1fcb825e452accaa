//! The header of a message.
//!
//! | Offset | Bytes | |
//! |---|---|---|
//! | 0 | 4 | `SltM` |
//! | 4 | 2 | version of the messages |
//! | 6 | 2 | kind |
//! | 8 | 4 | length of the body |
//! | 12 | 4 | CRC-32C of the 12 bytes before and the body |

use crc_fast::{CrcAlgorithm, Digest};

use super::error::Error;
use super::kind::{Family, Kind};
use super::version::LINK_VERSION;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 16;

const MAGIC: [u8; 4] = *b"SltM";

/// A header that was decoded and whose length is within its kind's limit. The body is not checked yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    kind: Kind,
    body_bytes: u32,
    register: u64,
    checksum: u32,
}

impl Header {
    /// The header of a message with this body.
    ///
    /// # Errors
    /// [`Error::Kind`] or [`Error::TooLong`] if there can be no such message.
    pub fn encode(version: u16, kind: Kind, body: &[u8]) -> Result<[u8; HEADER_BYTES], Error> {
        let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        check_length(kind, body_bytes)?;
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&version_of(kind, version).to_le_bytes());
        bytes[6..8].copy_from_slice(&kind.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&body_bytes.to_le_bytes());
        let checksum = checksum(register(&bytes), body);
        bytes[12..].copy_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// Reads a header of the `agreed` version.
    pub fn decode(bytes: &[u8; HEADER_BYTES], agreed: u16) -> Result<Self, Error> {
        if bytes[..4] != MAGIC {
            return Err(Error::Magic);
        }
        let found = u16::from_le_bytes([bytes[4], bytes[5]]);
        let kind = Kind(u16::from_le_bytes([bytes[6], bytes[7]]));
        let body_bytes = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        check_length(kind, body_bytes)?;
        let agreed = version_of(kind, agreed);
        if found != agreed {
            return Err(Error::Version { found, agreed });
        }
        let checksum = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        Ok(Self { kind, body_bytes, register: register(bytes), checksum })
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Length of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body_bytes as usize
    }

    /// Checks header and body against the checksum. Neither means anything before.
    pub fn check(&self, body: &[u8]) -> Result<(), Error> {
        // A fuzzer never guesses a checksum: in its builds, which nothing else uses, all of them are right.
        if cfg!(fuzzing) || checksum(self.register, body) == self.checksum {
            return Ok(());
        }
        Err(Error::Checksum)
    }
}

fn check_length(kind: Kind, body_bytes: u32) -> Result<(), Error> {
    let family = kind.family().ok_or(Error::Kind(kind.0))?;
    let max = family.body_bytes_max();
    if body_bytes > max {
        return Err(Error::TooLong { found: body_bytes, max });
    }
    Ok(())
}

/// Messages that precede the agreement have a version of their own.
fn version_of(kind: Kind, agreed: u16) -> u16 {
    match kind.family() {
        Some(Family::Link | Family::Join) => LINK_VERSION,
        _ => agreed,
    }
}

/// The checksum's state after the header.
fn register(header: &[u8; HEADER_BYTES]) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&header[..12]);
    digest.get_state()
}

fn checksum(register: u64, body: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, register);
    digest.update(body);
    digest.finalize() as u32
}
