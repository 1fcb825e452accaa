use siltstone::store::store::Limits;

use super::*;

fn node_report(id: u64, is_reachable: bool) -> NodeReport {
    NodeReport {
        id,
        name: format!("n{id}"),
        addresses: vec![format!("10.0.0.{id}:10809")],
        zone: "left".into(),
        standing: NodeStanding::Draining,
        is_reachable,
        trouble: (!is_reachable).then(|| "timed out".into()),
        is_voter: true,
        replicas: 2,
        primaries: 1,
    }
}

fn volume_report(name: &str, health: VolumeHealth) -> VolumeReport {
    let progress = Progress { done_bytes: 1000, total_bytes: 4000, rate_bytes: Some(100) };
    let replica = |node: u64, role, is_reachable| ReplicaReport {
        node,
        node_name: format!("n{node}"),
        role,
        is_reachable,
        progress: (role == ReplicaRole::CatchingUp).then_some(progress),
    };
    VolumeReport {
        id: 4,
        name: name.parse().unwrap(),
        size_bytes: 1 << 20,
        codec: Default::default(),
        created_ms: 0,
        is_complete: true,
        origin: None,
        schedule: None,
        allow: "backup,db".parse().unwrap(),
        limits: Limits { reserve_bytes: None, quota_bytes: Some(1 << 30) },
        replicas_wanted: 3,
        in_sync_min: 2,
        epoch: 9,
        replicas: vec![
            replica(1, ReplicaRole::Primary, true),
            replica(2, ReplicaRole::Backup, false),
            replica(3, ReplicaRole::CatchingUp, true),
        ],
        health,
        doing: Some("n3 catches up".into()),
        connections: 5,
    }
}

fn report() -> ClusterReport {
    ClusterReport {
        cluster: "c0ffee".into(),
        here: 2,
        leader: Some(1),
        nodes: vec![node_report(1, false), node_report(2, true), node_report(3, true)],
        volumes: vec![
            volume_report("a", VolumeHealth::Healthy),
            volume_report("b", VolumeHealth::Degraded),
            volume_report("c", VolumeHealth::Stalled),
            volume_report("d", VolumeHealth::Degraded),
        ],
        rotation: Some(RotationReport { is_trusted: false, awaited: vec!["n3".into()] }),
        authority: None,
    }
}

#[test]
fn a_summary_counts_what_is_wrong() {
    let summary = summary(&report());
    assert_eq!((summary.here, &*summary.here_name, summary.leader), (2, "n2", Some(1)));
    assert_eq!((summary.nodes, summary.nodes_unreachable), (3, 1));
    assert_eq!((summary.volumes, summary.volumes_degraded, summary.volumes_stalled), (4, 2, 1));
}

#[test]
fn a_description_has_all_that_the_report_has() {
    let described = cluster(&report());
    assert_eq!((&*described.cluster, described.here, described.leader), ("c0ffee", 2, Some(1)));
    let rotation = RotationDescription { stage: "trusting".into(), awaited: vec!["n3".into()] };
    assert_eq!(described.rotation, Some(rotation));
    let node = &described.nodes[0];
    assert_eq!((node.id, &*node.name, &*node.zone, &*node.standing), (1, "n1", "left", "draining"));
    assert_eq!((node.reachable, node.trouble.as_deref(), node.voter), (false, Some("timed out"), true));
    assert_eq!((node.replicas, node.primaries, &node.addresses[..]), (2, 1, &["10.0.0.1:10809".to_owned()][..]));
    let volume = &described.volumes[1];
    assert_eq!((&*volume.name, volume.id, volume.size_bytes, volume.connections), ("b", 4, 1 << 20, 5));
    let replication = volume.replication.as_ref().unwrap();
    assert_eq!((replication.replicas_wanted, replication.in_sync_min, replication.epoch), (3, 2, 9));
    assert_eq!((&*replication.health, replication.doing.as_deref()), ("degraded", Some("n3 catches up")));
    let roles: Vec<_> = replication.replicas.iter().map(|one| (one.node, &*one.role, one.reachable)).collect();
    assert_eq!(roles, [(1, "primary", true), (2, "backup", false), (3, "catching_up", true)]);
    assert_eq!(replication.copies(), 1);
    assert_eq!(replication.replicas[1].progress, None);
    let progress = ProgressDescription { done_bytes: 1000, total_bytes: 4000, rate_bytes: Some(100), left_s: Some(30) };
    assert_eq!(replication.replicas[2].progress, Some(progress));
}
