use super::*;

#[test]
fn failures_say_what_to_do() {
    let name: VolumeName = "demo".parse().unwrap();
    let shrink = failure(NodeError::WouldShrink { name: name.clone(), from_bytes: 2, to_bytes: 1 });
    assert_eq!(shrink.kind, Kind::Invalid);
    assert!(shrink.message.ends_with("(--allow-shrink permits it)"));
    let kept = failure(NodeError::HasSnapshots { name: name.clone(), count: 2 });
    assert_eq!(kept.kind, Kind::Invalid);
    assert_eq!(kept.message, "demo has 2 snapshots: remove them first, or use --snapshots");
    let used = failure(NodeError::InUse { name: name.into(), connections: 3 });
    assert_eq!(used.kind, Kind::Busy);
    assert_eq!(used.message, "volume demo is in use by 3 connections: disconnect or detach its clients first");
}
