//! Join tokens as the cluster agrees on them: a token lets one node in, whichever member it is shown to.
//!
//! Specified in `docs/protocol.md`, "Joining". How often a token was shown is counted by each node for itself:
//! what matters is that nobody can guess.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::id::{NodeId, TokenId};
use super::name::Text;
use super::raft::{Committed, Consensus, ProposeError};
use super::state::{Command, Configuration, Node, Outcome, Rejection};
use crate::join::{ATTEMPTS_MAX, Admitted, Applicant, Refusal, TokenKey, TokenStore};
use crate::transport::Peer;

/// How often the cluster is asked to let a node in if it is not known what became of it. The same key gets the same node,
/// so asking again does no harm.
const TRIES: usize = 3;

/// The tokens in the configuration. Calls block until the cluster has agreed.
pub struct ConfiguredTokens {
    consensus: Arc<dyn Consensus>,
    /// Where the consensus runs.
    handle: Handle,
    attempts: Mutex<HashMap<TokenId, u32>>,
}

impl fmt::Debug for ConfiguredTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfiguredTokens").finish_non_exhaustive()
    }
}

impl ConfiguredTokens {
    /// Tokens that `consensus`, which runs on `handle`, agrees on.
    #[must_use]
    pub fn new(consensus: Arc<dyn Consensus>, handle: Handle) -> Self {
        Self { consensus, handle, attempts: Mutex::default() }
    }

    /// The key of a token. One that this node does not know may be new.
    fn key(&self, token: TokenId) -> Option<TokenKey> {
        let of = |configuration: &Configuration| configuration.token(token).map(|token| token.key.into());
        let known = of(&self.consensus.watch().borrow().configuration);
        known.or_else(|| {
            let read = self.handle.block_on(self.consensus.read());
            read.inspect_err(|error| tracing::warn!(%error, "join tokens cannot be read"))
                .ok()
                .and_then(|view| of(&view.configuration))
        })
    }

    /// Counts an attempt; false if there were too many. Forgets those of tokens that are gone.
    fn count(&self, token: TokenId) -> bool {
        let view = self.consensus.watch().borrow().clone();
        let mut attempts = self.attempts.lock();
        attempts.retain(|id, _| *id == token || view.configuration.token(*id).is_some());
        let attempts = attempts.entry(token).or_default();
        *attempts += 1;
        *attempts <= ATTEMPTS_MAX
    }

    fn propose(&self, command: &Command) -> Result<Committed, ProposeError> {
        let mut result = self.handle.block_on(self.consensus.propose(command.clone()));
        for _ in 1..TRIES {
            if !matches!(result, Err(ProposeError::Uncertain)) {
                break;
            }
            result = self.handle.block_on(self.consensus.propose(command.clone()));
        }
        result
    }
}

impl ConfiguredTokens {
    /// Notes where a node that was let in listens, so that the others can reach it before it has said more about itself.
    fn locate(&self, node: NodeId, applicant: &Applicant) -> Result<(), Refusal> {
        let addresses: Result<Vec<Text>, _> =
            applicant.addresses.iter().map(|address| address.to_string().parse()).collect();
        let addresses = addresses.map_err(|_| Refusal::Unavailable)?;
        let view = self.consensus.watch().borrow().clone();
        let is_described = view.configuration.node(node).is_some_and(|node| node.about.is_described());
        if addresses.is_empty() || is_described {
            return Ok(());
        }
        let located = self.propose(&Command::MoveNode { node, addresses, zone: Text::default() });
        located.map(drop).map_err(|error| refusal(&error))
    }
}

impl TokenStore for ConfiguredTokens {
    fn attempt(&self, token: TokenId) -> Option<TokenKey> {
        let key = self.key(token)?;
        self.count(token).then_some(key)
    }

    fn redeem(&self, token: TokenId, applicant: &Applicant, now: Duration) -> Result<Admitted, Refusal> {
        let key = applicant.key;
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let node = match self.propose(&Command::Join { token, key, now_ms }) {
            Ok(Committed { outcome: Outcome::Node(node), .. }) => node,
            Ok(_) => return Err(Refusal::Unavailable),
            Err(error) => return Err(refusal(&error)),
        };
        self.locate(node, applicant)?;
        let view = self.consensus.watch().borrow().clone();
        let members = view.configuration.nodes().filter(|member| member.id != node).filter_map(peer).collect();
        Ok(Admitted { node, members })
    }
}

fn refusal(error: &ProposeError) -> Refusal {
    match error {
        ProposeError::Rejected(Rejection::InvalidToken) => Refusal::Unknown,
        ProposeError::Rejected(Rejection::TokenExpired) => Refusal::Expired,
        ProposeError::Rejected(Rejection::TokenUsed(_)) => Refusal::Used,
        other => {
            tracing::warn!(error = other as &dyn std::error::Error, "no node can be let in");
            Refusal::Unavailable
        }
    }
}

/// Where a node can be reached; `None` for one that is gone, or that no address is known of.
fn peer(node: &Node) -> Option<Peer> {
    let addresses: Vec<_> = node.about.addresses.iter().filter_map(|address| address.as_str().parse().ok()).collect();
    (node.is_present() && !addresses.is_empty()).then_some(Peer { node: node.id, addresses })
}

#[cfg(test)]
mod tests;
