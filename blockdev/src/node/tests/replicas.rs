//! Replicas of the cluster's volumes.

use super::*;

const SOURCE: net::id::VolumeId = net::id::VolumeId(5);
const CLONE: net::id::VolumeId = net::id::VolumeId(6);

fn first(volume: &lsm_store::store::Volume) -> u8 {
    let mut byte = [0];
    volume.read(0, 1).unwrap().copy_to(&mut byte);
    byte[0]
}

#[test]
fn what_is_read_for_another_node_outlives_its_name() {
    let scratch = Scratch::new("held");
    let node = scratch.node(false).unwrap();
    let replica = node.replica(SOURCE, SPEC).unwrap();
    for (byte, snapshot) in [(1, "a"), (2, "b")] {
        replica.write(&[Write { offset: 0, data: &[byte; 4096] }]).unwrap();
        node.snapshot_replica(SOURCE, &name(snapshot)).unwrap();
    }
    let (snapshots, held) = node.hold_snapshots(SOURCE).unwrap();
    let (_, held_twice) = node.hold_snapshots(SOURCE).unwrap();
    node.remove_replica_snapshot(SOURCE, &name("a")).unwrap();
    assert_eq!(node.replica_snapshots(SOURCE).unwrap().len(), 1);
    drop(held_twice);
    assert_eq!(first(&node.store().volume(snapshots[0].info.id).unwrap()), 1);
    drop(held);
    assert!(node.store().volume(snapshots[0].info.id).is_err());
    assert_eq!(first(&node.store().volume(snapshots[1].info.id).unwrap()), 2);
    node.remove_replica_snapshot(SOURCE, &name("b")).unwrap();
    assert_eq!(node.store().volumes().len(), 1);
}

#[test]
fn what_lost_its_name_while_it_was_read_goes_at_the_next_start() {
    let scratch = Scratch::new("held-crash");
    let node = scratch.node(false).unwrap();
    node.replica(SOURCE, SPEC).unwrap();
    node.snapshot_replica(SOURCE, &name("a")).unwrap();
    let (_, held) = node.hold_snapshots(SOURCE).unwrap();
    node.remove_replica_snapshot(SOURCE, &name("a")).unwrap();
    // As if the process had ended.
    node.held.lock().values_mut().for_each(|count| *count += 1);
    drop(held);
    drop(node);
    let node = scratch.node(false).unwrap();
    assert_eq!(node.store().volumes().len(), 2);
    node.remove_unnamed_snapshots().unwrap();
    assert_eq!(node.store().volumes().len(), 1);
}

#[test]
fn a_clone_starts_from_no_seed_that_is_made_again() {
    let scratch = Scratch::new("seed");
    let node = scratch.node(false).unwrap();
    node.replica(SOURCE, SPEC).unwrap();
    node.make_seed(SOURCE, CLONE, None).unwrap();
    assert!(node.has_seed(SOURCE, CLONE) && !node.is_noted(CLONE));
    node.remove_replica_snapshot(SOURCE, &seed_name(CLONE)).unwrap();
    node.make_seed(SOURCE, CLONE, None).unwrap();
    assert!(node.has_seed(SOURCE, CLONE) && node.is_noted(CLONE));
    assert_eq!(node.noted(), [CLONE]);
    node.forget_replica(CLONE).unwrap();
    assert_eq!(node.noted(), []);
}

/// Content of another node brings all its snapshots at once: what the store knows of their times says nothing.
#[test]
fn snapshots_that_came_at_once_are_thinned_by_the_times_in_their_names() {
    const HOUR_MS: u64 = 3_600_000;
    let scratch = Scratch::new("thinned");
    let node = scratch.node(false).unwrap();
    node.replica(SOURCE, SPEC).unwrap();
    let now_ms = node.wall_ms() / HOUR_MS * HOUR_MS;
    let times: Vec<u64> = (0..12).rev().map(|hours| now_ms - hours * HOUR_MS).collect();
    for time_ms in &times {
        node.snapshot_replica(SOURCE, &crate::schedule::automatic_name(*time_ms)).unwrap();
    }
    let found: Vec<u64> =
        node.replica_snapshots(SOURCE).unwrap().iter().map(|snapshot| snapshot.info.created_ms).collect();
    assert_eq!(found, times);
    let schedule: Schedule = "every=1h keep=1h:1d".parse().unwrap();
    assert!(schedule.thin(&found, now_ms).is_empty());
}

