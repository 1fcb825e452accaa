//! Clones of replicated volumes.

use blockdev::lsm_store::id::VolumeId;

use super::*;

fn clone(member: &Member, of: &str, clone: &str) -> VolumeReport {
    member.cluster.clone_volume(&of.parse().unwrap(), &name(clone)).unwrap()
}

/// Whether the store's second volume shares its past with the first: only what starts from a seed does.
fn is_related(member: &Member, first: usize, second: usize) -> bool {
    let volumes = member.store.volumes().into_iter().filter(|info| info.snapshot_of.is_none());
    let ids: Vec<VolumeId> = volumes.map(|info| info.id).collect();
    let (first, second) = (member.store.volume(ids[first]).unwrap(), member.store.volume(ids[second]).unwrap());
    second.changes_since(&first, 0, 1, 1).is_ok()
}

/// Seeds go by themselves when they are of no use any more, and nothing but snapshots with names is left.
fn wait_no_seed(member: &Member, snapshots: usize) {
    wait_until("the seeds are gone", || {
        member.store.volumes().iter().filter(|info| info.snapshot_of.is_some()).count() == snapshots
    });
}

#[test]
fn a_clone_holds_what_its_source_did_on_every_node() {
    let scratch = Scratch::new("clone");
    let mut members = cluster_of(&scratch, 3);
    members[0].create("db", 3);
    members[0].wait_healthy("db");
    let export = members[0].open_volume("db");
    let content = noise(1 << 20);
    export.write(&[Write { offset: 0, data: &content }]).unwrap();
    export.flush().unwrap();
    members[0].cluster.snapshot(&snapshot("db@a")).unwrap();
    write(&export, 0, 2, 4096);
    // Neither from the node that serves the source.
    let old = clone(&members[1], "db@a", "old");
    let now = clone(&members[2], "db", "now");
    assert_eq!((old.size_bytes, old.is_complete, now.is_complete), (SIZE, true, true));
    assert_eq!(now.origin.unwrap().volume, Some(name("db")));
    write(&export, 0, 3, 4096);
    for member in &members {
        assert!(read(&member.open_volume("old"), 0, content.len()) == content);
        assert_eq!(read(&member.open_volume("now"), 0, 4096), [2; 4096]);
        assert!(read(&member.open_volume("now"), 4096, content.len() - 4096) == content[4096..]);
    }
    let children = members[1].cluster.children(&name("db")).unwrap();
    assert_eq!(children.iter().map(|child| child.name.as_str()).collect::<Vec<_>>(), ["now", "old"]);
    let listed: Vec<_> = members[1].cluster.snapshots(&name("db")).unwrap();
    assert_eq!(listed.iter().map(|listed| listed.name.to_string()).collect::<Vec<_>>(), ["db@a"], "seeds are not seen");
    members[0].wait_healthy("old");
    members[0].wait_healthy("now");
    for member in &members {
        assert!(is_related(member, 0, 1) && is_related(member, 0, 2), "nothing was sent");
    }
    members.iter().for_each(|member| wait_no_seed(member, 1));
    // Clones and source go their own ways, and do not need each other.
    write(&members[2].open_volume("old"), 8192, 4, 4096);
    drop(export);
    members[0].cluster.remove(&name("db"), true).unwrap();
    members.remove(0).stop();
    for member in &members {
        assert_eq!(read(&member.open_volume("now"), 0, 4096), [2; 4096]);
        let old = member.open_volume("old");
        assert!(read(&old, 0, 8192) == content[..8192]);
        assert_eq!(read(&old, 8192, 4096), [4; 4096]);
    }
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_node_that_was_away_gets_a_clone() {
    let scratch = Scratch::new("clone-away");
    let mut members = cluster_of(&scratch, 3);
    members[0].create("db", 3);
    members[0].wait_healthy("db");
    let export = members[0].open_volume("db");
    let content = noise(1 << 20);
    export.write(&[Write { offset: 4096, data: &content }]).unwrap();
    export.flush().unwrap();
    let away = members.pop().unwrap().stop();
    clone(&members[1], "db", "copy");
    write(&members[1].open_volume("copy"), 0, 1, 4096);
    let back = Member::open(away);
    back.wait_healthy("copy");
    drop(export);
    // It alone with one other has everything.
    members.remove(0).stop();
    let copy = back.open_volume("copy");
    assert_eq!(read(&copy, 0, 4096), [1; 4096]);
    assert!(read(&copy, 4096, content.len()) == content);
    drop(copy);
    back.stop();
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_clone_moves_as_any_volume_does() {
    let scratch = Scratch::new("clone-moves");
    let members = cluster_of(&scratch, 3);
    members[0].create("db", 2);
    let export = members[0].open_volume("db");
    let content = noise(1 << 20);
    export.write(&[Write { offset: 0, data: &content }]).unwrap();
    clone(&members[2], "db", "copy");
    members[0].wait_healthy("copy");
    assert_eq!(members[0].cluster.volume(&name("copy")).unwrap().replicas.len(), 2);
    // This node may learn a moment later than the first that the clone is complete.
    wait_until("it is to have three", || members[1].cluster.set_replicas(&name("copy"), 3).is_ok());
    members[1].wait_healthy("copy");
    members[1].cluster.drain("node-1").unwrap();
    // The clone has to stay: there are no more than three nodes.
    wait_until("node 1 does not hold the volume any more", || {
        let report = members[1].cluster.volume(&name("db")).unwrap();
        report.replicas.iter().all(|replica| replica.node != 1)
    });
    assert!(read(&members[2].open_volume("copy"), 0, content.len()) == content);
    drop(export);
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn what_cannot_be_cloned_is_refused_and_leaves_nothing() {
    let scratch = Scratch::new("clone-refused");
    let member = Member::found(scratch.0.join("1"));
    member.create("db", 1);
    let clone =
        |of: &str, to: &str| member.cluster.clone_volume(&of.parse().unwrap(), &name(to)).unwrap_err().to_string();
    assert!(clone("none", "copy").contains("none"));
    assert!(clone("db@gone", "copy").contains("does not have a snapshot named gone"));
    assert!(clone("db", "db").contains("exists already"));
    let reserved = member.cluster.snapshot(&snapshot("db@seed-0000000000000007")).unwrap_err();
    assert!(reserved.to_string().contains("choose another"), "{reserved}");
    assert_eq!(member.cluster.report().volumes.len(), 1);
    member.stop();
}
