//! What every node can tell of the whole cluster: copies that are being made, and what happened.

use std::cell::Cell;

use blockdev::cluster::{ClusterEvent, Progress};
use blockdev::events::kind;

use super::*;

/// How far the replica of a volume on a node is, as another node tells.
fn progress(member: &Member, volume: &str, node: u64) -> Option<Progress> {
    let report = member.cluster.report();
    let found = report.volumes.iter().find(|found| found.name == name(volume))?;
    found.replicas.iter().find(|replica| replica.node == node)?.progress
}

#[test]
fn copies_keep_to_the_rate_and_tell_how_long_they_will_take() {
    let scratch = Scratch::new("news-copies");
    let members = cluster_of(&scratch, 3);
    members[0].create("db", 1);
    let export = members[0].open_volume("db");
    // More than the log keeps: what it does not reach back to travels as content, and that has a rate.
    let content = noise(SIZE as usize);
    for _ in 0..24 {
        for (number, part) in (0..).zip(content.chunks(1 << 20)) {
            export.write(&[Write { offset: number << 20, data: part }]).unwrap();
        }
        export.flush().unwrap();
    }
    for snapshot_name in ["db@a", "db@b"] {
        // The log is cut when it knows that the store has what is before a snapshot.
        members[0].cluster.snapshot(&snapshot(snapshot_name)).unwrap();
    }
    members[1].cluster.set_catch_up_rate(512 << 10).unwrap();
    members[0].cluster.set_replicas(&name("db"), 2).unwrap();
    let seen = Cell::new(None);
    wait_until("a node that does not send tells how long it will take", || {
        let told = [2, 3].into_iter().find_map(|node| progress(&members[2], "db", node));
        seen.set(told.filter(|told| told.rate_bytes.is_some_and(|rate| rate < 2 << 20) && told.left_s().is_some()));
        seen.get().is_some()
    });
    let told = seen.get().unwrap();
    assert_eq!(told.total_bytes, 3 * SIZE, "two snapshots and what the volume holds now");
    assert!(told.done_bytes < 3 * SIZE, "{told:?}");
    wait_until("another node says what is being done", || {
        let volume = &members[1].cluster.report().volumes[0];
        volume.health != VolumeHealth::Healthy && volume.doing.as_ref().is_some_and(|it| it.contains("up to date"))
    });
    members[2].cluster.set_catch_up_rate(0).unwrap();
    members[0].wait_healthy("db");
    wait_until("nothing is being copied any more", || {
        [2, 3].iter().all(|node| progress(&members[1], "db", *node).is_none())
    });
    drop(export);
    members.into_iter().for_each(|member| drop(member.stop()));
}

fn told<'a>(events: &'a [ClusterEvent], kind: &str, subject: &str) -> Vec<&'a ClusterEvent> {
    events.iter().filter(|told| told.event.kind == kind && told.event.subject == subject).collect()
}

#[test]
fn what_happens_is_told_once_by_whoever_leads_and_shown_by_all() {
    let scratch = Scratch::new("news-events");
    let mut members = cluster_of(&scratch, 3);
    members[0].create("db", 3);
    members[0].wait_healthy("db");
    // What was so before a node has looked at the whole cluster once is no event, and it looks every second.
    let clock = SystemClock::new();
    wait_until("everybody has looked", || clock.monotonic() > Duration::from_secs(4));
    // The founder leads; it is the next leader that misses it.
    let path = members.remove(0).stop();
    wait_until("the loss of the leader is told", || {
        let (events, silent) = members[0].cluster.events(0);
        silent == ["node-1"]
            && !told(&events, kind::NODE_UNREACHED, "node-1").is_empty()
            && !told(&events, kind::VOLUME_DEGRADED, "db").is_empty()
    });
    members.push(Member::open(path));
    wait_until("its return is told", || {
        let (events, _) = members[0].cluster.events(0);
        !told(&events, kind::NODE_REACHED, "node-1").is_empty() && !told(&events, kind::VOLUME_HEALTHY, "db").is_empty()
    });
    wait_until("all nodes are reached", || members.iter().all(|member| member.cluster.events(0).1.is_empty()));
    let (events, _) = members[0].cluster.events(0);
    // A link may have been lost once more, and then that is told as well.
    let of_node = |told: &&ClusterEvent| [kind::NODE_UNREACHED, kind::NODE_REACHED].contains(&&*told.event.kind);
    let turns: Vec<_> = events.iter().filter(of_node).filter(|told| told.event.subject == "node-1").collect();
    assert!(turns.windows(2).all(|pair| pair[0].event.kind != pair[1].event.kind), "{events:?}");
    assert_eq!(turns[0].event.kind, kind::NODE_UNREACHED, "{events:?}");
    assert!(events.is_sorted_by_key(|told| told.event.at_ms));
    let all: Vec<_> = members.iter().map(|member| member.cluster.events(0).0.len()).collect();
    assert!(all.iter().all(|count| *count >= events.len()), "{all:?}");
    members.into_iter().for_each(|member| drop(member.stop()));
}
