//! Messages byte for byte, and what becomes of those that are none or come from the wrong place.

use openraft::{CommittedLeaderId, EntryPayload};
use proptest::prelude::*;

use super::super::super::forms::{Entry, EntryV1, LogId, LogIdV1, Members, Meta, StoredMembers, Vote, VoteV1};
use super::super::super::id::NodeId;
use super::super::super::state::{Command, Outcome, Rejection};
use super::super::message::{Appended, Call, Reply, Request};
use super::super::*;
use super::cluster::{CLUSTER, Cluster, set, store_of};
use crate::envelope::Family;

fn id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(2, 1), index)
}

fn members() -> Members {
    Members::new(vec![[1, 2].into(), [1, 2, 3].into()], std::collections::BTreeSet::from([4]))
}

fn entries() -> Vec<EntryV1> {
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Normal(Command::DrainNode { node: NodeId(3) }),
        EntryPayload::Membership(members()),
    ];
    let entry = |(index, payload)| EntryV1::from(Entry { log_id: id(index), payload });
    (5..).zip(payloads).map(entry).collect()
}

fn calls() -> Vec<Call> {
    let vote = VoteV1::from(Vote::new_committed(2, 1));
    let meta = Meta {
        last_log_id: Some(id(9)),
        last_membership: StoredMembers::new(Some(id(8)), members()),
        snapshot_id: "2-1-9".to_owned(),
    };
    vec![
        Call::Append { vote, prev: Some(id(4).into()), commit: Some(id(3).into()), entries: entries() },
        Call::Vote { vote: Vote::new(3, 2).into(), last: Some(LogIdV1::from(id(4))) },
        Call::Install { vote, meta: (&meta).into(), offset: 7, data: b"data".to_vec(), done: true },
        Call::Propose(Command::DrainNode { node: NodeId(3) }),
        Call::ReadIndex,
    ]
}

fn request(call: Call) -> Request {
    let (from, to) = (NodeId(2), NodeId(1));
    Request { cluster: CLUSTER, from, from_store: store_of(2), to, to_store: Some(store_of(1)), call }
}

fn replies() -> Vec<Reply> {
    let vote = VoteV1::from(Vote::new(3, 2));
    vec![
        Reply::Refused(Refusal::OtherStore),
        Reply::Stopped,
        Reply::Appended(Appended::Success),
        Reply::Appended(Appended::Partial(Some(id(4).into()))),
        Reply::Appended(Appended::Conflict),
        Reply::Appended(Appended::Higher(vote)),
        Reply::Voted { vote, granted: true, last: Some(id(4).into()) },
        Reply::Installed { vote },
        Reply::Mismatch,
        Reply::Proposed { index: 7, result: Ok(Outcome::Done) },
        Reply::Proposed { index: 7, result: Err(Rejection::InvalidToken) },
        Reply::ReadIndex(7),
        Reply::NotLeader(Some(NodeId(3))),
        Reply::Uncertain,
    ]
}

/// Length and checksum of each message: the last is stored in it.
fn print(message: &[u8]) -> (usize, u32) {
    (message.len(), u32::from_le_bytes(message[8..12].try_into().unwrap()))
}

#[test]
fn messages_have_these_bytes() {
    let mut found = Vec::new();
    for call in calls() {
        let message = request(call.clone()).encode();
        assert_eq!(Request::decode(&message).unwrap(), request(call));
        found.push(print(&message));
    }
    for reply in replies() {
        assert_eq!(Reply::decode(&reply.encode()).unwrap(), reply);
        found.push(print(&reply.encode()));
    }
    assert_eq!(found, GOLDEN, "{found:#x?}");
}

