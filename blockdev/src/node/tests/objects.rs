//! Objects: visible when they are complete and not before, and gone when their time is over.

use std::collections::BTreeMap;

use lsm_store::device::sim::{Faults, SimDevice};
use lsm_store::rng::{Rng, SeededRng};

use super::*;
use crate::name::ObjectName;
use crate::object::{Chunker, Metadata};

fn object_name(text: &str) -> ObjectName {
    text.parse().unwrap()
}

fn spec() -> ObjectSpec {
    ObjectSpec {
        chunker: Chunker::FastCdcV1,
        codec: Codec::Lz4,
        metadata: Metadata::default(),
        keep: None,
        replace: false,
        resumable: false,
    }
}

fn resumable() -> ObjectSpec {
    ObjectSpec { resumable: true, ..spec() }
}

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRng::new(seed).fill(&mut bytes);
    bytes
}

fn put(node: &Arc<Node>, name: &str, spec: ObjectSpec, bytes: &[u8]) -> Result<NamedObject> {
    let mut writer = node.put(&object_name(name), spec)?;
    writer.write(bytes)?;
    writer.finish()
}

fn content(node: &Node, name: &str) -> Vec<u8> {
    let object = node.open_object(&object_name(name)).unwrap();
    let mut pieces = object.pieces(0, u64::MAX).unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next_piece().unwrap() {
        bytes.extend(piece);
    }
    bytes
}

fn object_names(node: &Node) -> Vec<String> {
    node.objects("", None, 1000).iter().map(|object| object.name.to_string()).collect()
}

#[test]
fn an_object_is_there_when_it_is_complete() {
    let scratch = Scratch::new("objects");
    let node = scratch.node(false).unwrap();
    let bytes = random(1, 300_000);
    let mut writer = node.put(&object_name("a/b"), spec()).unwrap();
    writer.write(&bytes).unwrap();
    assert!(object_names(&node).is_empty() && node.volumes().is_empty() && node.names().is_empty());
    assert_eq!(kind(node.put(&object_name("a/b"), spec())), ErrorKind::Busy);
    let metadata = Metadata::new(BTreeMap::from([("host".into(), "db1".into())])).unwrap();
    let object = writer.finish().unwrap();
    assert_eq!((object.entry.length, object.entry.expires_ms), (300_000, None));
    put(&node, "empty", ObjectSpec { metadata: metadata.clone(), ..spec() }, b"").unwrap();
    assert_eq!(kind(put(&node, "empty", spec(), b"x")), ErrorKind::Exists);
    assert_eq!(node.object_totals(), ObjectTotals { count: 2, length_bytes: 300_000, uploads: 0 });
    drop(node);

    let node = scratch.node(false).unwrap();
    assert_eq!(object_names(&node), ["a/b", "empty"]);
    assert!(content(&node, "a/b") == bytes && content(&node, "empty").is_empty());
    assert_eq!(node.object(&object_name("empty")).unwrap().entry.metadata, metadata);
    let reader = node.open_object(&object_name("a/b")).unwrap();
    assert_eq!(reader.read_at(299_999, 9).unwrap(), bytes[299_999..]);
    node.remove_object(&object_name("a/b")).unwrap();
    assert!(matches!(reader.read_at(0, 1), Err(NodeError::ObjectGone(_))));
    for gone in [node.remove_object(&object_name("a/b")).err(), node.open_object(&object_name("a/b")).err()] {
        assert_eq!(gone.unwrap().kind(), ErrorKind::NotFound);
    }
    node.remove_object(&object_name("empty")).unwrap();
    assert_eq!((node.store().records(), node.store().volumes().len()), (vec![], 0));
}

#[test]
fn an_object_takes_anothers_place_at_once_and_only_if_it_may() {
    let scratch = Scratch::new("objects-replace");
    let node = scratch.node(false).unwrap();
    put(&node, "x", spec(), b"old").unwrap();
    let replacing = ObjectSpec { replace: true, ..spec() };
    let mut writer = node.put(&object_name("x"), replacing.clone()).unwrap();
    writer.write(b"new").unwrap();
    assert_eq!(content(&node, "x"), b"old");
    writer.finish().unwrap();
    assert_eq!((content(&node, "x"), node.store().volumes().len()), (b"new".to_vec(), 1));
    drop(node.put(&object_name("x"), replacing).unwrap());
    assert_eq!((content(&node, "x"), node.store().volumes().len()), (b"new".to_vec(), 1));
}

