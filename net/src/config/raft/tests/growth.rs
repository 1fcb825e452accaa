//! Nodes that come, go, come back wrongly, or are far behind.

use std::time::Duration;

use tokio::time::sleep;

use super::super::super::id::NodeId;
use super::super::super::state::{Command, NodeState};
use super::super::*;
use super::cluster::{Cluster, describe, set, value};

#[tokio::test(start_paused = true)]
async fn voters_grow_one_by_one_to_seven_and_the_rest_follow() {
    let mut cluster = Cluster::of_one(Timing::default()).await;
    for (number, voters) in [(2, 2), (3, 3), (4, 3), (5, 5), (6, 5), (7, 7), (8, 7)] {
        cluster.join(number).await;
        cluster.wait_for_voters(voters).await;
        let everybody = move |metrics: &Metrics| {
            metrics.membership.voters.len() + metrics.membership.learners.len() == number as usize
        };
        cluster.wait(everybody, "everybody takes part").await;
    }
    cluster.node(8).propose(set("from", "a learner")).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_drained_node_votes_no_more_and_a_removed_one_is_refused() {
    let mut cluster = Cluster::of(3).await;
    cluster.node(1).propose(Command::DrainNode { node: NodeId(3) }).await.unwrap();
    cluster.wait_for_voters(2).await;
    cluster.node(1).propose(Command::RemoveNode { node: NodeId(3) }).await.unwrap();
    let only = [NodeId(1), NodeId(2)];
    let gone = cluster.nodes.remove(&NodeId(3)).unwrap();
    cluster
        .wait(|metrics| metrics.membership.voters.iter().eq(&only) && metrics.membership.learners.is_empty(), "gone")
        .await;
    // It may not have heard of it; whatever it asks, nobody answers.
    let error = gone.propose(set("a", "1")).await.unwrap_err();
    assert!(
        matches!(error, ProposeError::Refused(_, Refusal::Removed) | ProposeError::NoLeader | ProposeError::Uncertain),
        "{error:?}"
    );
    let removed = cluster.node(1).read().await.unwrap();
    assert_eq!(removed.configuration.node(NodeId(3)).unwrap().state, NodeState::Removed);
    gone.stop().await;
    // Another one can come, and is another one.
    cluster.join(4).await;
    cluster.wait_for_voters(3).await;
    assert!(cluster.nodes.contains_key(&NodeId(4)));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_wiped_node_is_refused_under_its_old_id() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await.metrics().node;
    let wiped = cluster.nodes.keys().copied().find(|&id| id != leader).unwrap();
    cluster.crash(wiped.0).await;
    // A new file, made to look like the old node's.
    cluster.create(77, wiped).await;
    cluster.nodes[&leader].propose(set("a", "1")).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    let node = &cluster.nodes[&wiped];
    assert_eq!(node.watch().borrow().applied, 0, "it was told nothing");
    let error = node.propose(set("b", "1")).await.unwrap_err();
    assert_eq!(error, ProposeError::NoLeader);
    let refusals: Vec<_> = [leader, wiped].map(|id| cluster.nodes[&id].metrics().last_refusal).to_vec();
    assert_eq!(refusals[0], Some((wiped, Refusal::OtherStore)));
    assert_eq!(refusals[1], Some((leader, Refusal::OtherStore)));
    cluster.nodes[&leader].propose(set("b", "1")).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_learner_far_behind_gets_a_snapshot() {
    let timing = Timing { snapshot_every: 20, keep: 5, ..Timing::default() };
    let mut cluster = Cluster::of_one(timing).await;
    let text = "x".repeat(1000);
    for number in 0..100 {
        cluster.node(1).propose(set(&format!("s{}", number % 60), &text)).await.unwrap();
    }
    cluster.join(2).await;
    cluster.wait_for_voters(2).await;
    let view = cluster.node(2).read().await.unwrap();
    assert_eq!(*view.configuration, *cluster.node(1).read().await.unwrap().configuration);
    assert_eq!(value(&view, "s59"), Some(text));
    // It has it for good: what it was sent is on its disk.
    cluster.crash(2).await;
    cluster.crash(1).await;
    cluster.restart(2).await;
    cluster.restart(1).await;
    let again = cluster.node(2).read().await.unwrap();
    assert_eq!(*again.configuration, *view.configuration);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_was_away_long_catches_up_by_snapshot() {
    let timing = Timing { snapshot_every: 20, keep: 5, ..Timing::default() };
    let mut cluster = Cluster::of_one(timing).await;
    for number in 2..=3 {
        cluster.join(number).await;
    }
    cluster.wait_for_voters(3).await;
    let leader = cluster.leader().await.metrics().node;
    let away = cluster.nodes.keys().copied().find(|&id| id != leader).unwrap();
    cluster.crash(away.0).await;
    for number in 0..100 {
        cluster.nodes[&leader].propose(set(&format!("s{number}"), "1")).await.unwrap();
    }
    cluster.restart(away.0).await;
    let view = cluster.nodes[&away].read().await.unwrap();
    assert_eq!(value(&view, "s99").as_deref(), Some("1"));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_follows_while_nobody_knows_where_it_is_and_votes_once_it_has_said_so() {
    let mut cluster = Cluster::of_one(Timing::default()).await;
    let id = cluster.let_in(2).await;
    cluster.node(1).propose(set("a", "1")).await.unwrap();
    cluster.create(2, id).await;
    cluster.wait(|metrics| metrics.membership.learners.contains(&NodeId(2)), "it follows").await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(value(&cluster.node(2).read().await.unwrap(), "a").as_deref(), Some("1"));
    assert_eq!(cluster.node(1).metrics().membership.voters.len(), 1);
    cluster.node(2).propose(describe(id, 2)).await.unwrap();
    cluster.wait_for_voters(2).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_comes_stops_nobody() {
    let mut cluster = Cluster::of_one(Timing::default()).await;
    let id = cluster.let_in(2).await;
    cluster.node(1).propose(describe(id, 2)).await.unwrap();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(cluster.node(1).metrics().membership.voters.len(), 1);
    cluster.node(1).propose(set("a", "1")).await.unwrap();
    cluster.create(2, id).await;
    cluster.wait_for_voters(2).await;
    cluster.stop().await;
}
