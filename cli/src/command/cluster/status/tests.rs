use siltstone::control::ReplicaDescription;

use super::*;

fn node(id: u64) -> NodeDescription {
    NodeDescription {
        id,
        name: format!("n{id}"),
        addresses: vec![format!("127.0.0.1:1081{id}")],
        standing: "member".into(),
        reachable: true,
        voter: true,
        replicas: 1,
        ..NodeDescription::default()
    }
}

fn volume(name: &str, replicas: &[(u64, &str, bool)], health: &str, doing: Option<&str>) -> VolumeDescription {
    let replica = |&(node, role, reachable): &(u64, &str, bool)| ReplicaDescription {
        node,
        node_name: format!("n{node}"),
        role: role.into(),
        reachable,
        progress: None,
    };
    let replication = ReplicationDescription {
        replicas_wanted: 3,
        in_sync_min: 2,
        epoch: 1,
        replicas: replicas.iter().map(replica).collect(),
        health: health.into(),
        doing: doing.map(str::to_owned),
    };
    let local = r#"{"name":"","id":1,"size_bytes":1048576,"codec":"lz4","created":"","connections":0,"state":"ready"}"#;
    let local: VolumeDescription = serde_json::from_str(local).unwrap();
    VolumeDescription { name: name.into(), replication: Some(Box::new(replication)), ..local }
}

fn three() -> ClusterDescription {
    let all = [(1, "primary", true), (2, "backup", true), (3, "backup", true)];
    ClusterDescription {
        cluster: "c0ffee".into(),
        here: 2,
        leader: Some(1),
        nodes: vec![node(1), node(2), node(3)],
        volumes: vec![volume("vm", &all, "healthy", None)],
        rotation: None,
    }
}

#[test]
fn a_cluster_in_order_shows_its_nodes_and_volumes_and_nothing_else() {
    let text = text(&three());
    assert_eq!(
        text,
        "cluster    c0ffee\n\
         this node  n2\n\
         leader     n1\n\
         \n\
         NODE  NUMBER  ADDRESS          ZONE  STATE   REPLICAS  PRIMARIES\n\
         n1         1  127.0.0.1:10811  -     member         1          0\n\
         n2         2  127.0.0.1:10812  -     member         1          0\n\
         n3         3  127.0.0.1:10813  -     member         1          0\n\
         \n\
         VOLUME   SIZE  REPLICAS  HEALTH   PRIMARY\n\
         vm      1 MiB       3/3  healthy  n1\n"
    );
}

#[test]
fn what_is_wrong_and_what_is_done_is_said() {
    let mut cluster = three();
    cluster.leader = None;
    cluster.nodes[2].reachable = false;
    cluster.nodes[2].trouble = Some("unheard for 2 seconds".into());
    cluster.nodes[1].standing = "draining".into();
    let some = [(1, "primary", true), (2, "catching_up", true)];
    cluster.volumes = vec![
        volume("a", &some, "degraded", Some("n2 catches up")),
        volume("b", &[(3, "primary", false)], "stalled", None),
        volume("c", &some, "healthy", Some("moving to n2")),
    ];
    let text = text(&cluster);
    for line in [
        "leader     none: this node sees no majority of the voters; until there is one, nothing can be changed",
        "node n2 is being drained, 1 replica to go",
        "node n3 is not reached: unheard for 2 seconds",
        "volume a is degraded: n2 catches up",
        "volume b is stalled, requests wait",
        "volume c is healthy: moving to n2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    cluster.nodes[1].replicas = 0;
    assert!(super::text(&cluster).contains("node n2 is drained: `silt node rm n2` removes it"));
}

#[test]
fn a_change_of_the_authority_says_for_whom_it_waits() {
    let rotation =
        |stage: &str| Some(RotationDescription { stage: stage.into(), awaited: vec!["n2".into(), "n3".into()] });
    let mut cluster = three();
    for (stage, step) in [("trusting", "trusts it"), ("showing", "shows a certificate of it")] {
        cluster.rotation = rotation(stage);
        let line = format!("the cluster is taking up another authority: until each node {step} it waits for n2, n3\n");
        assert_eq!(troubles(&cluster), line);
    }
}

#[test]
fn how_long_it_will_take_is_said() {
    let mut cluster = three();
    cluster.volumes =
        vec![volume("a", &[(1, "primary", true), (2, "catching_up", true)], "degraded", Some("something"))];
    let replica = |cluster: &mut ClusterDescription, progress| {
        cluster.volumes[0].replication.as_mut().unwrap().replicas[1].progress = Some(progress);
        troubles(cluster)
    };
    let begun = ProgressDescription { done_bytes: 1 << 30, total_bytes: 4 << 30, rate_bytes: None, left_s: None };
    assert_eq!(replica(&mut cluster, begun), "volume a is degraded: bringing up to date n2 (1 GiB of 4 GiB)\n");
    let known = ProgressDescription { rate_bytes: Some(32 << 20), left_s: Some(96), ..begun };
    assert_eq!(
        replica(&mut cluster, known),
        "volume a is degraded: bringing up to date n2 (1 GiB of 4 GiB, 32 MiB/s, about 1 min 36 s left)\n"
    );
    assert_eq!([0, 59, 3600, 90_000].map(time), ["0 s", "59 s", "1 h 0 min", "1 d 1 h"]);
}

#[test]
fn copies_that_are_behind_or_out_of_reach_do_not_count() {
    let of = |replicas: &[(u64, &str, bool)]| replicas_of(&volume("vm", replicas, "degraded", None));
    assert_eq!(of(&[(1, "primary", true), (2, "backup", true), (3, "catching_up", true)]), "2/3");
    assert_eq!(of(&[(1, "primary", true), (2, "backup", false)]), "1/3");
    let local = VolumeDescription { replication: None, ..volume("vm", &[], "healthy", None) };
    assert_eq!(replicas_of(&local), "-");
}

fn replicas_of(volume: &VolumeDescription) -> String {
    replicas(volume)
}

#[test]
fn a_node_says_of_its_cluster_what_matters() {
    let fine =
        ClusterSummary { here_name: "n1".into(), leader: Some(1), nodes: 3, volumes: 5, ..ClusterSummary::default() };
    assert_eq!(paragraph(&fine), "node n1 of 3; 5 replicated volumes");
    let ill = ClusterSummary { leader: None, nodes_unreachable: 2, volumes_degraded: 1, volumes_stalled: 4, ..fine };
    assert_eq!(
        paragraph(&ill),
        "node n1 of 3, 2 not reached; 5 replicated volumes, 1 degraded, 4 stalled; no majority"
    );
}
