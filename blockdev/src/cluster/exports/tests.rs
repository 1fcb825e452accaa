use super::*;
use crate::access::AllowList;
use crate::cluster::tests::{Fixture, name};
use crate::node::TrashName;
use crate::span::Span;

#[test]
fn lists_say_who_may_open_a_replicated_volume_and_go_with_it() {
    let fixture = Fixture::new("cluster-allow");
    let (cluster, exports) = (&fixture.cluster, &fixture.exports);
    let backup = Principal::Certified(vec!["backup".into()]);
    let other = Principal::Certified(vec!["other".into()]);
    let opens = |text: &str, client: &Principal| exports.open(text, client).is_ok();
    cluster.snapshot(&"db@s".parse().unwrap()).unwrap();
    assert!(opens("db", &Principal::Anonymous), "no list is for everybody");
    let list: AllowList = "backup,desk".parse().unwrap();
    assert_eq!(cluster.set_allow(&name("db"), &list).unwrap().allow, list);
    assert_eq!(cluster.clone_volume(&"db@s".parse().unwrap(), &name("copy")).unwrap().allow, list);
    assert!(cluster.set_allow(&name("nobody"), &list).is_err());
    for client in [&Principal::Anonymous, &other] {
        assert!(exports.names(client).is_empty());
        assert!(["db", "db@s", "copy"].iter().all(|text| !opens(text, client)));
        let message = |text: &str| exports.open(text, client).err().unwrap().to_string();
        assert_eq!(message("db"), message("nothing"));
        assert!(exports.snapshots("db", client).is_empty());
        assert!(exports.changes_since("db", "s", client).is_err());
    }
    for client in [&Principal::Local, &backup] {
        assert_eq!(exports.names(client), ["copy", "db"]);
        assert!(["db", "db@s", "copy"].iter().all(|text| opens(text, client)));
        assert_eq!(exports.snapshots("db", client), ["s"]);
        assert!(exports.changes_since("db", "s", client).is_ok());
    }
    // The trash keeps the list.
    cluster.discard(&name("copy"), false, Span::from_seconds(60).unwrap()).unwrap();
    let restored = cluster.restore(&TrashName { name: name("copy"), id: None }, Some(&name("back"))).unwrap();
    assert_eq!(restored.allow, list);
    assert!(!opens("back", &other));
    assert!(cluster.set_allow(&name("back"), &AllowList::default()).unwrap().allow.is_empty());
    assert!(opens("back", &other) && !opens("db", &other));
}

#[test]
fn a_snapshot_that_a_client_here_has_open_stays() {
    let fixture = Fixture::new("cluster-open-snapshot");
    let cluster = &fixture.cluster;
    let snapshot: crate::name::SnapshotName = "db@s".parse().unwrap();
    cluster.snapshot(&snapshot).unwrap();
    let volume = cluster.volume(&name("db")).unwrap().id;
    let here = || fixture.exports.open("db@s", &Principal::Local).unwrap();
    let elsewhere = || -> Arc<dyn Export> {
        Arc::new(RemoteSnapshot::open(&cluster.core(), VolumeId(volume), "s").unwrap().unwrap())
    };
    let opened: [&dyn Fn() -> Arc<dyn Export>; 2] = [&here, &elsewhere];
    for open in opened {
        let reader = open();
        let refusals = [cluster.remove_snapshot(&snapshot), cluster.rename_snapshot(&snapshot, &name("t")).map(drop)];
        let message = "snapshot db@s is in use by 1 connections";
        assert!(refusals.into_iter().all(|refusal| refusal.unwrap_err().to_string() == message));
        drop(reader);
    }
    cluster.remove_snapshot(&snapshot).unwrap();
}
