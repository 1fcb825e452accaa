use super::*;
use crate::catalog::Catalog;

const LIMITS: Limits = Limits { reserve_bytes: Some(1 << 20), quota_bytes: Some(0x1_0000_0001) };

#[test]
fn a_record_has_these_bytes() {
    let record = limits_record(VolumeId(0xab), &LIMITS);
    assert_eq!(record.key, b"limits/00000000000000ab");
    assert_eq!(record.value.unwrap(), b"\x01\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\x01\0\0\0\x01\0\0\0");
    let removal = Record { key: record.key, value: None };
    assert_eq!(limits_record(VolumeId(0xab), &Limits::default()), removal);
}

#[test]
fn records_come_back() {
    for limits in [LIMITS, Limits { reserve_bytes: None, ..LIMITS }, Limits { quota_bytes: None, ..LIMITS }] {
        let catalog = Catalog::decode(&[limits_record(VolumeId(7), &limits)]).unwrap();
        assert_eq!((catalog.limits(VolumeId(7)), catalog.limits(VolumeId(8))), (limits, Limits::default()));
    }
}

#[test]
fn damaged_records_are_errors() {
    let decode =
        |key: &[u8], value: &[u8]| Catalog::decode(&[Record { key: key.to_vec(), value: Some(value.to_vec()) }]).err();
    let Record { key, value } = limits_record(VolumeId(0xab), &LIMITS);
    let value = value.unwrap();
    let damaged = Some(InvalidRecord::OfVolume(VolumeId(0xab)));
    for len in 0..value.len() {
        assert_eq!(decode(&key, &value[..len]), damaged, "cut at {len}");
    }
    assert_eq!(decode(&key, &[&value[..], &[0; 8]].concat()), damaged);
    for position in 1..8 {
        let mut changed = value.clone();
        changed[position] = 0xff;
        assert_eq!(decode(&key, &changed), damaged, "at {position}");
    }
    assert_eq!(decode(&key, &[&[2], &value[1..]].concat()), Some(InvalidRecord::Version(2)));
    assert_eq!(decode(b"limits/ab", &value), Some(InvalidRecord::Name));
}
