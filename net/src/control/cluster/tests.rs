use crate::control::*;

const PROGRESS: ProgressDescription =
    ProgressDescription { done_bytes: 1024, total_bytes: 4096, rate_bytes: Some(512), left_s: Some(6) };

fn replication() -> ReplicationDescription {
    let replica = |node: u64, role: &str, reachable| ReplicaDescription {
        node,
        node_name: format!("n{node}"),
        role: role.into(),
        reachable,
        progress: (node == 3).then_some(PROGRESS),
    };
    ReplicationDescription {
        replicas_wanted: 3,
        in_sync_min: 2,
        epoch: 7,
        replicas: vec![replica(1, "primary", true), replica(3, "catching_up", true)],
        health: "degraded".into(),
        doing: Some("n3 catches up".into()),
    }
}

const REPLICATION: &str = r#"{"replicas_wanted":3,"in_sync_min":2,"epoch":7,"replicas":[{"node":1,"node_name":"n1","role":"primary","reachable":true,"progress":null},{"node":3,"node_name":"n3","role":"catching_up","reachable":true,"progress":{"done_bytes":1024,"total_bytes":4096,"rate_bytes":512,"left_s":6}}],"health":"degraded","doing":"n3 catches up"}"#;

fn volume() -> VolumeDescription {
    VolumeDescription {
        name: "vm".into(),
        id: 2,
        size_bytes: 4096,
        codec: "lz4".into(),
        created: "2026-11-26T07:00:00Z".into(),
        connections: 0,
        state: "ready".into(),
        snapshots: 0,
        origin: None,
        schedule: None,
        reserve_bytes: None,
        quota_bytes: None,
        allow: Vec::new(),
        replication: Some(Box::new(replication())),
    }
}

fn node() -> NodeDescription {
    NodeDescription {
        id: 1,
        name: "n1".into(),
        addresses: vec!["10.0.0.1:10809".into()],
        zone: "left".into(),
        standing: "member".into(),
        reachable: false,
        trouble: Some("timed out".into()),
        voter: true,
        replicas: 4,
        primaries: 1,
    }
}

fn event() -> EventDescription {
    EventDescription {
        at: "2026-11-26T07:00:00Z".into(),
        node: Some("n1".into()),
        kind: "volume_degraded".into(),
        subject: "vm".into(),
        text: "volume vm is degraded".into(),
    }
}

