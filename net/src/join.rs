//! How a new node becomes one of the cluster: a token, shown once to a node that has the authority's key.
//!
//! Specified in `docs/protocol.md`, "Joining". The token pins the authority, so the new node knows whom it talks to; it
//! holds a secret, so the cluster knows that the new node was invited. The proof of the secret is bound to the TLS
//! session and to the new node's key: it is worth nothing to whoever sees or relays it.

mod admission;
mod base32;
mod error;
mod exchange;
mod store;
#[cfg(test)]
mod tests;
mod token;

pub use admission::Admission;
pub use error::{JoinError, Refusal, TokenError};
pub(crate) use exchange::Binding;
pub(crate) use exchange::encode_answer;
pub use exchange::{JoinRequest, Joined, decode_answer};
pub(crate) use store::ATTEMPTS_MAX;
pub use store::{Admitted, Applicant, MemoryTokens, TokenStore};
pub use token::{Token, TokenId, TokenKey};

/// The protocol of joining, as TLS negotiates it.
pub(crate) const JOIN_PROTOCOL: &[u8] = b"siltstone-join/1";
