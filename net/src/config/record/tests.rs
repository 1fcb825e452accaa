use super::*;

const KIND: Kind = Kind(*b"test");
const PLACE: Place = Place { scope: [7; 16], number: 9 };

#[test]
fn a_record_has_these_bytes() {
    let record = seal(KIND, PLACE, b"body");
    assert_eq!(record[..8], *b"test\x01\0\0\0");
    assert_eq!(record[12..], *b"body");
    let crc = u32::from_le_bytes(record[8..12].try_into().unwrap());
    assert_eq!(crc, 0x6806_a215, "{crc:#010x}");
    assert_eq!(open(KIND, PLACE, &record), Ok(&b"body"[..]));
}

#[test]
fn a_record_elsewhere_or_changed_is_damage() {
    let record = seal(KIND, PLACE, b"body");
    assert_eq!(open(Kind(*b"tesT"), PLACE, &record), Err(InvalidRecord::Damaged));
    assert_eq!(open(KIND, Place { number: 8, ..PLACE }, &record), Err(InvalidRecord::Damaged));
    assert_eq!(open(KIND, Place { scope: [8; 16], ..PLACE }, &record), Err(InvalidRecord::Damaged));
    for at in 0..record.len() {
        let mut changed = record.clone();
        changed[at] ^= 1;
        assert_eq!(open(KIND, PLACE, &changed), Err(InvalidRecord::Damaged), "byte {at}");
        assert_eq!(open(KIND, PLACE, &record[..at]), Err(InvalidRecord::Damaged), "cut at {at}");
    }
}

#[test]
fn a_newer_record_is_refused_as_newer() {
    let mut record = seal(KIND, PLACE, b"body");
    record[4] = 2;
    let crc = checksum(PLACE, &record[..8], b"body");
    record[8..12].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(open(KIND, PLACE, &record), Err(InvalidRecord::Version(2)));
}
