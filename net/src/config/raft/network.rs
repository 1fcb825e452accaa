//! openraft's messages to peers, over a [`Caller`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, SnapshotMismatch, Unreachable,
};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{EmptyNode, RaftNetwork, RaftNetworkFactory, SnapshotSegmentId};
use tokio::sync::watch;

use super::super::forms::{LogId, Types, Vote};
use super::super::id::NodeId;
use super::super::storage::{Identity, View};
use super::caller::{CallError, Caller};
use super::message::{Call, Refusal, Reply, Request};

/// What this node needs to talk to any peer.
pub(super) struct Links {
    pub(super) identity: Identity,
    pub(super) view: watch::Receiver<View>,
    caller: Arc<dyn Caller>,
    last_refusal: Mutex<Option<(NodeId, Refusal)>>,
}

/// Why a call gave nothing to go on with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("it refuses: {0}")]
    Refused(Refusal),
    #[error("it has stopped")]
    Stopped,
    #[error("its answer makes no sense")]
    Nonsense,
}

impl Links {
    pub(super) fn new(identity: Identity, view: watch::Receiver<View>, caller: Arc<dyn Caller>) -> Self {
        Self { identity, view, caller, last_refusal: Mutex::new(None) }
    }

    pub(super) async fn call(&self, to: NodeId, call: Call, deadline: Duration) -> Result<Reply, Failed> {
        let to_store = self.view.borrow().configuration.node(to).and_then(|node| node.about.store);
        let Identity { cluster, node, store } = self.identity;
        let request = Request { cluster, from: node, from_store: store, to, to_store, call };
        let answer = self.caller.call(to, request.encode(), deadline).await?;
        match Reply::decode(&answer).map_err(|_| Failed::Nonsense)? {
            Reply::Refused(refusal) => {
                self.note_refusal(to, refusal);
                Err(Failed::Refused(refusal))
            }
            Reply::Stopped => Err(Failed::Stopped),
            reply => Ok(reply),
        }
    }

    pub(super) fn note_refusal(&self, peer: NodeId, refusal: Refusal) {
        *self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some((peer, refusal));
    }

    pub(super) fn last_refusal(&self) -> Option<(NodeId, Refusal)> {
        *self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the way to each peer.
pub(super) struct Network(pub(super) Arc<Links>);

/// The way to one peer.
pub(super) struct Link {
    links: Arc<Links>,
    to: NodeId,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _: &EmptyNode) -> Link {
        Link { links: Arc::clone(&self.0), to: NodeId(target) }
    }
}

type Error<E> = RPCError<u64, EmptyNode, RaftError<u64, E>>;

/// A peer that is not there, or will not talk, is left alone for a moment; a lost message is sent again at once.
fn failure<E: std::error::Error>(failed: Failed) -> Error<E> {
    match failed {
        Failed::Call(CallError::Lost) => RPCError::Network(NetworkError::new(&failed)),
        _ => RPCError::Unreachable(Unreachable::new(&failed)),
    }
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Error<openraft::error::Infallible>> {
        match self.links.call(self.to, request.into(), option.hard_ttl()).await {
            Ok(Reply::Appended(appended)) => Ok(appended.into()),
            Ok(_) => Err(failure(Failed::Nonsense)),
            Err(failed) => Err(failure(failed)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, Error<openraft::error::Infallible>> {
        match self.links.call(self.to, request.into(), option.hard_ttl()).await {
            Ok(Reply::Voted { vote, granted, last }) => {
                Ok(VoteResponse::new(Vote::from(vote), last.map(LogId::from), granted))
            }
            Ok(_) => Err(failure(Failed::Nonsense)),
            Err(failed) => Err(failure(failed)),
        }
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Error<InstallSnapshotError>> {
        let got = SnapshotSegmentId { id: request.meta.snapshot_id.clone(), offset: request.offset };
        match self.links.call(self.to, request.into(), option.hard_ttl()).await {
            Ok(Reply::Installed { vote }) => Ok(InstallSnapshotResponse { vote: vote.into() }),
            Ok(Reply::Mismatch) => {
                let expect = SnapshotSegmentId { id: got.id.clone(), offset: 0 };
                let mismatch = InstallSnapshotError::SnapshotMismatch(SnapshotMismatch { expect, got });
                Err(RPCError::RemoteError(RemoteError::new(self.to.0, RaftError::APIError(mismatch))))
            }
            Ok(_) => Err(failure(Failed::Nonsense)),
            Err(failed) => Err(failure(failed)),
        }
    }
}
