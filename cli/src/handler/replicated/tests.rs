use siltstone::control::{ImportVolume, Rewind};

use super::*;

fn names(request: &Request) -> Vec<String> {
    local_only(request).iter().map(ToString::to_string).collect()
}

#[test]
fn requests_that_need_a_volume_of_the_node_are_known_by_its_name() {
    let a = || "a".to_owned();
    let changes = Request::Changes { from: "a@x".into(), to: "a".into(), offset: 0 };
    assert!(names(&changes).is_empty(), "replicated volumes are compared");
    assert!(names(&Request::Snapshot { names: vec!["a@x".into()] }).is_empty(), "it can be replicated");
    assert_eq!(names(&Request::Root { name: a() }), ["a"]);
    assert!(names(&Request::Clone { of: "a@x".into(), name: "b".into() }).is_empty(), "replicated volumes are cloned");
    assert!(names(&Request::Rewind(Rewind { name: a(), ..Rewind::default() })).is_empty(), "they are rewound");
    assert!(names(&Request::Info { name: a() }).is_empty(), "replicated volumes are shown");
    assert!(names(&Request::Uris { name: a() }).is_empty(), "replicated volumes are served");
    assert!(names(&Request::List).is_empty());
    assert!(names(&Request::Root { name: "No name".into() }).is_empty());
}

#[test]
fn requests_that_make_a_volume_of_the_node_are_known_by_its_name() {
    let create = |replicas| {
        Request::Create(CreateVolume {
            name: "a".into(),
            size_bytes: 1,
            codec: None,
            reuse: false,
            reserve_bytes: None,
            quota_bytes: None,
            replicas,
        })
    };
    let made = |request: &Request| made(request).map(|name| name.to_string());
    let a = Some("a".to_owned());
    assert_eq!(made(&create(None)), a);
    assert_eq!(made(&create(Some(3))), None, "the cluster looks after its own names");
    assert_eq!(made(&Request::Clone { of: "b".into(), name: "a".into() }), a);
    assert_eq!(made(&Request::Restore { name: "a".into(), id: None, to: None }), a);
    assert_eq!(made(&Request::Restore { name: "b".into(), id: None, to: a.clone() }), a);
    assert_eq!(made(&Request::Rewind(Rewind { name: "b".into(), to: a.clone(), ..Rewind::default() })), a);
    assert_eq!(made(&Request::Rewind(Rewind { name: "a".into(), ..Rewind::default() })), None);
    let import = ImportVolume { name: "a".into(), ..ImportVolume::default() };
    assert_eq!(made(&Request::Import(import.clone())), a);
    assert_eq!(made(&Request::Import(ImportVolume { replicas: Some(2), ..import })), None);
}
