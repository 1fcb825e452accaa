use super::*;
use crate::cluster::tests::{Fixture, name};
use crate::replica::operation::Operation;

#[test]
fn a_pause_for_a_name_that_is_taken_is_refused_and_leaves_none() {
    let fixture = Fixture::new("pauses");
    let core = fixture.cluster.core();
    let replica = core.replica(core.volume_named(&name("db")).unwrap().id).unwrap();
    fixture.cluster.snapshot(&"db@x".parse().unwrap()).unwrap();
    let paused = |id, name| core.pause_here(&replica, PauseId(id), name);
    assert_eq!(paused(1, "x"), Err(Refused::Exists));
    // One at a time: the first is over.
    assert_eq!(paused(2, "y"), Ok(()));
    assert_eq!((paused(3, "z"), replica.is_paused()), (Err(Refused::NotReady), true));
    let snapshot = Draft::of(&[Operation::Snapshot { name: name("y") }]);
    let ordered = |id| Sent::Here(replica.begin_paused(std::slice::from_ref(&snapshot), PauseId(id))).wait();
    assert_eq!((ordered(3), ordered(2)), (Err(Refused::NotReady), Ok(())));
    replica.resume(PauseId(2));
    assert_eq!(paused(4, "y"), Err(Refused::Exists));
}
