use super::*;
use crate::catalog::Catalog;

fn schedule() -> Schedule {
    Schedule::parse("10s", "10s:1m,1m:1h").unwrap()
}

#[test]
fn a_record_has_these_bytes() {
    let record = schedule_record(VolumeId(0xab), &schedule());
    assert_eq!(record.key, b"schedule/00000000000000ab");
    let value = b"\x01\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x3c\0\0\0\0\0\0\0\x3c\0\0\0\0\0\0\0\x10\x0e\0\0\0\0\0\0";
    assert_eq!(record.value.unwrap(), value);
    assert_eq!(schedule_removal(VolumeId(0xab)), Record { key: record.key, value: None });
}

#[test]
fn records_come_back() {
    let catalog = Catalog::decode(&[schedule_record(VolumeId(7), &schedule())]).unwrap();
    assert_eq!((catalog.schedule(VolumeId(7)), catalog.schedule(VolumeId(8))), (Some(&schedule()), None));
}

#[test]
fn damaged_records_are_errors() {
    let decode =
        |key: &[u8], value: &[u8]| Catalog::decode(&[Record { key: key.to_vec(), value: Some(value.to_vec()) }]).err();
    let Record { key, value } = schedule_record(VolumeId(0xab), &schedule());
    let value = value.unwrap();
    let damaged = Some(InvalidRecord::OfVolume(VolumeId(0xab)));
    for len in (0..value.len()).filter(|len| *len != 32) {
        assert_eq!(decode(&key, &value[..len]), damaged, "cut at {len}");
    }
    assert_eq!(decode(&key, &[&value[..], &[0; 16]].concat()), damaged, "a rule of no length");
    for position in (1..8).chain([15, 23]) {
        let mut changed = value.clone();
        changed[position] = 0xff;
        assert_eq!(decode(&key, &changed), damaged, "at {position}");
    }
    assert_eq!(decode(&key, &[&[2], &value[1..]].concat()), Some(InvalidRecord::Version(2)));
    assert_eq!(decode(b"schedule/ab", &value), Some(InvalidRecord::Name));
}
