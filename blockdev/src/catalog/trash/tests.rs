use super::*;
use crate::catalog::Catalog;

fn trashed(origin: Option<Origin>) -> Trashed {
    Trashed { name: "demo".parse().unwrap(), removed_ms: 0x0102, expires_ms: 0x0304, origin }
}

const OF_SNAPSHOT: Option<Origin> = Some(Origin { volume: VolumeId(5), snapshot: Some(VolumeId(6)) });
const OF_VOLUME: Option<Origin> = Some(Origin { volume: VolumeId(5), snapshot: None });

#[test]
fn a_record_has_these_bytes() {
    let record = trash_record(VolumeId(0xab), &trashed(OF_SNAPSHOT));
    assert_eq!(record.key, b"trash/00000000000000ab");
    let value = b"\x01\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x04\x03\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0demo";
    assert_eq!(record.value.unwrap(), value);
    assert_eq!(trash_removal(VolumeId(0xab)), Record { key: record.key, value: None });
}

#[test]
fn records_come_back() {
    for (id, origin) in [(1, None), (2, OF_SNAPSHOT), (u64::MAX, OF_VOLUME)] {
        let trashed = trashed(origin);
        let catalog = Catalog::decode(&[trash_record(VolumeId(id), &trashed)]).unwrap();
        assert!(catalog.trash().eq([(VolumeId(id), &trashed)]));
        assert_eq!(catalog.iter().count(), 0, "it has no name");
    }
}

#[test]
fn damaged_records_are_errors() {
    let decode = |key: &[u8], value: &[u8]| {
        Catalog::decode(&[Record { key: key.to_vec(), value: Some(value.to_vec()) }]).unwrap_err()
    };
    let Record { key, value } = trash_record(VolumeId(0xab), &trashed(OF_SNAPSHOT));
    let value = value.unwrap();
    let damaged = InvalidRecord::OfVolume(VolumeId(0xab));
    for len in 0..=HEAD_BYTES {
        assert_eq!(decode(&key, &value[..len]), damaged, "cut at {len}");
    }
    for position in 1..8 {
        let mut changed = value.clone();
        changed[position] = 1;
        assert_eq!(decode(&key, &changed), damaged, "at {position}");
    }
    let mut no_volume = value.clone();
    no_volume[24] = 0;
    assert_eq!(decode(&key, &no_volume), damaged);
    assert_eq!(decode(&key, &[&value[..], b"@s"].concat()), damaged);
    assert_eq!(decode(&key, &[&[2], &value[1..]].concat()), InvalidRecord::Version(2));
    for key in [&b"trash/"[..], b"trash/ab", b"trash/00000000000000AB", b"trash/00000000000000ab/"] {
        assert_eq!(decode(key, &value), InvalidRecord::Name, "{key:?}");
    }
}
