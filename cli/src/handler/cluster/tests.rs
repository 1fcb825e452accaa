use siltstone::node::NodeError;

use super::*;

#[test]
fn failures_of_clusters_say_what_to_do() {
    let name: siltstone::name::VolumeName = "vm".parse().unwrap();
    let shrink = cluster_failure(ClusterError::WouldShrink { name: name.clone(), from_bytes: 2, to_bytes: 1 });
    assert_eq!(shrink.kind, Kind::Invalid);
    assert!(shrink.message.ends_with("(--allow-shrink permits it)"));
    let holds = cluster_failure(ClusterError::HoldsReplicas("n2".into()));
    assert_eq!(holds.kind, Kind::Busy);
    assert!(holds.message.starts_with("node n2 holds replicas: drain it first (--lost"), "{}", holds.message);
    let used = cluster_failure(ClusterError::InUse { name: name.clone(), connections: 1 });
    assert!(used.message.ends_with("disconnect or detach its clients first"));
    assert_eq!(cluster_failure(ClusterError::NoSuchNode("n9".into())).kind, Kind::NotFound);
    let node = cluster_failure(NodeError::NoSuchVolume("vm".into()).into());
    assert_eq!((node.kind, &*node.message), (Kind::NotFound, "no volume is named vm"));
}