#[test]
fn what_was_broken_off_goes_unless_it_can_be_resumed() {
    let scratch = Scratch::new("objects-broken");
    let bytes = random(2, 5 << 20);
    let node = scratch.node(false).unwrap();
    for (name, spec, vanishes) in [
        ("dropped", spec(), false),
        ("crashed", spec(), true),
        ("kept", resumable(), false),
        ("kept-in-crash", resumable(), true),
    ] {
        let mut writer = node.put(&object_name(name), spec).unwrap();
        writer.write(&bytes[..3 << 20]).unwrap();
        if vanishes { writer.vanish() } else { drop(writer) }
    }
    let names: Vec<_> = node.uploads().iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["crashed", "kept", "kept-in-crash"]);
    drop(node);

    let node = scratch.node(false).unwrap();
    assert_eq!((node.object_totals().uploads, node.store().volumes().len()), (2, 2));
    for name in ["kept", "kept-in-crash"] {
        let name = object_name(name);
        let found = node.upload_position(&name, &resumable()).unwrap();
        assert!((1 << 20..=3 << 20).contains(&found.position), "{}", found.position);
        let position = found.position as usize;
        assert!(found.tail == bytes[position - (1 << 20)..position]);
        let mut writer = node.put(&name, resumable()).unwrap();
        assert_eq!(writer.position(), found.position);
        writer.write(&bytes[position..]).unwrap();
        writer.finish().unwrap();
        assert!(content(&node, name.as_str()) == bytes);
    }
    assert_eq!(node.object_totals(), ObjectTotals { count: 2, length_bytes: 10 << 20, uploads: 0 });
}

#[test]
fn what_is_put_otherwise_begins_anew() {
    let scratch = Scratch::new("objects-anew");
    let node = scratch.node(false).unwrap();
    let name = object_name("x");
    let others = [
        spec(),
        ObjectSpec { chunker: Chunker::Fixed, ..resumable() },
        ObjectSpec { codec: Codec::None, ..resumable() },
    ];
    for other in others {
        let mut writer = node.put(&name, resumable()).unwrap();
        writer.write(&random(3, 3 << 20)).unwrap();
        drop(writer);
        assert_ne!(node.upload_position(&name, &resumable()).unwrap().position, 0);
        assert_eq!(node.upload_position(&name, &other).unwrap(), UploadPosition::default());
        let writer = node.put(&name, other).unwrap();
        assert_eq!((writer.position(), node.store().volumes().len()), (0, 1));
        assert_eq!(kind(node.upload_position(&name, &resumable())), ErrorKind::Busy);
        assert_eq!(kind(node.remove_upload(&name)), ErrorKind::Busy);
    }
    node.remove_upload(&name).unwrap();
    assert_eq!(kind(node.remove_upload(&name)), ErrorKind::NotFound);
    assert_eq!((node.store().records(), node.store().volumes().len()), (vec![], 0));
}

#[test]
fn objects_and_uploads_go_when_their_time_is_over() {
    let scratch = Scratch::new("objects-expire");
    let calendar = Calendar::new(1_800_000_000_000);
    let node = scratch.node_at(&calendar);
    let kept = |seconds| ObjectSpec { keep: Some(Span::from_seconds(seconds).unwrap()), ..spec() };
    put(&node, "short", kept(60), b"1").unwrap();
    put(&node, "long", kept(600), b"2").unwrap();
    put(&node, "forever", spec(), b"3").unwrap();
    drop(node.put(&object_name("broken"), resumable()).unwrap());
    calendar.advance(59);
    node.tend().unwrap();
    assert_eq!(object_names(&node), ["forever", "long", "short"]);
    calendar.advance(1);
    node.tend().unwrap();
    assert_eq!(object_names(&node), ["forever", "long"]);
    // One that is replaced gets a time of its own.
    put(&node, "long", ObjectSpec { replace: true, ..kept(9999) }, b"4").unwrap();
    let under_way = node.put(&object_name("under-way"), resumable()).unwrap();
    calendar.advance(600);
    node.tend().unwrap();
    assert_eq!((object_names(&node), node.object_totals().uploads), (vec!["forever".into(), "long".into()], 2));
    calendar.advance(7 * 86_400);
    node.tend().unwrap();
    assert_eq!((object_names(&node), node.object_totals().uploads), (vec!["forever".into()], 1));
    drop(under_way);
    node.tend().unwrap();
    assert_eq!((node.object_totals().uploads, node.store().volumes().len()), (0, 1));
}

