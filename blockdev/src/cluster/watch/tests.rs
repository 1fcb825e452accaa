use lsm_store::codec::Codec;
use lsm_store::store::Limits;

use super::super::report::{ReplicaReport, RotationReport};
use super::*;
use crate::access::AllowList;

fn node(id: u64) -> NodeReport {
    NodeReport {
        id,
        name: format!("n{id}"),
        addresses: Vec::new(),
        zone: String::new(),
        standing: NodeStanding::Member,
        is_reachable: true,
        trouble: None,
        is_voter: true,
        replicas: 2,
        primaries: 0,
    }
}

fn replica(node: u64, role: ReplicaRole) -> ReplicaReport {
    ReplicaReport { node, node_name: format!("n{node}"), role, is_reachable: true, progress: None }
}

fn volume() -> VolumeReport {
    VolumeReport {
        id: 1,
        name: "db".parse().unwrap(),
        size_bytes: 4096,
        codec: Codec::Lz4,
        created_ms: 0,
        is_complete: true,
        origin: None,
        schedule: None,
        allow: AllowList::default(),
        limits: Limits::default(),
        replicas_wanted: 2,
        in_sync_min: 1,
        epoch: 1,
        replicas: vec![replica(1, ReplicaRole::Primary), replica(2, ReplicaRole::Backup)],
        health: VolumeHealth::Healthy,
        doing: None,
        connections: 0,
    }
}

fn report(nodes: Vec<NodeReport>, volumes: Vec<VolumeReport>) -> ClusterReport {
    ClusterReport { cluster: "c".into(), here: 1, leader: Some(1), nodes, volumes, ..ClusterReport::default() }
}

fn kinds(before: &ClusterReport, now: &ClusterReport) -> Vec<(&'static str, String)> {
    changes(before, now).into_iter().map(|(kind, subject, _)| (kind, subject)).collect()
}

#[test]
fn nodes_come_and_go() {
    let with = |change: &dyn Fn(&mut NodeReport)| {
        let mut second = node(2);
        change(&mut second);
        report(vec![node(1), second], vec![])
    };
    let (alone, both) = (report(vec![node(1)], vec![]), with(&|_| {}));
    let n2 = |kind| vec![(kind, "n2".to_owned())];
    assert!(changes(&both, &both).is_empty());
    let joining = with(&|node| node.standing = NodeStanding::Joining);
    assert!(changes(&alone, &joining).is_empty());
    assert_eq!(kinds(&joining, &both), n2(kind::NODE_JOINED));
    assert_eq!(kinds(&alone, &both), n2(kind::NODE_JOINED));
    let draining = with(&|node| node.standing = NodeStanding::Draining);
    assert_eq!(kinds(&both, &draining), n2(kind::NODE_DRAINING));
    assert_eq!(kinds(&draining, &both), n2(kind::NODE_RESUMED));
    let drained = with(&|node| (node.standing, node.replicas) = (NodeStanding::Draining, 0));
    assert_eq!(kinds(&draining, &drained), n2(kind::NODE_DRAINED));
    assert!(changes(&drained, &drained).is_empty());
    assert_eq!(kinds(&drained, &alone), n2(kind::NODE_LEFT));
    assert_eq!(kinds(&both, &alone), n2(kind::NODE_LOST));
    let silent = with(&|node| (node.is_reachable, node.trouble) = (false, Some("the peer does not answer".into())));
    let (kind, _, text) = changes(&both, &silent).remove(0);
    assert_eq!((kind, &*text), (kind::NODE_UNREACHED, "node n2 is not reached: the peer does not answer"));
    assert_eq!(kinds(&silent, &both), n2(kind::NODE_REACHED));
}

#[test]
fn volumes_change_their_health_and_their_primary() {
    let with = |change: &dyn Fn(&mut VolumeReport)| {
        let mut volume = volume();
        change(&mut volume);
        report(vec![], vec![volume])
    };
    let well = with(&|_| {});
    assert!(changes(&report(vec![], vec![]), &well).is_empty(), "a new volume is no event");
    let degraded = with(&|volume| {
        volume.health = VolumeHealth::Degraded;
        volume.replicas[1].role = ReplicaRole::CatchingUp;
    });
    let told = changes(&well, &degraded).remove(0);
    assert_eq!(told, (kind::VOLUME_DEGRADED, "db".into(), "volume db is degraded, with 1 of 2 copies".into()));
    assert_eq!(kinds(&degraded, &well), [(kind::VOLUME_HEALTHY, "db".to_owned())]);
    let stalled = with(&|volume| volume.health = VolumeHealth::Stalled);
    assert_eq!(kinds(&degraded, &stalled), [(kind::VOLUME_STALLED, "db".to_owned())]);
    let moved = with(&|volume| {
        volume.replicas[0].role = ReplicaRole::Backup;
        volume.replicas[1].role = ReplicaRole::Primary;
    });
    let told = changes(&well, &moved).remove(0);
    assert_eq!((told.0, &*told.2), (kind::PRIMARY_MOVED, "volume db is served by node n2, no longer by n1"));
}

#[test]
fn a_leader_that_is_not_reached_leads_nobody() {
    let mut report = report(vec![node(1), node(2)], vec![]);
    assert!(leads(&report, Some(2)) && !leads(&report, None) && !leads(&report, Some(3)));
    report.nodes[1].is_reachable = false;
    assert!(!leads(&report, Some(2)));
}

#[test]
fn a_change_of_the_authority_is_told_step_by_step() {
    let at = |is_trusted: Option<bool>, authority: u8| ClusterReport {
        rotation: is_trusted.map(|is_trusted| RotationReport { is_trusted, awaited: Vec::new() }),
        authority: (authority > 0).then_some([authority; 32]),
        ..report(vec![node(1)], Vec::new())
    };
    let told =
        |before: &ClusterReport, now: &ClusterReport| kinds(before, now).into_iter().map(|(kind, _)| kind).next();
    assert_eq!(told(&at(None, 0), &at(None, 0)), None);
    assert_eq!(told(&at(None, 0), &at(Some(false), 0)), Some(kind::AUTHORITY_CHANGING));
    assert_eq!(told(&at(Some(false), 0), &at(Some(true), 0)), Some(kind::AUTHORITY_CHANGING));
    assert_eq!(told(&at(Some(true), 0), &at(Some(true), 0)), None);
    assert_eq!(told(&at(Some(true), 0), &at(None, 1)), Some(kind::AUTHORITY_CHANGED));
    assert_eq!(told(&at(Some(false), 1), &at(None, 1)), Some(kind::AUTHORITY_KEPT));
    // Between two looks.
    assert_eq!(told(&at(None, 1), &at(None, 2)), Some(kind::AUTHORITY_CHANGED));
}
