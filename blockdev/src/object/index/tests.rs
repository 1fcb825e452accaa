use super::*;

fn page() -> IndexPage {
    let mut page = IndexPage::new(3, Place { offset: 0x0102, block: 0x0405 });
    for len in [1, 8192, 8193, 65_536] {
        page.push(len);
    }
    page
}

#[test]
fn a_page_has_these_bytes() {
    let encoded = page().encode();
    let head = b"SOix\x01\0\x04\0\x03\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x05\x04\0\0\0\0\0\0";
    assert_eq!(encoded[..HEAD_BYTES], head[..]);
    assert_eq!(encoded[HEAD_BYTES..HEAD_BYTES + 8], [0, 0, 0xff, 0x1f, 0, 0x20, 0xff, 0xff]);
    assert!(encoded[HEAD_BYTES + 8..PAGE_BODY_BYTES].iter().all(|byte| *byte == 0));
    assert_eq!(encoded[PAGE_BODY_BYTES..], [165, 30, 233, 87]);
    assert_eq!(CHUNKS_MAX, 2030);
}

#[test]
fn pages_come_back() {
    let mut full = IndexPage::new(0, Place::default());
    assert!(full.is_empty());
    while !full.is_full() {
        full.push(10_000);
    }
    for page in [page(), full.clone(), full.following(), IndexPage::new(7, Place { offset: 9, block: 1 })] {
        assert_eq!(IndexPage::decode(&page.encode(), page.number), Ok(page));
    }
    assert_eq!(full.end, Place { offset: 20_300_000, block: 3 * 2030 });
    assert_eq!(full.following().start, full.end);
    assert_eq!((full.chunk(2029), full.chunk(2030)), (Some(10_000), None));
}

#[test]
fn every_damaged_bit_shows() {
    let good = page().encode();
    for position in 0..PAGE_BYTES {
        let mut damaged = good;
        damaged[position] ^= 1 << (position % 8);
        assert!(IndexPage::decode(&damaged, 3).is_err(), "byte {position}");
    }
    assert!(IndexPage::decode(&good, 2).is_err(), "another page");
    assert!(IndexPage::decode(&[0; PAGE_BYTES], 0).is_err());
}

/// Damage that the checksum agrees with is an error and not a panic.
#[test]
fn pages_that_make_no_sense_are_errors() {
    let resealed = |position: usize, bytes: &[u8]| {
        let mut page = page().encode();
        page[position..position + bytes.len()].copy_from_slice(bytes);
        let checksum = crc32c(&page[..PAGE_BODY_BYTES]);
        page[PAGE_BODY_BYTES..].copy_from_slice(&checksum.to_le_bytes());
        IndexPage::decode(&page, 3)
    };
    assert!(resealed(0, b"S").is_ok());
    for (position, bytes) in [
        (0, &b"X"[..]),
        (4, &[2]),
        (5, &[1]),
        (6, &[3]),
        (6, &[0xff, 0xff]),
        (16, &[0xff; 8]),
        (24, &[0xff; 8]),
        (PAGE_BODY_BYTES - 2, &[1]),
    ] {
        assert!(resealed(position, bytes).is_err(), "at {position}");
    }
}
