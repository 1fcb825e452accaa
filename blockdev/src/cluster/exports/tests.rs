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
