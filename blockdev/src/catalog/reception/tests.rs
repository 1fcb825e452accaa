use super::*;
use crate::catalog::Catalog;

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

const ENTRY: ReceptionEntry = ReceptionEntry {
    id: VolumeId(0x0102),
    base: Some(VolumeId(3)),
    size_bytes: 0x0405,
    began_ms: 6,
    expires_ms: 0x0708,
    sent: Some(SentSnapshot { store: StoreId(*b"0123456789abcdef"), id: VolumeId(9) }),
};

#[test]
fn a_record_has_these_bytes() {
    let record = reception_record(&name("demo"), &ENTRY);
    assert_eq!(record.key, b"reception/demo");
    let value = b"\x01\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x05\x04\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\x09\0\0\0\0\0\0\x000123456789abcdef";
    assert_eq!(record.value.unwrap(), value);
    assert_eq!(reception_removal(&name("demo")), Record { key: record.key, value: None });
}

#[test]
fn records_come_back() {
    let plain = ReceptionEntry { base: None, sent: None, ..ENTRY };
    let records = [reception_record(&name("b"), &ENTRY), reception_record(&name("a"), &plain)];
    let catalog = Catalog::decode(&records).unwrap();
    assert!(catalog.receptions().eq([(&name("a"), &plain), (&name("b"), &ENTRY)]));
    assert_eq!(catalog.reception(&name("c")), None);
    assert_eq!(catalog.iter().count(), 0, "what comes has no name yet");
}

#[test]
fn damaged_records_are_errors() {
    let Record { key, value } = reception_record(&name("demo"), &ENTRY);
    let value = value.unwrap();
    let decode = |key: &[u8], value: &[u8]| {
        Catalog::decode(&[Record { key: key.to_vec(), value: Some(value.to_vec()) }]).unwrap_err()
    };
    let damaged = InvalidRecord::Value(name("demo"));
    for len in 0..value.len() {
        assert_eq!(decode(&key, &value[..len]), damaged, "cut at {len}");
    }
    for position in 1..8 {
        let mut changed = value.clone();
        changed[position] = 2;
        assert_eq!(decode(&key, &changed), damaged, "at {position}");
    }
    let mut of_none = value.clone();
    of_none[48..56].fill(0);
    assert_eq!(decode(&key, &of_none), damaged, "a store without a snapshot");
    assert_eq!(decode(&key, &[&value[..], &[0]].concat()), damaged);
    assert_eq!(decode(&key, &[&[0], &value[1..]].concat()), damaged);
    assert_eq!(decode(&key, &[&[2], &value[1..]].concat()), InvalidRecord::Version(2));
    assert_eq!(decode(b"reception/", &value), InvalidRecord::Name);
    assert_eq!(decode(b"reception/\xff", &value), InvalidRecord::Name);
}