#[test]
fn objects_are_listed_page_by_page() {
    let scratch = Scratch::new("objects-list");
    let node = scratch.node(false).unwrap();
    for number in 0..5 {
        put(&node, &format!("pg/{number}"), spec(), b"x").unwrap();
    }
    put(&node, "other", spec(), b"x").unwrap();
    let first = node.objects("pg/", None, 3);
    let second = node.objects("pg/", Some(&first[2].name), 3);
    let names: Vec<_> = first.iter().chain(&second).map(|object| object.name.as_str().to_owned()).collect();
    assert_eq!(names, ["pg/0", "pg/1", "pg/2", "pg/3", "pg/4"]);
}

/// A node on a simulated device, without threads.
fn node_on(device: &SimDevice) -> Arc<Node> {
    let (clock, rng) = (Arc::new(SystemClock::new()), Arc::new(SeededRng::new(1)));
    let environment = Environment { device: Arc::new(device.clone()), clock, rng };
    if !Store::exists(&environment).unwrap() {
        Store::create(&environment, Settings::default()).unwrap();
    }
    let options = Options { budget: Budget::divide(64 << 20), background: BackgroundMode::Manual, read_only: false };
    Node::open(Store::open(environment, options).unwrap(), false).unwrap()
}

/// The name means the old object or the new one, whole, and what is left of the new one can be gone on with or is gone.
#[test]
fn a_power_cut_at_any_moment_of_a_replacement_leaves_one_of_both() {
    let (old, new) = (random(4, 30_000), random(5, 2_500_000));
    for resumable in [false, true] {
        let device = SimDevice::new(6, Faults::none());
        let node = node_on(&device);
        put(&node, "x", spec(), &old).unwrap();
        device.record();
        let replacing = ObjectSpec { replace: true, resumable, ..spec() };
        put(&node, "x", replacing.clone(), &new).unwrap();
        let (mut olds, mut news, mut resumed) = (0, 0, 0);
        for (count, point) in device.recording().walk() {
            for (_, image) in point.images(count as u64, 2) {
                let node = node_on(&image);
                let found = content(&node, "x");
                assert!(found == old || found == new, "after {count} operations");
                if found == new {
                    news += 1
                } else {
                    olds += 1
                }
                let uploads = node.object_totals().uploads;
                assert!(uploads == 0 || resumable && found == old, "after {count} operations");
                assert_eq!(node.store().volumes().len() as u64, 1 + uploads, "after {count} operations");
                let mut writer = node.put(&object_name("x"), replacing.clone()).unwrap();
                resumed += u32::from(writer.position() > 0);
                writer.write(&new[writer.position() as usize..]).unwrap();
                writer.finish().unwrap();
                assert!(content(&node, "x") == new, "after {count} operations");
                assert_eq!((node.object_totals().uploads, node.store().volumes().len()), (0, 1));
            }
        }
        assert!(olds > 0 && news > 0 && (resumed > 0) == resumable, "{olds}, {news}, {resumed}");
    }
}

/// Its reader gets an error, and before that nothing but what it held.
#[test]
fn an_object_that_is_replaced_while_it_is_read_gives_no_other_bytes() {
    let scratch = Scratch::new("objects-gone");
    let node = scratch.node(false).unwrap();
    let (old, new) = (random(7, 16 << 20), random(8, 16 << 20));
    put(&node, "x", spec(), &old).unwrap();
    let object = node.open_object(&object_name("x")).unwrap();
    let mut pieces = object.pieces(0, u64::MAX).unwrap();
    let mut got = pieces.next_piece().unwrap().unwrap();
    put(&node, "x", ObjectSpec { replace: true, ..spec() }, &new).unwrap();
    let error = loop {
        match pieces.next_piece() {
            Ok(Some(piece)) => got.extend(piece),
            Ok(None) => panic!("it was read to its end, {} bytes", got.len()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, NodeError::ObjectGone(_)), "{error}");
    assert!(old.starts_with(&got));
    assert!(content(&node, "x") == new);
}