#[test]
fn requests_have_this_json() {
    let action = |action| Request::Node { name: "n2".into(), action };
    let set = SetVolume { name: "vm".into(), replicas: Some(3), ..SetVolume::default() };
    let create = CreateVolume {
        name: "vm".into(),
        size_bytes: 4096,
        codec: None,
        reuse: false,
        reserve_bytes: None,
        quota_bytes: None,
        replicas: Some(3),
    };
    let requests = [
        (
            Request::ClusterInit { name: Some("n1".into()), zone: None },
            r#"{"verb":"cluster_init","name":"n1","zone":null}"#,
        ),
        (Request::ClusterToken { validity_s: 3600 }, r#"{"verb":"cluster_token","validity_s":3600}"#),
        (Request::ClusterStatus, r#"{"verb":"cluster_status"}"#),
        (
            Request::ClusterSet { catch_up_rate_bytes: Some(1 << 20) },
            r#"{"verb":"cluster_set","catch_up_rate_bytes":1048576}"#,
        ),
        (Request::ClusterRotateAuthority { cancel: true }, r#"{"verb":"cluster_rotate_authority","cancel":true}"#),
        (Request::Events { since_s: Some(60) }, r#"{"verb":"events","since_s":60}"#),
        (action(NodeAction::Drain), r#"{"verb":"node","name":"n2","action":"drain"}"#),
        (action(NodeAction::Resume), r#"{"verb":"node","name":"n2","action":"resume"}"#),
        (action(NodeAction::Remove), r#"{"verb":"node","name":"n2","action":"remove"}"#),
        (action(NodeAction::RemoveLost), r#"{"verb":"node","name":"n2","action":"remove_lost"}"#),
        (
            Request::MoveReplica(MoveReplica { volume: "vm".into(), from: None, to: "n2".into() }),
            r#"{"verb":"move_replica","volume":"vm","from":null,"to":"n2"}"#,
        ),
        (
            Request::Create(create),
            r#"{"verb":"create","name":"vm","size_bytes":4096,"codec":null,"reuse":false,"reserve_bytes":null,"quota_bytes":null,"replicas":3}"#,
        ),
        (
            Request::Set(set),
            r#"{"verb":"set","name":"vm","snap_every":null,"keep":null,"reserve_bytes":null,"quota_bytes":null,"allow":null,"replicas":3}"#,
        ),
    ];
    for (request, expected) in requests {
        assert_eq!(serde_json::to_string(&request).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Request>(expected).unwrap(), request);
    }
}

#[test]
fn answers_have_this_json() {
    let described = format!(
        r#"{{"name":"vm","id":2,"size_bytes":4096,"codec":"lz4","created":"2026-11-26T07:00:00Z","connections":0,"state":"ready","snapshots":0,"origin":null,"schedule":null,"reserve_bytes":null,"quota_bytes":null,"allow":[],"replication":{REPLICATION}}}"#
    );
    let cluster = ClusterDescription {
        cluster: "c0ffee".into(),
        here: 1,
        leader: None,
        nodes: vec![node()],
        volumes: vec![volume()],
        rotation: Some(RotationDescription { stage: "trusting".into(), awaited: vec!["n3".into()] }),
    };
    let answers = [
        (
            Response::Cluster(Box::new(cluster)),
            format!(
                r#"{{"answer":"cluster","cluster":"c0ffee","here":1,"leader":null,"nodes":[{{"id":1,"name":"n1","addresses":["10.0.0.1:10809"],"zone":"left","standing":"member","reachable":false,"trouble":"timed out","voter":true,"replicas":4,"primaries":1}}],"volumes":[{described}],"rotation":{{"stage":"trusting","awaited":["n3"]}}}}"#
            ),
        ),
        (
            Response::Events { events: vec![event()], silent: vec!["n3".into()] },
            r#"{"answer":"events","events":[{"at":"2026-11-26T07:00:00Z","node":"n1","kind":"volume_degraded","subject":"vm","text":"volume vm is degraded"}],"silent":["n3"]}"#.to_owned(),
        ),
        (Response::Token { token: "silt1-x".into() }, r#"{"answer":"token","token":"silt1-x"}"#.to_owned()),
    ];
    for (answer, expected) in answers {
        assert_eq!(serde_json::to_string(&answer).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Response>(&expected).unwrap(), answer);
    }
}

#[test]
fn a_summary_has_this_json() {
    let summary = ClusterSummary {
        cluster: "c0ffee".into(),
        here: 1,
        here_name: "n1".into(),
        leader: Some(2),
        nodes: 3,
        nodes_unreachable: 1,
        volumes: 5,
        volumes_degraded: 2,
        volumes_stalled: 1,
    };
    let expected = r#"{"cluster":"c0ffee","here":1,"here_name":"n1","leader":2,"nodes":3,"nodes_unreachable":1,"volumes":5,"volumes_degraded":2,"volumes_stalled":1}"#;
    assert_eq!(serde_json::to_string(&summary).unwrap(), expected);
    assert_eq!(serde_json::from_str::<ClusterSummary>(expected).unwrap(), summary);
}

/// What programs without clusters send is understood, and an action of a newer one is no broken message.
#[test]
fn messages_of_other_versions_are_read() {
    let create: Request = serde_json::from_str(r#"{"verb":"create","name":"a","size_bytes":5}"#).unwrap();
    assert!(matches!(create, Request::Create(create) if create.replicas.is_none()));
    let set: Request = serde_json::from_str(r#"{"verb":"set","name":"a"}"#).unwrap();
    assert!(matches!(set, Request::Set(set) if set.replicas.is_none()));
    let volume = r#"{"answer":"volume","name":"a","id":1,"size_bytes":5,"codec":"lz4","created":"","connections":0,"state":"ready"}"#;
    let Response::Volume(volume) = serde_json::from_str(volume).unwrap() else { panic!("it is a volume") };
    assert_eq!(volume.replication, None);
    let cluster = r#"{"answer":"cluster","cluster":"c0ffee","here":1,"nodes":[],"volumes":[]}"#;
    let Response::Cluster(cluster) = serde_json::from_str(cluster).unwrap() else { panic!("it is a cluster") };
    assert_eq!(cluster.rotation, None);
    let rotate: Request = serde_json::from_str(r#"{"verb":"cluster_rotate_authority"}"#).unwrap();
    assert_eq!(rotate, Request::ClusterRotateAuthority { cancel: false });
    let promote: Request = serde_json::from_str(r#"{"verb":"node","name":"n2","action":"promote"}"#).unwrap();
    let replica = r#"{"node":1,"node_name":"n1","role":"primary","reachable":true}"#;
    assert_eq!(serde_json::from_str::<ReplicaDescription>(replica).unwrap().progress, None);
    assert_eq!(promote, Request::Node { name: "n2".into(), action: NodeAction::Unknown });
}

#[test]
fn copies_are_those_that_have_everything_and_are_reached() {
    let mut replication = replication();
    assert_eq!(replication.copies(), 1);
    replication.replicas[1].role = "backup".into();
    assert_eq!(replication.copies(), 2);
    replication.replicas[1].reachable = false;
    assert_eq!(replication.copies(), 1);
}
