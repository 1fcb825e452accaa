use lsm_store::id::StoreId;

use super::*;
use crate::catalog::SentSnapshot;
use crate::name::VolumeName;
use crate::node::receptions::Reception;

const SENT: SentSnapshot = SentSnapshot { store: StoreId([7; 16]), id: VolumeId(5) };

fn receive(node: &Arc<Node>, name: &VolumeName, base: Option<&VolumeName>) -> Result<Reception> {
    node.receive_resumably(&Coming { name, base, spec: SPEC, sent: SENT, is_full: true })
}

/// Which of the names have something that was broken off.
fn kept(node: &Node) -> Vec<String> {
    node.receptions().into_iter().map(|(name, _)| name.to_string()).collect()
}

#[test]
fn what_was_broken_off_goes_when_its_time_is_over() {
    let scratch = Scratch::new("receptions-expire");
    let calendar = Calendar::new(1_800_000_000_000);
    let node = scratch.node_at(&calendar);
    let [one, other, under_way] = ["one", "other", "under-way"].map(name);
    let id = |reception: Result<Reception>| reception.unwrap().volume().id();
    let first = id(receive(&node, &one, None));
    id(receive(&node, &other, None));
    let going_on = receive(&node, &under_way, None).unwrap();
    calendar.advance(86_400);
    assert_eq!(id(receive(&node, &one, None)), first, "it is gone on with, and has another 7 days");
    calendar.advance(6 * 86_400);
    // Whoever comes too late begins anew, even before it was removed.
    let late = node.receptions()[1].1.id;
    assert_ne!(id(receive(&node, &other, None)), late);
    node.tend().unwrap();
    assert_eq!(kept(&node), ["one", "other", "under-way"]);
    calendar.advance(86_400);
    node.tend().unwrap();
    assert_eq!(kept(&node), ["other", "under-way"]);
    drop(going_on);
    node.tend().unwrap();
    assert_eq!(kept(&node), ["other"]);
    node.remove_reception(&other).unwrap();
    assert_eq!(kind(node.remove_reception(&other)), ErrorKind::NotFound);
    let records = node.store().records();
    assert!(records.iter().all(|record| !record.key.starts_with(b"reception/")), "{records:?}");
    assert_eq!(node.store().volumes().len(), 0);
}

#[test]
fn one_at_a_time_comes_into_a_volume() {
    let scratch = Scratch::new("receptions-claim");
    let node = scratch.node(false).unwrap();
    let (demo, base) = (name("demo"), name("s"));
    let coming = receive(&node, &demo, None).unwrap();
    assert_eq!(kind(receive(&node, &demo, None)), ErrorKind::Busy);
    assert_eq!(kind(node.remove_reception(&demo)), ErrorKind::Busy);
    let id = coming.volume().id();
    // Nobody sees it, and it does not keep the name.
    assert_eq!(node.names(), [""; 0]);
    assert!(node.volumes().is_empty());
    node.create(&demo, SPEC).unwrap();
    drop(coming);
    assert_eq!(kind(receive(&node, &demo, None)), ErrorKind::Exists);
    assert_eq!(kept(&node), ["demo"]);
    node.snapshot(&[snapshot_name("demo@s")]).unwrap();
    let coming = receive(&node, &demo, Some(&base)).unwrap();
    assert_ne!(coming.volume().id(), id, "it goes on from something else");
    assert_eq!((kept(&node).len(), node.store().volumes().len()), (1, 3));
    drop(coming);
    node.remove_snapshot(&snapshot_name("demo@s")).unwrap();
    assert_eq!(kind(receive(&node, &demo, Some(&base))), ErrorKind::NotFound);
    node.snapshot(&[snapshot_name("demo@s")]).unwrap();
    let before = node.receptions()[0].1.id;
    assert_ne!(receive(&node, &demo, Some(&base)).unwrap().volume().id(), before, "another snapshot of the same name");
    drop(node);
    let node = scratch.node(false).unwrap();
    let before = node.receptions()[0].1.id;
    assert_eq!(receive(&node, &demo, Some(&base)).unwrap().volume().id(), before, "it lasts");
}

#[test]
fn an_import_of_the_name_ends_what_was_broken_off() {
    let scratch = Scratch::new("receptions-import");
    let node = scratch.node(false).unwrap();
    let demo = name("demo");
    drop(receive(&node, &demo, None).unwrap());
    drop(node.import(&demo, SPEC).unwrap());
    assert_eq!(kept(&node), ["demo"], "it failed");
    node.import(&demo, SPEC).unwrap().finish(1 << 20).unwrap();
    assert_eq!((kept(&node), node.store().volumes().len()), (vec![], 1));
}
