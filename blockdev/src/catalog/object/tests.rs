use std::collections::BTreeMap;

use super::*;
use crate::catalog::Catalog;

fn name(text: &str) -> ObjectName {
    text.parse().unwrap()
}

fn entry() -> ObjectEntry {
    ObjectEntry {
        id: VolumeId(0x0102),
        chunker: Chunker::FastCdcV1,
        length: 0x0304,
        index_pages: 5,
        created_ms: 0x0607,
        expires_ms: Some(0x0809),
        metadata: Metadata::new(BTreeMap::from([("k".into(), "v".into())])).unwrap(),
    }
}

const UPLOAD: UploadEntry =
    UploadEntry { id: VolumeId(0x0102), chunker: Chunker::Fixed, resumable: true, began_ms: 3, expires_ms: 0x0405 };

#[test]
fn records_have_these_bytes() {
    let record = object_record(&name("a/b"), &entry());
    assert_eq!(record.key, b"object/a/b");
    let value = b"\x01\x01\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x04\x03\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x07\x06\0\0\0\0\0\0\x09\x08\0\0\0\0\0\0\x01\x01\0kv";
    assert_eq!(record.value.unwrap(), value);
    assert_eq!(object_removal(&name("a/b")), Record { key: record.key, value: None });

    let record = upload_record(&name("a/b"), &UPLOAD);
    assert_eq!(record.key, b"upload/a/b");
    let value = b"\x01\0\x01\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x05\x04\0\0\0\0\0\0";
    assert_eq!(record.value.unwrap(), value);
    assert_eq!(upload_removal(&name("a/b")), Record { key: record.key, value: None });
}

#[test]
fn records_come_back() {
    let plain = ObjectEntry { expires_ms: None, chunker: Chunker::Fixed, metadata: Metadata::default(), ..entry() };
    let records =
        [object_record(&name("a"), &entry()), object_record(&name("b"), &plain), upload_record(&name("a"), &UPLOAD)];
    let catalog = Catalog::decode(&records).unwrap();
    assert_eq!((catalog.object(&name("a")), catalog.object(&name("b"))), (Some(&entry()), Some(&plain)));
    assert!(catalog.uploads().eq([(&name("a"), &UPLOAD)]));
    assert_eq!(catalog.iter().count(), 0, "an object is no volume");
}

#[test]
fn objects_are_found_by_prefix_and_page_by_page() {
    let mut catalog = Catalog::default();
    for text in ["a", "b", "b/1", "b/2", "b/3", "c"] {
        catalog.insert_object(name(text), entry());
    }
    let listed = |prefix, after: Option<&str>| {
        let after = after.map(name);
        catalog.objects(prefix, after.as_ref()).map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed("", None).len(), 6);
    assert_eq!(listed("b/", None), ["b/1", "b/2", "b/3"]);
    assert_eq!(listed("b/", Some("b/1")), ["b/2", "b/3"]);
    assert_eq!(listed("b/", Some("a")), ["b/1", "b/2", "b/3"]);
    assert_eq!(listed("b", Some("b")), ["b/1", "b/2", "b/3"]);
    assert_eq!(listed("", Some("b/3")), ["c"]);
    for (prefix, after) in [("b/", Some("b/3")), ("b/", Some("z")), ("x", None), ("/", None), ("\n", None)] {
        assert!(listed(prefix, after).is_empty(), "{prefix:?}");
    }
}

#[test]
fn damaged_records_are_errors() {
    let decode = |key: &[u8], value: &[u8]| {
        Catalog::decode(&[Record { key: key.to_vec(), value: Some(value.to_vec()) }]).unwrap_err()
    };
    let damaged = InvalidRecord::Object(name("demo"));
    let without_metadata = ObjectEntry { metadata: Metadata::default(), ..entry() };
    for Record { key, value } in
        [object_record(&name("demo"), &without_metadata), upload_record(&name("demo"), &UPLOAD)]
    {
        let value = value.unwrap();
        for len in 0..value.len() {
            assert_eq!(decode(&key, &value[..len]), damaged, "cut at {len}");
        }
        for position in 2..8 {
            let mut changed = value.clone();
            changed[position] = 2;
            assert_eq!(decode(&key, &changed), damaged, "at {position}");
        }
        assert_eq!(decode(&key, &[&value[..], &[0]].concat()), damaged);
        assert_eq!(decode(&key, &[&[0], &value[1..]].concat()), damaged);
        assert_eq!(decode(&key, &[&[2], &value[1..]].concat()), InvalidRecord::Version(2));
        assert_eq!(decode(&key, &[&[1, 9], &value[2..]].concat()), InvalidRecord::Chunker(9));
        let prefix = &key[..key.len() - "demo".len()];
        for other in [&b""[..], b"/x", b"\xff"] {
            assert_eq!(decode(&[prefix, other].concat(), &value), InvalidRecord::ObjectName, "{other:?}");
        }
    }
}
