//! Who may speak: the cluster's certificate authority, the nodes' certificates, and the set of nodes allowed now.
//!
//! Specified in `docs/protocol.md`, "Identity". Invariants:
//! - a certificate names one node of one cluster, and both ends of every connection check it against the authority,
//!   the cluster and what is [`Allowed`]: the node, and its key where that is known; a dialler also against the node it meant;
//! - no session is ever resumed and no data is sent before the handshake is done, so the check is never skipped;
//! - private keys are in files only their owner can read, and in memory that is wiped.

mod allowed;
mod authority;
mod credentials;
mod error;
mod folder;
mod handing;
mod name;
mod stored;
#[cfg(test)]
mod tests;
mod tls;
mod verifier;

pub use crate::id::{ClusterId, NodeId};
pub use allowed::Allowed;
pub use authority::{Authority, Issued, NODE_VALIDITY, RENEW_BEFORE_EXPIRY};
pub use credentials::{Credentials, NodeKey, PublicKey};
pub use error::Error;
pub use folder::{Directory, Folder, MemoryFolder};
pub use handing::{AUTHORITY, NEXT_AUTHORITY, ask_authority, ask_next_authority, hand_authority, take_authority};
pub(crate) use name::{node_name, peer_node};
pub(crate) use tls::{Tls, pinned_tls};
pub use verifier::Fingerprint;
pub(crate) use verifier::key_info;
