//! The cluster's trash.

use blockdev::lsm_store::id::VolumeId;
use blockdev::node::{Purge, TrashName};
use blockdev::span::Span;

use super::*;

fn named(text: &str, id: Option<u64>) -> TrashName {
    TrashName { name: name(text), id: id.map(VolumeId) }
}

#[test]
fn any_node_gets_a_volume_back_from_the_trash() {
    let scratch = Scratch::new("trash");
    let members = cluster_of(&scratch, 3);
    let day = Span::from_seconds(86_400).unwrap();
    members[0].create("db", 3);
    let export = members[0].open_volume("db");
    write(&export, 0, 1, 4096);
    export.flush().unwrap();
    members[1].cluster.snapshot(&snapshot("db@a")).unwrap();
    assert!(members[0].cluster.discard(&name("db"), true, day).is_err(), "a client has it open");
    drop(export);
    assert!(members[1].cluster.discard(&name("db"), false, day).is_err(), "it has a snapshot");
    let discarded = members[1].cluster.discard(&name("db"), true, day).unwrap();
    assert_eq!((discarded.snapshots, discarded.expires_ms - discarded.removed_ms), (1, 86_400_000));
    wait_until("node 3 knows", || members[2].cluster.volume(&name("db")).is_err());
    assert!(members[2].exports.open("db", &Principal::Local).is_err());
    assert!(members[2].exports.names(&Principal::Local).is_empty());
    // Another may have its name.
    members[2].create("db", 1);
    let taken = members[2].cluster.restore(&named("db", None), None).unwrap_err();
    assert!(taken.to_string().contains("exists already"), "{taken}");
    let back = members[2].cluster.restore(&named("db", None), Some(&name("old"))).unwrap();
    assert_eq!(back.name, name("old"));
    assert_eq!(read(&members[2].open_volume("old"), 0, 4096), [1; 4096]);
    assert_eq!(read(&members[2].open_volume("old@a"), 0, 4096), [1; 4096]);
    assert!(members[2].cluster.trash().is_empty());
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn what_is_purged_is_gone_and_what_expires_goes_by_itself() {
    let scratch = Scratch::new("trash-purge");
    let member = Member::found(scratch.0.join("1"));
    let (day, second) = (Span::from_seconds(86_400).unwrap(), Span::from_seconds(1).unwrap());
    for _ in 0..2 {
        member.create("db", 1);
        member.cluster.discard(&name("db"), false, day).unwrap();
    }
    let ids: Vec<_> = member.cluster.trash().iter().map(|volume| volume.id).collect();
    let several = member.cluster.purge(&Purge::One(named("db", None))).unwrap_err();
    assert!(several.to_string().contains(&ids[1].to_string()), "{several}");
    let purged = member.cluster.purge(&Purge::One(named("db", Some(ids[1])))).unwrap();
    assert_eq!(purged.iter().map(|volume| volume.id).collect::<Vec<_>>(), [ids[1]]);
    assert!(member.cluster.purge(&Purge::Expired).unwrap().is_empty());
    member.create("brief", 1);
    member.cluster.discard(&name("brief"), false, second).unwrap();
    wait_until("it has expired", || member.cluster.trash().len() == 1);
    assert_eq!(member.cluster.purge(&Purge::All).unwrap().len(), 1);
    wait_until("the content is gone", || member.store.volumes().is_empty());
    member.stop();
}
