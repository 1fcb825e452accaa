//! Snapshots of several volumes at one moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use blockdev::cluster::{ClusterError, ClusterSnapshot};

use super::*;

/// Where it is counted from the second volume to the first.
const TURNED: u64 = 4096;

/// How often a node freezes them.
const FROZEN: u64 = 12;

fn snapshots(texts: &[&str]) -> Vec<SnapshotName> {
    texts.iter().map(|text| snapshot(text)).collect()
}

fn freeze(member: &Member, texts: &[&str]) -> Result<Vec<ClusterSnapshot>, ClusterError> {
    member.cluster.snapshot_together(&snapshots(texts))
}

fn names(member: &Member, volume: &str) -> Vec<String> {
    let found = member.cluster.snapshots(&name(volume)).unwrap();
    found.iter().map(|snapshot| snapshot.name.snapshot.to_string()).collect()
}

fn number(member: &Member, export: &str, offset: u64) -> u64 {
    u64::from_le_bytes(read(&member.open_volume(export), offset, 8).try_into().unwrap())
}

/// Counts until told to stop: each number into the one volume, then, when that was answered, into the other.
fn count(one: &Arc<dyn Export>, other: &Arc<dyn Export>, offset: u64, is_over: &AtomicBool) -> u64 {
    let mut count = 0u64;
    while !is_over.load(Ordering::Relaxed) {
        count += 1;
        for export in [one, other] {
            export.write(&[Write { offset, data: &count.to_le_bytes() }]).unwrap();
        }
    }
    count
}

/// That two snapshots show one moment of what [`count`] does there.
fn check(member: &Member, one: &str, other: &str, offset: u64) {
    let (one, other) = (number(member, one, offset), number(member, other, offset));
    assert!(one == other || one == other + 1, "{one} and {other}");
}

/// While it is written to volumes with different primaries, in both orders, two nodes freeze them again and again, each in another order.
#[test]
fn snapshots_of_several_volumes_show_one_moment() {
    let scratch = Scratch::new("together");
    let members = cluster_of(&scratch, 3);
    members[0].create("a", 3);
    members[1].create("b", 3);
    let (a, b) = (members[0].open_volume("a"), members[1].open_volume("b"));
    wait_until("each is primary for what its client has open", || members[2].primary("a") != members[2].primary("b"));
    let is_over = AtomicBool::new(false);
    let counted = thread::scope(|scope| {
        let counting = scope.spawn(|| count(&a, &b, 0, &is_over));
        let turned = scope.spawn(|| count(&b, &a, TURNED, &is_over));
        let freezing = [(0, false), (2, true)].map(|(index, is_turned)| {
            let member = &members[index];
            scope.spawn(move || {
                for number in 0..FROZEN {
                    let (one, other) = (format!("a@{index}-{number}"), format!("b@{index}-{number}"));
                    let asked = if is_turned { [&*other, &*one] } else { [&*one, &*other] };
                    let made = freeze(member, &asked).unwrap();
                    assert_eq!(made.iter().map(|made| made.name.to_string()).collect::<Vec<_>>(), asked);
                }
            })
        });
        freezing.into_iter().for_each(|it| it.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        counting.join().unwrap().min(turned.join().unwrap())
    });
    for index in [0, 2] {
        for number in 0..FROZEN {
            let (a, b) = (format!("a@{index}-{number}"), format!("b@{index}-{number}"));
            check(&members[1], &a, &b, 0);
            check(&members[1], &b, &a, TURNED);
        }
    }
    assert!(counted > FROZEN, "something was written meanwhile: {counted}");
    drop((a, b));
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_name_that_is_taken_leaves_no_snapshot_and_no_pause() {
    let scratch = Scratch::new("together-taken");
    let members = cluster_of(&scratch, 2);
    members[0].create("a", 2);
    members[0].create("b", 1);
    members[1].cluster.snapshot(&snapshot("b@x")).unwrap();
    for member in &members {
        let taken = freeze(member, &["a@x", "b@x"]).unwrap_err();
        assert!(taken.to_string().contains("b has a snapshot named x"), "{taken}");
        let twice = freeze(member, &["a@x", "a@y"]).unwrap_err();
        assert!(twice.to_string().contains('a'), "{twice}");
        assert!(matches!(freeze(member, &["a@x", "none@x"]), Err(ClusterError::NoSuchVolume(_))));
        assert!(names(member, "a").is_empty());
    }
    let made = freeze(&members[1], &["b@y", "a@x"]).unwrap();
    assert_eq!(made.len(), 2);
    assert_eq!((names(&members[0], "a"), names(&members[0], "b")), (vec!["x".into()], vec!["x".into(), "y".into()]));
    members.into_iter().for_each(|member| drop(member.stop()));
}

/// The node that serves one of the volumes ends in the middle of it.
#[test]
fn what_is_made_while_a_primary_is_lost_shows_one_moment_too() {
    let scratch = Scratch::new("together-lost");
    let mut members = cluster_of(&scratch, 3);
    members[0].create("a", 3);
    members[2].create("b", 3);
    let (a, b) = (members[0].open_volume("a"), members[0].open_volume("b"));
    members.iter().for_each(|member| member.wait_healthy("a"));
    drop(members[2].open_volume("b"));
    let (lost, is_over) = (members.remove(2), AtomicBool::new(false));
    let made = thread::scope(|scope| {
        let counting = scope.spawn(|| count(&a, &b, 0, &is_over));
        let ending = scope.spawn(|| lost.stop());
        let mut made = Vec::new();
        for number in 0..12 {
            let asked = [format!("a@{number}"), format!("b@{number}")];
            match freeze(&members[1], &[&asked[0], &asked[1]]) {
                Ok(_) => made.push(asked),
                Err(error) => assert!(!matches!(error, ClusterError::LeftOver { .. }), "{error}"),
            }
        }
        ending.join().unwrap();
        is_over.store(true, Ordering::Relaxed);
        counting.join().unwrap();
        made
    });
    assert!(!made.is_empty());
    assert_eq!(names(&members[0], "a"), names(&members[0], "b"), "all or none");
    assert_eq!(names(&members[0], "a").len(), made.len());
    made.iter().for_each(|[one, other]| check(&members[0], one, other, 0));
    drop((a, b));
    members.into_iter().for_each(|member| drop(member.stop()));
}
