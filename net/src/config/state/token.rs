//! Tokens, each of which lets one node join.

use super::super::id::{NodeId, TokenId};

/// A token. The secret itself is nowhere in the configuration.
#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// BLAKE3-256 of its secret, which is long and random.
    pub secret_hash: [u8; 32],
    /// From then on it lets nobody in; in milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// The node that it let in.
    pub used_by: Option<NodeId>,
}
