use lsm_store::codec::Codec;

use super::*;
use crate::access::Principal;
use crate::cluster::tests::{Fixture, SIZE, name};
use crate::export::Exports;

fn begin(fixture: &Fixture, size_bytes: u64) -> ClusterImport {
    let new = NewVolume { name: name("copy"), size_bytes, codec: Codec::Lz4, replicas: 1 };
    fixture.cluster.import(&new).unwrap()
}

fn is_there(fixture: &Fixture) -> bool {
    fixture.cluster.core.volume_named(&name("copy")).is_ok()
}

#[test]
fn an_import_is_seen_once_it_is_complete() {
    let fixture = Fixture::new("import");
    let import = begin(&fixture, 1 << 50);
    assert!(fixture.exports.open("copy", &Principal::Local).is_err());
    assert!(!fixture.exports.names(&Principal::Local).contains(&"copy".to_owned()));
    let content: Vec<u8> = (0..300_000_u32).map(|at| (at / 777) as u8).collect();
    import.write(&[]).unwrap();
    import.write(&[Write { offset: 4096, data: &content }]).unwrap();
    let report = import.finish(SIZE).unwrap();
    assert_eq!((report.size_bytes, report.is_complete), (SIZE, true));
    let session = Session::new(fixture.cluster.core(), VolumeId(report.id));
    assert!(session.read(None, 4096, content.len()).unwrap()[..] == content);
    assert_eq!(session.size_bytes().unwrap(), SIZE);
    assert!(fixture.exports.open("copy", &Principal::Local).is_ok());
    assert!(fixture.node.imports().is_empty());
}

#[test]
fn a_broken_import_leaves_nothing() {
    let fixture = Fixture::new("import-broken");
    let import = begin(&fixture, SIZE);
    import.write(&[Write { offset: 0, data: &[1; 100] }]).unwrap();
    import.write(&[Write { offset: SIZE - 99, data: &[1; 100] }]).unwrap_err();
    assert!(is_there(&fixture));
    drop(import);
    assert!(!is_there(&fixture));
    assert!(fixture.node.imports().is_empty());
}

#[test]
fn what_a_crash_leaves_goes_at_the_next_start() {
    let fixture = Fixture::new("import-crash");
    let mut import = begin(&fixture, SIZE);
    import.is_open = false;
    drop(import);
    let core = &fixture.cluster.core;
    core.settle_imports();
    assert!(is_there(&fixture), "this start has not left it");
    assert_eq!(fixture.node.imports().len(), 1);
    *core.left_imports.lock() = fixture.node.imports();
    core.settle_imports();
    assert!(!is_there(&fixture) && fixture.node.imports().is_empty() && core.left_imports.lock().is_empty());
}

#[test]
fn what_is_complete_stays_though_the_note_was_left() {
    let fixture = Fixture::new("import-noted");
    let report = begin(&fixture, SIZE).finish(SIZE).unwrap();
    fixture.node.note_import(VolumeId(report.id)).unwrap();
    *fixture.cluster.core.left_imports.lock() = fixture.node.imports();
    fixture.cluster.core.settle_imports();
    assert!(is_there(&fixture) && fixture.node.imports().is_empty());
}
