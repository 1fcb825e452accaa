//! Where replicated volumes and their snapshots differ.

use super::*;

const BLOCK: u64 = 4096;

/// The blocks that differ, and the two sizes.
fn changed(member: &Member, from: &str, to: &str) -> (Vec<u64>, (u64, u64)) {
    let changes = member.cluster.changes(&from.parse().unwrap(), &to.parse().unwrap()).unwrap();
    let page = changes.page(0, u64::MAX).unwrap();
    let (mut at, mut blocks) = (0, Vec::new());
    for extent in page.extents {
        let end = at + extent.len / BLOCK;
        blocks.extend((at..end).filter(|_| extent.changed));
        at = end;
    }
    assert_eq!(at, page.sizes_bytes.0.max(page.sizes_bytes.1) / BLOCK);
    (blocks, page.sizes_bytes)
}

#[test]
fn any_node_tells_what_changed() {
    let scratch = Scratch::new("changes");
    let members = cluster_of(&scratch, 3);
    members[0].create("db", 2);
    let export = members[0].open_volume("db");
    write(&export, 0, 1, 4096);
    members[1].cluster.snapshot(&snapshot("db@a")).unwrap();
    write(&export, 5 * BLOCK, 2, 4096);
    members[2].cluster.snapshot(&snapshot("db@b")).unwrap();
    // Not flushed: the store has not got it yet.
    write(&export, 7 * BLOCK + 100, 3, 10);
    export.zero(9 * BLOCK, 2 * BLOCK, Zeroing::Hole).unwrap();
    for member in &members {
        assert_eq!(changed(member, "db@a", "db").0, [5, 7, 9, 10]);
        assert_eq!(changed(member, "db", "db@a").0, [5, 7, 9, 10]);
        assert_eq!(changed(member, "db@b", "db").0, [7, 9, 10]);
        assert_eq!(changed(member, "db@a", "db@b"), (vec![5], (SIZE, SIZE)));
        let snapshots = |name| member.exports.snapshots(name, &Principal::Local);
        assert_eq!((snapshots("db"), snapshots("db@b")), (vec!["b".into(), "a".into()], vec!["a".into()]));
        assert!(snapshots("db@a").is_empty() && snapshots("db@none").is_empty());
        let since = member.exports.changes_since("db", "b", &Principal::Local).unwrap();
        let extents = since.extents(6 * BLOCK, 3 * BLOCK, 2).unwrap();
        assert_eq!(
            extents.iter().map(|extent| (extent.len, extent.changed)).collect::<Vec<_>>(),
            [(BLOCK, false), (BLOCK, true)]
        );
        assert!(member.exports.changes_since("db@a", "b", &Principal::Local).is_err(), "it is newer");
    }
    export.flush().unwrap();
    drop(export);
    members[0].cluster.resize(&name("db"), SIZE + BLOCK, false).unwrap();
    let (blocks, sizes) = changed(&members[2], "db@b", "db");
    assert_eq!((blocks, sizes), (vec![7, 9, 10, SIZE / BLOCK], (SIZE, SIZE + BLOCK)));
    members[0].create("other", 1);
    let unrelated = members[0].cluster.changes(&"db@a".parse().unwrap(), &"other".parse().unwrap());
    assert!(unrelated.is_err_and(|error| error.to_string().contains("another snapshot of that")));
    members.into_iter().for_each(|member| drop(member.stop()));
}
