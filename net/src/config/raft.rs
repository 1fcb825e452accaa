//! Agreement on the configuration: [`Consensus`] is what the rest of the program sees, [`Raft`] does it with openraft.
//!
//! A node starts with its [`Storage`](super::storage::Storage) and a [`Caller`] that carries messages; what arrives from
//! peers goes to [`Raft::handle`]. Commands are forwarded to the leader. Who follows and who votes is kept by the leader
//! itself, one change at a time, from the nodes in the configuration ([`next_step`](super::state::next_step)).
//!
//! A command is applied once, or not, or the answer is [`ProposeError::Uncertain`]: then it is the asker's to look at the
//! configuration and decide, since only he knows what it means to ask twice.

mod caller;
mod keeper;
mod message;
mod network;
mod node;
mod serve;
mod timing;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use tokio::sync::watch;

pub use caller::{CallError, Caller};
pub use message::{MESSAGE_BYTES_MAX, Refusal};
pub use node::{Raft, StartError};
pub use timing::{PROPOSE_TIMEOUT, Timing};

use super::id::NodeId;
use super::state::{Command, Membership, Outcome, Rejection, Step};
use super::storage::View;

/// What a call will give once it is awaited.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A command that was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// Its place in the log. A node sees it once [`View::applied`] is there; the node that asked may be late.
    pub index: u64,
    /// What it did.
    pub outcome: Outcome,
}

/// Why there is no [`Committed`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// The configuration says no. Nothing has changed.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The command was given to nobody. Try again when there is a majority.
    #[error("no leader of the cluster can be reached: more than half of its voters must be up")]
    NoLeader,
    /// The command may have been applied, or may still be. Look at the configuration before trying again.
    #[error("the leader did not answer in time: the change may have been made or not, look before trying again")]
    Uncertain,
    /// The command is too long for a message.
    #[error("the change is too large: split it")]
    TooLarge,
    /// Who takes part cannot change like this, or not now.
    #[error("the cluster's voters cannot be changed like this now: {0}")]
    Membership(String),
    /// A peer does not talk to this node.
    #[error("node {0} refuses: {1}")]
    Refused(NodeId, Refusal),
    /// This node has stopped, after an error of the disk or because it was told to.
    #[error("the cluster configuration of this node has stopped: {0}")]
    Stopped(String),
}

/// How consensus is doing, as this node sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metrics {
    /// This node.
    pub node: NodeId,
    /// Who leads, if that is known.
    pub leader: Option<NodeId>,
    /// How many elections there were, about.
    pub term: u64,
    /// The last entry in the log.
    pub last_log: u64,
    /// The last entry applied.
    pub applied: u64,
    /// Who takes part.
    pub membership: Membership,
    /// On the leader: how many entries each other node is behind; `None` if it has not answered yet.
    pub lag: BTreeMap<NodeId, Option<u64>>,
    /// The last time that this node refused a peer or was refused by it.
    pub last_refusal: Option<(NodeId, Refusal)>,
    /// Why it has stopped, if it has.
    pub stopped: Option<String>,
}

/// Agreement on the configuration.
pub trait Consensus: Send + Sync {
    /// Has a command applied, on whichever node leads. Ends within [`PROPOSE_TIMEOUT`].
    fn propose(&self, command: Command) -> Answer<'_, Result<Committed, ProposeError>>;

    /// The configuration with everything in it that was committed before this was called. Ends within
    /// [`PROPOSE_TIMEOUT`]; changes nothing, so it is never [`ProposeError::Uncertain`].
    fn read(&self) -> Answer<'_, Result<View, ProposeError>>;

    /// The configuration as this node has it, which may be late, and each one that comes after it.
    fn watch(&self) -> watch::Receiver<View>;

    /// How it is doing.
    fn metrics(&self) -> Metrics;

    /// Makes one change of who takes part. Only the leader can; it also does so by itself.
    fn take(&self, step: Step) -> Answer<'_, Result<(), ProposeError>>;

    /// Stops. Nothing is under way any more when this ends.
    fn stop(&self) -> Answer<'_, ()>;
}
