//! What openraft's types look like in bytes, version 1: flat mirrors of them, since openraft's own have no stable form.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{CommittedLeaderId, EmptyNode, EntryPayload, LeaderId, SnapshotMeta, StoredMembership};
use rkyv::{Archive, Deserialize, Serialize};

use super::state::{Command, Outcome, Rejection};

openraft::declare_raft_types!(
    /// The configuration as openraft sees it: ids are plain numbers here, and addresses are no part of the membership.
    pub(super) Types:
        D = Command,
        R = Result<Outcome, Rejection>,
        NodeId = u64,
        Node = EmptyNode,
        SnapshotData = std::io::Cursor<Vec<u8>>,
);

pub(super) type Entry = openraft::Entry<Types>;
pub(super) type LogId = openraft::LogId<u64>;
pub(super) type Vote = openraft::Vote<u64>;
pub(super) type Members = openraft::Membership<u64, EmptyNode>;
pub(super) type StoredMembers = StoredMembership<u64, EmptyNode>;
pub(super) type Meta = SnapshotMeta<u64, EmptyNode>;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub(super) struct LogIdV1 {
    term: u64,
    node: u64,
    index: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub(super) struct VoteV1 {
    term: u64,
    node: u64,
    committed: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub(super) struct MembersV1 {
    /// One list of voters, or two while they change.
    voters: Vec<Vec<u64>>,
    /// Voters and learners.
    nodes: Vec<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub(super) struct EntryV1 {
    id: LogIdV1,
    payload: PayloadV1,
}

#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
enum PayloadV1 {
    Blank,
    Command(Command),
    Members(MembersV1),
}

#[derive(Clone, PartialEq, Eq, Debug, Archive, Serialize, Deserialize)]
pub(super) struct MetaV1 {
    last: Option<LogIdV1>,
    members_at: Option<LogIdV1>,
    members: MembersV1,
    id: String,
}

impl From<LogId> for LogIdV1 {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<LogIdV1> for LogId {
    fn from(id: LogIdV1) -> Self {
        Self::new(CommittedLeaderId::new(id.term, id.node), id.index)
    }
}

impl From<Vote> for VoteV1 {
    fn from(vote: Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<VoteV1> for Vote {
    fn from(vote: VoteV1) -> Self {
        Self { leader_id: LeaderId::new(vote.term, vote.node), committed: vote.committed }
    }
}

impl From<&Members> for MembersV1 {
    fn from(members: &Members) -> Self {
        Self {
            voters: members.get_joint_config().iter().map(|voters| voters.iter().copied().collect()).collect(),
            nodes: members.nodes().map(|(&id, _)| id).collect(),
        }
    }
}

impl From<MembersV1> for Members {
    fn from(members: MembersV1) -> Self {
        let voters: Vec<BTreeSet<u64>> =
            members.voters.into_iter().map(|voters| voters.into_iter().collect()).collect();
        let nodes: BTreeMap<u64, EmptyNode> = members.nodes.into_iter().map(|id| (id, EmptyNode {})).collect();
        Self::new(voters, nodes)
    }
}

impl From<Entry> for EntryV1 {
    fn from(entry: Entry) -> Self {
        let payload = match entry.payload {
            EntryPayload::Blank => PayloadV1::Blank,
            EntryPayload::Normal(command) => PayloadV1::Command(command),
            EntryPayload::Membership(members) => PayloadV1::Members((&members).into()),
        };
        Self { id: entry.log_id.into(), payload }
    }
}

impl EntryV1 {
    pub(super) fn index(&self) -> u64 {
        self.id.index
    }
}

impl From<EntryV1> for Entry {
    fn from(entry: EntryV1) -> Self {
        let payload = match entry.payload {
            PayloadV1::Blank => EntryPayload::Blank,
            PayloadV1::Command(command) => EntryPayload::Normal(command),
            PayloadV1::Members(members) => EntryPayload::Membership(members.into()),
        };
        Self { log_id: entry.id.into(), payload }
    }
}

impl From<&Meta> for MetaV1 {
    fn from(meta: &Meta) -> Self {
        Self {
            last: meta.last_log_id.map(LogIdV1::from),
            members_at: meta.last_membership.log_id().map(LogIdV1::from),
            members: meta.last_membership.membership().into(),
            id: meta.snapshot_id.clone(),
        }
    }
}

impl From<MetaV1> for Meta {
    fn from(meta: MetaV1) -> Self {
        Self {
            last_log_id: meta.last.map(LogId::from),
            last_membership: StoredMembers::new(meta.members_at.map(LogId::from), meta.members.into()),
            snapshot_id: meta.id,
        }
    }
}
