//! What peers ask of this node.

use openraft::LogIdOptionExt;
use openraft::error::{CheckIsLeaderError, RaftError};
use openraft::raft::VoteRequest;
use tokio::time::timeout;

use super::super::forms::{LogId, Types, Vote};
use super::super::id::NodeId;
use super::super::state::Command;
use super::message::{Call, Refusal, Reply, Request, append_request, install_request};
use super::network::Links;
use super::timing::PROPOSE_TIMEOUT;

/// The answer to a request that came from `peer`.
pub(super) async fn answer(raft: &openraft::Raft<Types>, links: &Links, peer: NodeId, message: &[u8]) -> Reply {
    let request = match Request::decode(message) {
        Ok(request) => request,
        Err(_) => return Reply::Refused(Refusal::Unreadable),
    };
    match check(links, peer, &request) {
        Ok(()) => carry_out(raft, request.call).await,
        Err(refusal) => {
            links.note_refusal(peer, refusal);
            Reply::Refused(refusal)
        }
    }
}

/// That the request is for this node, and from one that belongs to the cluster and is who it was. A node whose configuration is
/// behind takes what it does not know yet.
fn check(links: &Links, peer: NodeId, request: &Request) -> Result<(), Refusal> {
    let own = links.identity;
    if request.cluster != own.cluster {
        return Err(Refusal::OtherCluster);
    }
    if request.from != peer {
        return Err(Refusal::UnknownSender);
    }
    if request.to != own.node {
        return Err(Refusal::OtherNode);
    }
    if request.to_store.is_some_and(|store| store != own.store) {
        return Err(Refusal::OtherStore);
    }
    match links.view.borrow().configuration.node(peer) {
        Some(node) if !node.is_present() => Err(Refusal::Removed),
        // One that has not described itself may have any file; it does not vote.
        Some(node) if node.about.store.is_some_and(|store| store != request.from_store) => Err(Refusal::UnknownSender),
        _ => Ok(()),
    }
}

async fn carry_out(raft: &openraft::Raft<Types>, call: Call) -> Reply {
    match call {
        Call::Append { vote, prev, commit, entries } => {
            let appended = raft.append_entries(append_request(vote, prev, commit, entries)).await;
            appended.map_or(Reply::Stopped, |response| Reply::Appended(response.into()))
        }
        Call::Vote { vote, last } => {
            let voted = raft.vote(VoteRequest::new(Vote::from(vote), last.map(LogId::from))).await;
            voted.map_or(Reply::Stopped, Reply::from)
        }
        Call::Install { vote, meta, offset, data, done } => {
            match raft.install_snapshot(install_request(vote, meta, offset, data, done)).await {
                Ok(response) => response.into(),
                Err(RaftError::APIError(_)) => Reply::Mismatch,
                Err(RaftError::Fatal(_)) => Reply::Stopped,
            }
        }
        Call::Propose(command) => propose(raft, command).await,
        Call::ReadIndex => read_index(raft).await,
    }
}

/// Has a command applied if this node leads.
pub(super) async fn propose(raft: &openraft::Raft<Types>, command: Command) -> Reply {
    let (leader, id) = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow();
        (metrics.current_leader, metrics.id)
    };
    if leader != Some(id) {
        return Reply::NotLeader(leader.map(NodeId));
    }
    match timeout(PROPOSE_TIMEOUT, raft.client_write(command)).await {
        Ok(Ok(response)) => Reply::Proposed { index: response.log_id.index, result: response.data },
        // A leader that is voted out says the same whether or not it had taken the command already.
        Ok(Err(RaftError::APIError(_))) | Err(_) => Reply::Uncertain,
        Ok(Err(RaftError::Fatal(_))) => Reply::Stopped,
    }
}

/// Up to where the log must be applied for a read to see everything committed before now, if this node leads.
pub(super) async fn read_index(raft: &openraft::Raft<Types>) -> Reply {
    match raft.get_read_log_id().await {
        Ok((read, _)) => Reply::ReadIndex(read.index().unwrap_or(0)),
        Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward))) => {
            Reply::NotLeader(forward.leader_id.map(NodeId))
        }
        Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => Reply::NotLeader(None),
        Err(RaftError::Fatal(_)) => Reply::Stopped,
    }
}
