//! What nodes say to each other about the configuration, version 1 (`docs/protocol.md`, "Configuration"). Both enums only
//! grow at the end.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};

use super::super::forms::{Entry, EntryV1, LogId, LogIdV1, Meta, MetaV1, Types, Vote, VoteV1};
use super::super::id::{ClusterId, NodeId, StoreId};
use super::super::record::{self, InvalidRecord, Kind, Place};
use super::super::state::{Command, Outcome, Rejection};

/// Most bytes of a request or answer.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Most bytes of a snapshot that a node takes: several times what the limits of [`super::super::state`] allow.
const SNAPSHOT_BYTES_MAX: u64 = 512 << 20;

const REQUEST: Kind = Kind(*b"cReq");
const ANSWER: Kind = Kind(*b"cAns");

/// Why a node does not take a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// The nodes belong to different clusters.
    #[error("it belongs to another cluster")]
    OtherCluster,
    /// The request is for another node.
    #[error("it is another node than was asked for")]
    OtherNode,
    /// The node that was asked had another configuration file when it joined.
    #[error("its configuration file is not the one it joined with: remove the node and let it join as a new one")]
    OtherStore,
    /// The node that asks had another configuration file when it joined, or is not who it says.
    #[error(
        "the sender's configuration file is not the one it joined with: remove the node and let it join as a new one"
    )]
    UnknownSender,
    /// The node that asks was removed.
    #[error("the sender was removed from the cluster: a node that was removed joins as a new one")]
    Removed,
    /// The request cannot be read.
    #[error("it cannot read the request: use the same version on all nodes")]
    Unreadable,
}

#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) struct Request {
    pub(super) cluster: ClusterId,
    pub(super) from: NodeId,
    pub(super) from_store: StoreId,
    pub(super) to: NodeId,
    /// As far as the sender knows.
    pub(super) to_store: Option<StoreId>,
    pub(super) call: Call,
}

#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) enum Call {
    Append { vote: VoteV1, prev: Option<LogIdV1>, commit: Option<LogIdV1>, entries: Vec<EntryV1> },
    Vote { vote: VoteV1, last: Option<LogIdV1> },
    Install { vote: VoteV1, meta: MetaV1, offset: u64, data: Vec<u8>, done: bool },
    Propose(Command),
    ReadIndex,
}

#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) enum Reply {
    Refused(Refusal),
    /// The node has stopped.
    Stopped,
    Appended(Appended),
    Voted {
        vote: VoteV1,
        granted: bool,
        last: Option<LogIdV1>,
    },
    Installed {
        vote: VoteV1,
    },
    /// The piece of a snapshot does not follow what came before: begin again.
    Mismatch,
    Proposed {
        index: u64,
        result: Result<Outcome, Rejection>,
    },
    ReadIndex(u64),
    /// Somebody else leads, if anybody.
    NotLeader(Option<NodeId>),
    /// The command may have been applied.
    Uncertain,
}

#[derive(Clone, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) enum Appended {
    Success,
    Partial(Option<LogIdV1>),
    Conflict,
    Higher(VoteV1),
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        record::encode(REQUEST, Place::default(), self)
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, InvalidRecord> {
        let request: Self = record::decode(REQUEST, Place::default(), message)?;
        if request.call.is_sound() { Ok(request) } else { Err(InvalidRecord::Damaged) }
    }
}

impl Reply {
    pub(super) fn encode(&self) -> Vec<u8> {
        record::encode(ANSWER, Place::default(), self)
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, InvalidRecord> {
        record::decode(ANSWER, Place::default(), message)
    }
}

impl Call {
    /// That the call holds together as openraft takes for granted: a leader's vote is committed, entries follow each other
    /// without a gap, a snapshot has an end.
    fn is_sound(&self) -> bool {
        match self {
            Self::Append { vote, prev, entries, .. } => {
                let first = prev.map_or(0, |prev| LogId::from(prev).index.saturating_add(1));
                let is_next = |(at, entry): (u64, &EntryV1)| entry.index() == first.saturating_add(at);
                Vote::from(*vote).committed && (0..).zip(entries).all(is_next)
            }
            Self::Vote { vote, .. } => !Vote::from(*vote).committed,
            Self::Install { vote, offset, data, .. } => {
                let end = offset.checked_add(data.len() as u64);
                Vote::from(*vote).committed && end.is_some_and(|end| end <= SNAPSHOT_BYTES_MAX)
            }
            Self::Propose(_) | Self::ReadIndex => true,
        }
    }
}

impl From<AppendEntriesRequest<Types>> for Call {
    fn from(request: AppendEntriesRequest<Types>) -> Self {
        Self::Append {
            vote: request.vote.into(),
            prev: request.prev_log_id.map(LogIdV1::from),
            commit: request.leader_commit.map(LogIdV1::from),
            entries: request.entries.into_iter().map(EntryV1::from).collect(),
        }
    }
}

impl From<VoteRequest<u64>> for Call {
    fn from(request: VoteRequest<u64>) -> Self {
        Self::Vote { vote: request.vote.into(), last: request.last_log_id.map(LogIdV1::from) }
    }
}

impl From<InstallSnapshotRequest<Types>> for Call {
    fn from(request: InstallSnapshotRequest<Types>) -> Self {
        Self::Install {
            vote: request.vote.into(),
            meta: (&request.meta).into(),
            offset: request.offset,
            data: request.data,
            done: request.done,
        }
    }
}

/// What openraft takes for a [`Call::Append`].
pub(super) fn append_request(
    vote: VoteV1,
    prev: Option<LogIdV1>,
    commit: Option<LogIdV1>,
    entries: Vec<EntryV1>,
) -> AppendEntriesRequest<Types> {
    AppendEntriesRequest {
        vote: vote.into(),
        prev_log_id: prev.map(LogId::from),
        leader_commit: commit.map(LogId::from),
        entries: entries.into_iter().map(Entry::from).collect(),
    }
}

/// What openraft takes for a [`Call::Install`].
pub(super) fn install_request(
    vote: VoteV1,
    meta: MetaV1,
    offset: u64,
    data: Vec<u8>,
    done: bool,
) -> InstallSnapshotRequest<Types> {
    InstallSnapshotRequest { vote: vote.into(), meta: Meta::from(meta), offset, data, done }
}

impl From<AppendEntriesResponse<u64>> for Appended {
    fn from(response: AppendEntriesResponse<u64>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::Success,
            AppendEntriesResponse::PartialSuccess(last) => Self::Partial(last.map(LogIdV1::from)),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::Higher(vote.into()),
        }
    }
}

impl From<Appended> for AppendEntriesResponse<u64> {
    fn from(appended: Appended) -> Self {
        match appended {
            Appended::Success => Self::Success,
            Appended::Partial(last) => Self::PartialSuccess(last.map(LogId::from)),
            Appended::Conflict => Self::Conflict,
            Appended::Higher(vote) => Self::HigherVote(vote.into()),
        }
    }
}

impl From<VoteResponse<u64>> for Reply {
    fn from(response: VoteResponse<u64>) -> Self {
        Self::Voted {
            vote: response.vote.into(),
            granted: response.vote_granted,
            last: response.last_log_id.map(LogIdV1::from),
        }
    }
}

impl From<InstallSnapshotResponse<u64>> for Reply {
    fn from(response: InstallSnapshotResponse<u64>) -> Self {
        Self::Installed { vote: response.vote.into() }
    }
}