#[test]
fn who_freezes_a_volume_while_a_snapshot_comes_into_it_gets_what_was_before() {
    let scratch = Scratch::new("intake");
    let node = scratch.node(false).unwrap();
    let replica = node.replica(SOURCE, SPEC).unwrap();
    let fill = |byte| replica.write(&[Write { offset: 0, data: &[byte; 4096] }]).unwrap();
    let (before, after) = (before_name(net::id::NodeId(3)), after_name(net::id::NodeId(3)));
    fill(1);
    node.snapshot_replica(SOURCE, &before).unwrap();
    assert_eq!(node.takers(SOURCE), [net::id::NodeId(3)]);
    fill(2);
    node.snapshot_replica(SOURCE, &name("meanwhile")).unwrap();
    node.make_seed(SOURCE, CLONE, None).unwrap();
    node.snapshot_replica(SOURCE, &after).unwrap();
    // Done again, as after a crash.
    node.snapshot_replica(SOURCE, &name("meanwhile")).unwrap();
    node.remove_replica_snapshot(SOURCE, &before).unwrap();
    fill(3);
    node.snapshot_replica(SOURCE, &name("later")).unwrap();
    let frozen = |snapshot: &VolumeName| first(node.replica_snapshot(SOURCE, snapshot).unwrap().volume());
    let names = [&name("meanwhile"), &seed_name(CLONE), &after, &name("later")];
    assert_eq!(names.map(frozen), [1, 1, 2, 3]);
    for name in names {
        node.remove_replica_snapshot(SOURCE, name).unwrap();
    }
    assert_eq!((node.takers(SOURCE).len(), node.store().volumes().len()), (0, 1));
}

#[test]
fn a_second_node_freezes_nothing_that_is_half_changed() {
    let scratch = Scratch::new("intake-second");
    let node = scratch.node(false).unwrap();
    let replica = node.replica(SOURCE, SPEC).unwrap();
    let fill = |byte| replica.write(&[Write { offset: 0, data: &[byte; 4096] }]).unwrap();
    let [first_before, second_before] = [3, 4].map(|node| before_name(net::id::NodeId(node)));
    fill(1);
    node.snapshot_replica(SOURCE, &first_before).unwrap();
    fill(2);
    node.snapshot_replica(SOURCE, &second_before).unwrap();
    assert_eq!(node.takers(SOURCE), [net::id::NodeId(3)]);
    // What is not there does no harm.
    node.roll_back_replica(SOURCE, &second_before).unwrap();
    node.remove_replica_snapshot(SOURCE, &second_before).unwrap();
    assert_eq!(first(&replica), 2);
    // Done again, as after a crash.
    node.snapshot_replica(SOURCE, &first_before).unwrap();
    node.roll_back_replica(SOURCE, &first_before).unwrap();
    node.remove_replica_snapshot(SOURCE, &first_before).unwrap();
    assert_eq!(first(&replica), 1);
    node.snapshot_replica(SOURCE, &second_before).unwrap();
    assert_eq!(node.takers(SOURCE), [net::id::NodeId(4)]);
}

#[test]
fn hidden_names_are_told_from_others() {
    let hidden = [before_name(net::id::NodeId(3)), after_name(net::id::NodeId(3)), seed_name(CLONE)];
    assert!(hidden.iter().all(is_hidden));
    for seen in ["intake-0000000000000003", "intake-3-before", "intake-000000000000000g-after", "before", "seed-6"] {
        assert!(!is_hidden(&name(seen)), "{seen}");
    }
    assert_eq!(hidden.each_ref().map(taker_of), [Some(net::id::NodeId(3)), None, None]);
}

#[test]
fn what_this_node_brings_is_noted_until_it_has_come() {
    let scratch = Scratch::new("intake-notes");
    for stage in [IntakeStage::Frozen, IntakeStage::Changing] {
        let node = scratch.node(false).unwrap();
        node.note_intake(SOURCE, stage).unwrap();
        node.note_intake(CLONE, stage).unwrap();
        node.forget_intake(CLONE).unwrap();
        drop(node);
        let node = scratch.node(false).unwrap();
        assert_eq!((node.intakes(), node.imports()), (vec![(SOURCE, stage)], vec![]));
    }
}
