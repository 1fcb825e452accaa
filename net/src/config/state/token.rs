//! Tokens, each of which lets one node join.

use std::fmt;

use crate::id::NodeId;
use crate::identity::PublicKey;
use crate::join::{TokenId, TokenKey};

/// What the proof of a token's secret is checked with, as it is kept. Whoever has it can join, so only members have it.
#[derive(Clone, Copy, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct KeptKey([u8; 32]);

impl fmt::Debug for KeptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptKey").finish_non_exhaustive()
    }
}

impl From<&TokenKey> for KeptKey {
    fn from(key: &TokenKey) -> Self {
        Self(*key.bytes())
    }
}

impl From<KeptKey> for TokenKey {
    fn from(key: KeptKey) -> Self {
        Self::new(key.0)
    }
}

/// A token. The secret itself is nowhere in the configuration.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Token {
    /// Its id, by chance.
    pub id: TokenId,
    /// What a proof of its secret is checked with.
    pub key: KeptKey,
    /// From then on it lets nobody in; in milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// The key of the node that it let in, and the node.
    pub used_by: Option<(PublicKey, NodeId)>,
}
