//! Syncs that do not come back.

use super::*;

/// A cluster in which the syncs of a node hang, and what its primary has proposed once the bound has passed. Writes go on, so
/// that the node gets further all the time.
fn with_hanging_syncs(node: NodeId) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.step(0, Event::InSyncMin(1));
    cluster.hanging = vec![node];
    cluster.write(1);
    cluster.step(0, Event::Flush { request: RequestId(2) });
    let before = Timing::DEFAULT.sync_us / HEARTBEAT;
    for request in 0..before + 4 {
        assert!(request >= before || cluster.proposals().is_empty(), "after {request} heartbeats");
        cluster.write(100 + request);
        cluster.pass(HEARTBEAT);
    }
    assert_eq!(cluster.outcome(2), None);
    cluster
}

#[test]
fn a_member_whose_sync_does_not_come_back_is_removed() {
    let mut cluster = with_hanging_syncs(B);
    let next = cluster.proposals()[0].clone();
    assert_eq!((next.primary, next.contains(B)), (A, false));
    cluster.configure(&next);
    cluster.pass(2 * HEARTBEAT);
    cluster.step(0, Event::Flush { request: RequestId(3) });
    assert_eq!(cluster.outcome(3), Some(Outcome::Done));
}

#[test]
fn a_primary_whose_sync_does_not_come_back_gives_the_volume_to_one_whose_does() {
    assert_eq!(heirs(&with_hanging_syncs(A)).first(), Some(&B));
}
