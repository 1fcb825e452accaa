use proptest::prelude::*;

use super::*;
use crate::catalog::Catalog;

fn list(text: &str) -> AllowList {
    text.parse().unwrap()
}

fn decode(key: &[u8], value: &[u8]) -> Result<Catalog, InvalidRecord> {
    Catalog::decode(&[Record { key: key.to_vec(), value: Some(value.to_vec()) }])
}

#[test]
fn a_record_has_these_bytes() {
    let record = allow_record(VolumeId(0xab), &list("db.example.org,backup"));
    assert_eq!(record.key, b"allow/00000000000000ab");
    assert_eq!(record.value.unwrap(), b"\x01\0\0\0\0\0\0\0\x06backup\x0edb.example.org");
    let removal = Record { key: record.key, value: None };
    assert_eq!(allow_record(VolumeId(0xab), &AllowList::default()), removal);
}

#[test]
fn damaged_records_are_errors() {
    let Record { key, value } = allow_record(VolumeId(0xab), &list("a,bc"));
    let value = value.unwrap();
    let decode = |key: &[u8], value: &[u8]| decode(key, value).err();
    let damaged = Some(InvalidRecord::OfVolume(VolumeId(0xab)));
    for len in (0..value.len()).filter(|len| *len != 10) {
        assert_eq!(decode(&key, &value[..len]), damaged, "cut at {len}");
    }
    for position in 1..8 {
        let mut changed = value.clone();
        changed[position] = 0xff;
        assert_eq!(decode(&key, &changed), damaged, "at {position}");
    }
    let with = |names: &[u8]| [&value[..8], names].concat();
    for names in [&b"\x02bc\x01a"[..], b"\x01a\x01a", b"\0", b"\x01,", b"\x01\xff", b"\x02 a"] {
        assert_eq!(decode(&key, &with(names)), damaged, "{names:?}");
    }
    assert_eq!(decode(&key, &[&[2], &value[1..]].concat()), Some(InvalidRecord::Version(2)));
    assert_eq!(decode(b"allow/ab", &value), Some(InvalidRecord::Name));
}

proptest! {
    #[test]
    fn records_come_back(names in prop::collection::btree_set("[a-z][ -+./-~ä]{0,40}[a-z]", 1..40)) {
        let allow = AllowList::new(names).unwrap();
        let catalog = Catalog::decode(&[allow_record(VolumeId(7), &allow)]).unwrap();
        prop_assert_eq!(catalog.allow(VolumeId(7)), allow);
        prop_assert!(catalog.allow(VolumeId(8)).is_empty());
    }

    #[test]
    fn random_values_never_panic(value: Vec<u8>) {
        let _ = decode(b"allow/00000000000000ab", &value);
        let _ = decode(b"allow/00000000000000ab", &[&[1, 0, 0, 0, 0, 0, 0, 0][..], &value].concat());
    }
}
