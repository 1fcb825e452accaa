//! How messages get to peers.

use std::time::Duration;

use super::super::id::NodeId;
use super::Answer;

/// Why a call got no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The request did not reach the peer.
    #[error("the node cannot be reached")]
    Unreachable,
    /// The request may have reached the peer.
    #[error("the node did not answer")]
    Lost,
}

/// Carries a request of at most [`super::MESSAGE_BYTES_MAX`] bytes to a peer and its answer back. The peer gives the request
/// to its [`super::Raft::handle`], together with the node that sent it, of which the transport has made sure.
pub trait Caller: Send + Sync + 'static {
    /// One call, which ends within `deadline`.
    fn call(&self, to: NodeId, request: Vec<u8>, deadline: Duration) -> Answer<'_, Result<Vec<u8>, CallError>>;
}
