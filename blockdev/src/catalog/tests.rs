use super::*;

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

const IMPORTING: Entry = Entry { id: VolumeId(0x0203), state: State::Importing };

#[test]
fn a_record_has_these_bytes() {
    let record = record(&name("demo"), IMPORTING);
    assert_eq!(record.key, b"volume/demo");
    assert_eq!(record.value.unwrap(), b"\x01\x01\0\0\0\0\0\0\x03\x02\0\0\0\0\0\0");
    assert_eq!(removal(&name("demo")), Record { key: b"volume/demo".to_vec(), value: None });
}

#[test]
fn records_come_back_as_the_catalog() {
    let ready = Entry { id: VolumeId(u64::MAX), state: State::Ready };
    let other = Record { key: b"pool/x".to_vec(), value: Some(vec![9]) };
    let catalog = Catalog::decode(&[record(&name("b"), ready), other, record(&name("a"), IMPORTING)]).unwrap();
    assert!(catalog.iter().map(|(name, entry)| (name.as_str(), entry)).eq([("a", IMPORTING), ("b", ready)]));
    assert_eq!(catalog.entry(&name("b")), Some(ready));
    assert_eq!(catalog.entry(&name("c")), None);
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
