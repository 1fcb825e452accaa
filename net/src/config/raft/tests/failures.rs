//! What fails, and that the others go on and nothing that was said to be done is lost.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::super::super::id::NodeId;
use super::super::*;
use super::cluster::{Cluster, set, value};

fn others(cluster: &Cluster, than: NodeId) -> Vec<NodeId> {
    cluster.nodes.keys().copied().filter(|&id| id != than).collect()
}

#[tokio::test(start_paused = true)]
async fn another_leads_within_five_seconds_after_a_crash() {
    for count in [3, 5] {
        let mut cluster = Cluster::of(count).await;
        let leader = cluster.leader().await.metrics().node;
        cluster.node(1).propose(set("before", "1")).await.unwrap();
        cluster.crash(leader.0).await;
        let started = Instant::now();
        let asked = others(&cluster, leader)[0];
        cluster.node(asked.0).propose(set("during", "1")).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(5), "{:?} with {count}", started.elapsed());
        cluster.restart(leader.0).await;
        let view = cluster.node(leader.0).read().await.unwrap();
        assert_eq!(value(&view, "before").as_deref(), Some("1"));
        assert_eq!(value(&view, "during").as_deref(), Some("1"));
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_nodes_lose_power_and_come_back() {
    let mut cluster = Cluster::of(3).await;
    for number in 0..20 {
        cluster.node(number % 3 + 1).propose(set(&format!("s{number}"), "1")).await.unwrap();
    }
    for number in 1..=3 {
        cluster.crash(number).await;
    }
    for number in 1..=3 {
        cluster.restart(number).await;
    }
    let view = cluster.leader().await.read().await.unwrap();
    // The one that led comes back with all entries, but need not know yet that the last of them are committed.
    let missing: Vec<u64> = (0..20).filter(|number| value(&view, &format!("s{number}")).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_minority_accepts_nothing() {
    let cluster = Cluster::of(5).await;
    let old = cluster.leader().await;
    let old_id = old.metrics().node;
    let rest = others(&cluster, old_id);
    let (with_old, majority) = rest.split_at(1);
    let minority = [old_id, with_old[0]];
    cluster.wire.part(&minority, majority);
    // What the old leader says it does not know, and what it answers nothing to, is not done.
    let error = old.propose(set("split", "minority")).await.unwrap_err();
    assert_eq!(error, ProposeError::Uncertain);
    let error = cluster.nodes[&with_old[0]].propose(set("split", "minority")).await.unwrap_err();
    assert!(matches!(error, ProposeError::Uncertain | ProposeError::NoLeader), "{error:?}");
    assert_eq!(old.read().await.unwrap_err(), ProposeError::NoLeader, "it does not serve old reads");
    let new = &cluster.nodes[&majority[0]];
    new.propose(set("split", "majority")).await.unwrap();
    assert_ne!(new.metrics().leader, Some(old_id));
    cluster.wire.heal();
    for node in cluster.nodes.values() {
        let view = timeout(Duration::from_secs(30), node.read()).await.unwrap().unwrap();
        assert_eq!(value(&view, "split").as_deref(), Some("majority"));
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_through_loss_and_delay_and_all_end_up_the_same() {
    for seed in 1..=3 {
        let cluster = Cluster::of(3).await;
        cluster.wire.disturb(seed, 100, 80);
        let mut done = Vec::new();
        for number in 0..30_u64 {
            let name = format!("n{number}");
            let node = cluster.node(number % 3 + 1);
            match node.propose(set(&name, "1")).await {
                Ok(committed) => done.push((name, committed.index)),
                Err(error) => assert!(matches!(error, ProposeError::Uncertain | ProposeError::NoLeader), "{error:?}"),
            }
        }
        assert!(done.len() >= 10, "something got through: {}", done.len());
        assert!(done.windows(2).all(|pair| pair[0].1 < pair[1].1), "in the order they were asked for");
        cluster.wire.heal();
        sleep(Duration::from_secs(5)).await;
        let view = cluster.leader().await.read().await.unwrap();
        assert!(done.iter().all(|(name, _)| value(&view, name).is_some()), "nothing that was done is lost");
        cluster.wait(|metrics| metrics.applied >= view.applied, "all catch up").await;
        for node in cluster.nodes.values() {
            assert_eq!(*node.watch().borrow().configuration, *view.configuration);
        }
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_disk_fails_stops_and_the_others_go_on() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await.metrics().node;
    let broken = others(&cluster, leader)[0];
    cluster.disks[&broken].fail_sync_after(0);
    cluster.nodes[&leader].propose(set("a", "1")).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let stopped = cluster.nodes[&broken].metrics().stopped;
    assert!(stopped.is_some(), "it has stopped");
    let error = cluster.nodes[&broken].propose(set("b", "1")).await.unwrap_err();
    assert!(matches!(error, ProposeError::Stopped(_)), "{error:?}");
    cluster.nodes[&leader].propose(set("b", "1")).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_stops_while_nobody_leads() {
    let cluster = Cluster::of(3).await;
    let all: Vec<NodeId> = cluster.nodes.keys().copied().collect();
    for &id in &all {
        cluster.wire.part(&[id], &others(&cluster, id));
    }
    let node = cluster.node(1).clone();
    let asked = tokio::spawn(async move { node.propose(set("a", "1")).await });
    sleep(Duration::from_millis(500)).await;
    cluster.stop().await;
    asked.await.unwrap().unwrap_err();
}
