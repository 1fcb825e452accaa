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
