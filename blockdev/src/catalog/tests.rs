use super::*;

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

const IMPORTING: Entry = Entry { id: VolumeId(0x0203), state: State::Importing, origin: None };
const CLONE: Entry = Entry {
    id: VolumeId(5),
    state: State::Ready,
    origin: Some(Origin { volume: VolumeId(0x0102), snapshot: Some(VolumeId(4)) }),
};

#[test]
fn a_record_has_these_bytes() {
    let record = record(&name("demo"), IMPORTING);
    assert_eq!(record.key, b"volume/demo");
    assert_eq!(record.value.unwrap(), b"\x01\x01\0\0\0\0\0\0\x03\x02\0\0\0\0\0\0");
    assert_eq!(removal(&name("demo")), Record { key: b"volume/demo".to_vec(), value: None });
}

#[test]
fn a_record_of_a_clone_has_these_bytes() {
    let value = b"\x02\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x04\0\0\0\0\0\0\0";
    assert_eq!(record(&name("copy"), CLONE).value.unwrap(), value);
    let of_now = Entry { origin: Some(Origin { volume: VolumeId(0x0102), snapshot: None }), ..CLONE };
    assert_eq!(record(&name("copy"), of_now).value.unwrap(), [&value[..24], &[0; 8]].concat());
}

#[test]
fn a_record_of_a_snapshot_has_these_bytes() {
    let record = snapshot_record(VolumeId(0xab), &name("before"), VolumeId(0x0203));
    assert_eq!(record.key, b"snapshot/00000000000000ab/before");
    assert_eq!(record.value.unwrap(), b"\x01\0\0\0\0\0\0\0\x03\x02\0\0\0\0\0\0");
    assert_eq!(snapshot_removal(VolumeId(0xab), &name("before")), Record { key: record.key, value: None });
}

#[test]
fn records_come_back_as_the_catalog() {
    let ready = Entry { id: VolumeId(u64::MAX), state: State::Ready, origin: None };
    let other = Record { key: b"pool/x".to_vec(), value: Some(vec![9]) };
    let catalog = Catalog::decode(&[record(&name("b"), ready), other, record(&name("a"), IMPORTING)]).unwrap();
    assert!(catalog.iter().map(|(name, entry)| (name.as_str(), entry)).eq([("a", IMPORTING), ("b", ready)]));
    assert_eq!(catalog.entry(&name("b")), Some(ready));
    assert_eq!(catalog.entry(&name("c")), None);
}

#[test]
fn snapshots_and_clones_come_back() {
    let origin = Some(Origin { volume: VolumeId(1), snapshot: None });
    let of_now = Entry { id: VolumeId(6), origin, ..CLONE };
    let records = [
        record(&name("copy"), CLONE),
        record(&name("now"), of_now),
        record(&name("demo"), Entry { id: VolumeId(1), ..IMPORTING }),
        snapshot_record(VolumeId(1), &name("b"), VolumeId(3)),
        snapshot_record(VolumeId(1), &name("a"), VolumeId(u64::MAX)),
        snapshot_record(VolumeId(5), &name("a"), VolumeId(7)),
    ];
    let mut catalog = Catalog::decode(&records).unwrap();
    assert_eq!((catalog.entry(&name("copy")), catalog.entry(&name("now"))), (Some(CLONE), Some(of_now)));
    let exports: Vec<_> = catalog.exports().map(|(name, id)| (name.to_string(), id.0)).collect();
    let expected = [("copy", 5), ("copy@a", 7), ("demo", 1), ("demo@a", u64::MAX), ("demo@b", 3), ("now", 6)];
    assert_eq!(exports, expected.map(|(name, id)| (name.to_owned(), id)));
    catalog.remove_snapshot(VolumeId(1), &name("a"));
    assert_eq!(catalog.snapshot(VolumeId(1), &name("a")), None);
    catalog.remove_snapshot(VolumeId(1), &name("b"));
    assert_eq!((catalog.snapshots(VolumeId(1)).count(), catalog.snapshots(VolumeId(5)).count()), (0, 1));
}

#[test]
fn damaged_records_of_snapshots_and_clones_are_errors() {
    let decode = |key: &[u8], value: &[u8]| {
        Catalog::decode(&[Record { key: key.to_vec(), value: Some(value.to_vec()) }]).unwrap_err()
    };
    let good = snapshot_record(VolumeId(0xab), &name("demo"), VolumeId(3));
    let clone = record(&name("demo"), CLONE);
    for Record { key, value } in [good.clone(), clone] {
        let value = value.unwrap();
        for len in 0..value.len() {
            assert_eq!(decode(&key, &value[..len]), InvalidRecord::Value(name("demo")), "cut at {len}");
        }
        assert_eq!(decode(&key, &[&value[..], &[0]].concat()), InvalidRecord::Value(name("demo")));
        for position in 1..8 {
            let mut damaged = value.clone();
            damaged[position] = 0xff;
            assert_eq!(decode(&key, &damaged), InvalidRecord::Value(name("demo")), "at {position}");
        }
        assert_eq!(decode(&key, &[&[3], &value[1..]].concat()), InvalidRecord::Version(3));
        assert_eq!(decode(&key, &[&[0], &value[1..]].concat()), InvalidRecord::Value(name("demo")));
    }
    let keys: [&[u8]; 6] = [
        b"snapshot/",
        b"snapshot/00000000000000ab",
        b"snapshot/00000000000000ab/",
        b"snapshot/00000000000000AB/demo",
        b"snapshot/+0000000000000ab/demo",
        b"snapshot/ab/demo",
    ];
    for key in keys {
        assert_eq!(decode(key, good.value.as_ref().unwrap()), InvalidRecord::Name, "{key:?}");
    }
}

#[test]
fn damaged_records_are_errors() {
    let good = record(&name("demo"), IMPORTING);
    let decode = |key: &[u8], value: &[u8]| {
        Catalog::decode(&[Record { key: key.to_vec(), value: Some(value.to_vec()) }]).unwrap_err()
    };
    let value = good.value.unwrap();
    for len in 0..value.len() {
        assert_eq!(decode(&good.key, &value[..len]), InvalidRecord::Value(name("demo")), "cut at {len}");
    }
    assert_eq!(decode(b"volume/", &value), InvalidRecord::Name);
    assert_eq!(decode(b"volume/\xff", &value), InvalidRecord::Name);
    for (position, error) in [(0, InvalidRecord::Version(0xff)), (1, InvalidRecord::Value(name("demo")))] {
        let mut damaged = value.clone();
        damaged[position] = 0xff;
        assert_eq!(decode(&good.key, &damaged), error);
    }
    let mut damaged = value;
    damaged[5] = 1;
    assert_eq!(decode(&good.key, &damaged), InvalidRecord::Value(name("demo")));
}
