//! The files of the cluster's folder: a few byte strings behind a header, with a checksum over all of it.
//!
//! Layout in `docs/protocol.md`, "Files". Key and certificate share a file, so that replacing one is replacing both.

use crc_fast::{CrcAlgorithm, Digest};
use zeroize::Zeroizing;

use super::ClusterId;
use super::error::Error;

const MAGIC: [u8; 8] = *b"SiltIden";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// What the two kinds of file hold.
pub(super) struct Stored {
    /// The cluster they belong to.
    pub(super) cluster: ClusterId,
    /// PKCS #8 of the private key.
    pub(super) key: Zeroizing<Vec<u8>>,
    /// The certificate of the key, X.509 DER.
    pub(super) certificate: Vec<u8>,
    /// The authority's certificate, X.509 DER; the same as `certificate` in the authority's own file.
    pub(super) authority: Vec<u8>,
}

impl Stored {
    /// The file's bytes.
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.cluster.0);
        for part in [&self.key[..], &self.certificate, &self.authority] {
            let len = u32::try_from(part.len()).expect("keys and certificates are short");
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.extend_from_slice(part);
        }
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads what [`Self::encode`] gave; `name` is the file's, for messages.
    pub(super) fn decode(name: &'static str, bytes: &[u8]) -> Result<Self, Error> {
        let damaged = |what| Error::Damaged { name, what };
        if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES || bytes[..8] != MAGIC {
            return Err(damaged("it is too short or of another kind"));
        }
        let found = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if found != VERSION {
            return Err(Error::Version { name, found });
        }
        let (body, sum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if sum != checksum(body).to_le_bytes() {
            return Err(damaged("its checksum is wrong"));
        }
        let mut cluster = [0; 16];
        cluster.copy_from_slice(&body[16..HEADER_BYTES]);
        let mut rest = &body[HEADER_BYTES..];
        let mut part = || take_part(&mut rest).ok_or(damaged("a part ends beyond it"));
        let (key, certificate, authority) = (part()?, part()?, part()?);
        if !rest.is_empty() {
            return Err(damaged("bytes follow its last part"));
        }
        Ok(Self {
            cluster: ClusterId(cluster),
            key: Zeroizing::new(key.to_vec()),
            certificate: certificate.to_vec(),
            authority: authority.to_vec(),
        })
    }
}

fn take_part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk::<4>()?;
    let (part, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *rest = after;
    Some(part)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(bytes);
    digest.finalize() as u32
}
