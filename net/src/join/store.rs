//! Which tokens there are. The cluster's configuration decides, so that a token is used once in all of the cluster.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;

use super::error::Refusal;
use super::token::{TokenId, TokenKey};
use crate::identity::{NodeId, PublicKey};
use crate::transport::Peer;

/// How often a token may be shown. Enough for a node that tries again, too few to guess anything.
pub(crate) const ATTEMPTS_MAX: u32 = 8;

/// A node that wants to be let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applicant {
    /// Its key.
    pub key: PublicKey,
    /// Where it says that it listens.
    pub addresses: Vec<SocketAddr>,
}

/// A node that is let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admitted {
    /// The id it gets, which no node has had before.
    pub node: NodeId,
    /// The nodes of the cluster.
    pub members: Vec<Peer>,
}

/// Keeps the cluster's tokens. Calls may take as long as an agreement of the cluster.
pub trait TokenStore: Send + Sync {
    /// The key of a token, for one attempt to use it; `None` if there is no such token, or it was tried too often.
    fn attempt(&self, token: TokenId) -> Option<TokenKey>;

    /// Uses a token for a node whose proof was found right. For the same key it may be used again
    /// until it expires, with the same result: the answer may have been lost.
    fn redeem(&self, token: TokenId, applicant: &Applicant, now: Duration) -> Result<Admitted, Refusal>;
}

struct Entry {
    key: TokenKey,
    expires: Duration,
    attempts: u32,
    used: Option<(PublicKey, NodeId)>,
}

/// Tokens in memory: of a cluster that has one node with the authority's key, until that is restarted.
pub struct MemoryTokens {
    tokens: Mutex<HashMap<TokenId, Entry>>,
    last_node: Mutex<NodeId>,
    members: Box<dyn Fn() -> Vec<Peer> + Send + Sync>,
}

impl MemoryTokens {
    /// No tokens yet. Nodes get the ids after `last_node`; `members` says who is in the cluster.
    pub fn new(last_node: NodeId, members: impl Fn() -> Vec<Peer> + Send + Sync + 'static) -> Self {
        Self { tokens: Mutex::default(), last_node: Mutex::new(last_node), members: Box::new(members) }
    }

    /// Adds a token, good until `expires` (since the Unix epoch); forgets those that expired before `now`.
    pub fn add(&self, token: TokenId, key: TokenKey, expires: Duration, now: Duration) {
        let mut tokens = self.tokens.lock();
        tokens.retain(|_, entry| entry.expires > now);
        tokens.insert(token, Entry { key, expires, attempts: 0, used: None });
    }
}

impl TokenStore for MemoryTokens {
    fn attempt(&self, token: TokenId) -> Option<TokenKey> {
        let mut tokens = self.tokens.lock();
        let entry = tokens.get_mut(&token)?;
        entry.attempts += 1;
        (entry.attempts <= ATTEMPTS_MAX).then(|| entry.key.clone())
    }

    fn redeem(&self, token: TokenId, applicant: &Applicant, now: Duration) -> Result<Admitted, Refusal> {
        let key = applicant.key;
        let mut tokens = self.tokens.lock();
        let entry = tokens.get_mut(&token).ok_or(Refusal::Unknown)?;
        if entry.expires <= now {
            return Err(Refusal::Expired);
        }
        let node = match entry.used {
            Some((user, node)) if user == key => node,
            Some(_) => return Err(Refusal::Used),
            None => {
                let mut last = self.last_node.lock();
                last.0 += 1;
                entry.used = Some((key, *last));
                *last
            }
        };
        Ok(Admitted { node, members: (self.members)() })
    }
}