const GOLDEN: [(usize, u32); 19] = [
    (643, 0x8d4b_d600),
    (186, 0x3e68_951c),
    (278, 0x9ebc_1c90),
    (186, 0x7204_1cbc),
    (186, 0xb594_0663),
    (56, 0x28a9_ce15),
    (56, 0x69a2_cbf9),
    (56, 0xc951_a7b8),
    (56, 0x3c08_b2f3),
    (56, 0xe80b_866b),
    (56, 0x962d_4719),
    (56, 0xf874_966f),
    (56, 0x7dd7_2fcf),
    (56, 0xed0a_2df4),
    (56, 0xbc4c_0851),
    (56, 0x67cd_15fe),
    (56, 0xdc1d_2c6e),
    (56, 0x8681_83fd),
    (56, 0x651f_7112),
];

/// The messages travel in those of the control family.
#[test]
fn a_piece_of_a_snapshot_fits_a_message_between_nodes() {
    let Call::Install { vote, meta, .. } = calls()[2].clone() else { panic!("a piece of a snapshot") };
    let data = vec![7; Timing::default().config().snapshot_max_chunk_size as usize];
    let piece = request(Call::Install { vote, meta, offset: 0, data, done: false }).encode();
    assert!(piece.len() <= Family::Control.body_bytes_max() as usize, "{}", piece.len());
}

#[test]
fn calls_that_do_not_hold_together_are_refused() {
    let vote = VoteV1::from(Vote::new_committed(2, 1));
    let uncommitted = VoteV1::from(Vote::new(2, 1));
    let append = |vote, prev: Option<u64>, entries| Call::Append {
        vote,
        prev: prev.map(|index| id(index).into()),
        commit: None,
        entries,
    };
    let mut gap = entries();
    gap.remove(1);
    let Call::Install { meta, .. } = calls()[2].clone() else { panic!("a piece of a snapshot") };
    let far = |offset| Call::Install { vote, meta: meta.clone(), offset, data: vec![0; 8], done: false };
    for call in [
        append(vote, Some(5), entries()),
        append(vote, None, entries()),
        append(vote, Some(4), gap),
        append(uncommitted, Some(4), entries()),
        Call::Vote { vote, last: None },
        far(u64::MAX),
        far(1 << 40),
    ] {
        assert!(Request::decode(&request(call.clone()).encode()).is_err(), "{call:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_messages_are_errors(which in 0_usize..5, at in any::<prop::sample::Index>(), byte in 1_u8..) {
        let mut message = request(calls().swap_remove(which)).encode();
        let at = at.index(message.len());
        message[at] ^= byte;
        prop_assert!(Request::decode(&message).is_err());
        prop_assert!(Request::decode(&message[..at]).is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_for_this_node_is_refused() {
    let cluster = Cluster::of(2).await;
    let node = cluster.node(1);
    let right = request(Call::ReadIndex);
    let other = |change: &dyn Fn(&mut Request)| {
        let mut request = right.clone();
        change(&mut request);
        request.encode()
    };
    let two = NodeId(2);
    for (peer, message, refusal) in [
        (two, other(&|request| request.cluster.0[0] ^= 1), Refusal::OtherCluster),
        (two, other(&|request| request.to = NodeId(3)), Refusal::OtherNode),
        (two, other(&|request| request.to_store = Some(store_of(9))), Refusal::OtherStore),
        (two, other(&|request| request.from_store = store_of(9)), Refusal::UnknownSender),
        (two, other(&|request| request.from = NodeId(1)), Refusal::UnknownSender),
        (NodeId(1), other(&|_| ()), Refusal::UnknownSender),
        (two, b"hello".to_vec(), Refusal::Unreadable),
        (two, Vec::new(), Refusal::Unreadable),
    ] {
        let answer = Reply::decode(&node.handle(peer, &message).await).unwrap();
        assert_eq!(answer, Reply::Refused(refusal));
    }
    let answer = Reply::decode(&node.handle(two, &right.encode()).await).unwrap();
    assert!(matches!(answer, Reply::ReadIndex(_) | Reply::NotLeader(_)), "{answer:?}");
    // It still works after all that.
    node.propose(set("a", "1")).await.unwrap();
    cluster.stop().await;
}
