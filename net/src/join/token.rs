//! The token, as a person carries it from one node to another.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crc_fast::{CrcAlgorithm, Digest};
use zeroize::Zeroizing;

use super::base32;
use super::error::TokenError;
use crate::environment::{Rng, random};
use crate::identity::Fingerprint;

const FAMILY: &str = "silt";
const PREFIX: &str = "silt1-";

/// Most addresses in a token.
const ADDRESSES_MAX: usize = 8;

/// Longest text that is looked at: a token with eight IPv6 addresses.
const TEXT_BYTES_MAX: usize = 400;

/// Names a token where it is kept.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct TokenId(pub [u8; 8]);

/// What the cluster keeps of a token's secret.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenKey").finish_non_exhaustive()
    }
}

impl TokenKey {
    /// A key that was kept.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// To be kept where only the cluster's nodes can read it.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// An invitation to a cluster. Its [`fmt::Display`] is the secret text itself; its [`fmt::Debug`] is not.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: TokenId,
    secret: Zeroizing<[u8; 16]>,
    authority: Fingerprint,
    addresses: Vec<SocketAddr>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Token {
    /// A new token of a cluster, with up to 8 addresses to reach it at; more are left out. It is worth something once
    /// its id and [`Self::key`] are in the cluster's [`super::TokenStore`].
    #[must_use]
    pub fn draw(authority: Fingerprint, addresses: &[SocketAddr], rng: &dyn Rng) -> Self {
        Self {
            id: TokenId(random(rng)),
            secret: Zeroizing::new(random(rng)),
            authority,
            addresses: addresses.iter().copied().take(ADDRESSES_MAX).collect(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// What the cluster keeps of it.
    #[must_use]
    pub fn key(&self) -> TokenKey {
        TokenKey::new(blake3::derive_key("siltstone 2026-11-26 join token", &*self.secret))
    }

    /// The authority it pins.
    #[must_use]
    pub fn authority(&self) -> Fingerprint {
        self.authority
    }

    /// Where the cluster can be reached.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(256));
        bytes.extend_from_slice(&self.id.0);
        bytes.extend_from_slice(&*self.secret);
        bytes.extend_from_slice(&self.authority.0);
        bytes.push(self.addresses.len() as u8);
        for address in &self.addresses {
            match address.ip() {
                IpAddr::V4(ip) => {
                    bytes.push(4);
                    bytes.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    bytes.push(6);
                    bytes.extend_from_slice(&ip.octets());
                }
            }
            bytes.extend_from_slice(&address.port().to_le_bytes());
        }
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<4>()?;
        if *sum != checksum(body).to_le_bytes() {
            return None;
        }
        let (id, rest) = body.split_first_chunk::<8>()?;
        let (secret, rest) = rest.split_first_chunk::<16>()?;
        let (authority, rest) = rest.split_first_chunk::<32>()?;
        let (count, mut rest) = rest.split_first()?;
        let mut addresses = Vec::new();
        for _ in 0..*count {
            addresses.push(take_address(&mut rest)?);
        }
        let token =
            Self { id: TokenId(*id), secret: Zeroizing::new(*secret), authority: Fingerprint(*authority), addresses };
        (rest.is_empty() && token.addresses.len() <= ADDRESSES_MAX).then_some(token)
    }
}

fn take_address(rest: &mut &[u8]) -> Option<SocketAddr> {
    let (family, after) = rest.split_first()?;
    let (ip, after) = match family {
        4 => after.split_first_chunk::<4>().map(|(ip, after)| (IpAddr::from(*ip), after))?,
        6 => after.split_first_chunk::<16>().map(|(ip, after)| (IpAddr::from(*ip), after))?,
        _ => return None,
    };
    let (port, after) = after.split_first_chunk::<2>()?;
    *rest = after;
    Some(SocketAddr::new(ip, u16::from_le_bytes(*port)))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(bytes);
    digest.finalize() as u32
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", base32::encode(&self.encode()))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let (prefix, digits) = text.split_once('-').ok_or(TokenError::Prefix)?;
        let prefix = prefix.to_ascii_lowercase();
        if format!("{prefix}-") != PREFIX {
            let version = prefix.strip_prefix(FAMILY).is_some_and(|version| version.parse::<u32>().is_ok());
            return Err(if version { TokenError::Version } else { TokenError::Prefix });
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenError::Mistyped);
        }
        let bytes = base32::decode(digits).map(Zeroizing::new).ok_or(TokenError::Mistyped)?;
        Self::decode(&bytes).ok_or(TokenError::Mistyped)
    }
}
