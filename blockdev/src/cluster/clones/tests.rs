//! Clones whose making ends early, on a cluster of one node.

use std::time::Duration;

use net::replication::Standing;

use super::*;
use crate::access::Principal;
use crate::cluster::tests::{Fixture, SIZE, name};
use crate::export::{Exports, Write};
use crate::replica::log::ReplicaLog;

impl Fixture {
    fn source(&self) -> Volume {
        self.cluster.core.volume_named(&name("db")).unwrap()
    }

    /// The first step of a clone.
    fn agreed(&self) -> VolumeId {
        let configuration = self.cluster.core.configuration();
        let new = configured(&configuration, &self.source(), &name("copy"), SIZE, 1).unwrap();
        self.cluster.configured(new, &name("copy")).unwrap()
    }

    fn is_complete(&self) -> bool {
        self.cluster.volume(&name("copy")).is_ok_and(|volume| volume.is_complete)
    }
}

#[test]
fn a_clone_that_was_left_with_a_seed_is_completed() {
    let fixture = Fixture::new("clone-left");
    let clone = fixture.agreed();
    assert!(fixture.exports.open("copy", &Principal::Local).is_err(), "it has nothing yet");
    // As a crash leaves it that comes when the log is there and the content is not.
    let core = &fixture.cluster.core;
    drop(ReplicaLog::create(Arc::clone(&core.device), clone, core.boot, Standing::Outside).unwrap());
    fixture.cluster.ordered(&fixture.source(), Operation::Seed { clone, of: None }).unwrap();
    // The record may be ordered again; what was written in between is not in the clone.
    fixture.exports.open("db", &Principal::Local).unwrap().write(&[Write { offset: 0, data: &[2; 4096] }]).unwrap();
    fixture.cluster.ordered(&fixture.source(), Operation::Seed { clone, of: None }).unwrap();
    fixture.wait_until("the clone is complete", || fixture.is_complete());
    assert_eq!((fixture.first_byte("copy"), fixture.first_byte("db")), (1, 2));
    assert!(fixture.node.is_noted(clone));
}

#[test]
fn a_clone_without_a_seed_never_begins_and_is_given_up() {
    let fixture = Fixture::new("clone-unseeded");
    let clone = fixture.agreed();
    let gone = Some("gone".parse().unwrap());
    fixture.cluster.ordered(&fixture.source(), Operation::Seed { clone, of: gone }).unwrap();
    assert_eq!(fixture.cluster.wait_seed(fixture.source().id, clone, Duration::ZERO).unwrap(), None);
    let core = fixture.cluster.core();
    let volume = core.volume(clone).unwrap();
    core.settle_clone(&volume, Duration::from_secs(59)).unwrap();
    assert!(core.volume(clone).is_some(), "whoever makes it may only be slow");
    assert!(core.replica(clone).is_none() && !fixture.node.has_replica(clone));
    core.settle_clone(&volume, Duration::from_secs(60)).unwrap();
    assert!(core.volume(clone).is_none());
}

#[test]
fn seeds_of_clones_that_are_gone_go() {
    let fixture = Fixture::new("clone-gone");
    let (clone, source) = (fixture.agreed(), fixture.source().id);
    fixture.cluster.ordered(&fixture.source(), Operation::Snapshot { name: name("a") }).unwrap();
    fixture.cluster.ordered(&fixture.source(), Operation::Seed { clone, of: Some(name("a")) }).unwrap();
    fixture.wait_until("there is a seed", || fixture.node.has_seed(source, clone));
    let of_a = || fixture.node.replica_snapshots(source).unwrap();
    fixture.cluster.remove(&name("copy"), true).unwrap();
    fixture.wait_until("the seed is gone", || !fixture.node.has_seed(source, clone));
    assert_eq!(of_a().len(), 1, "the snapshot it was another name of stays");
    assert_eq!(fixture.node.store().volumes().iter().filter(|info| info.snapshot_of.is_some()).count(), 1);
}
