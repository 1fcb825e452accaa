use proptest::prelude::*;

use super::*;

const STORE: StoreId = StoreId(*b"0123456789abcdef");

/// CRC-32C bit by bit, from its definition (RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            register = (register >> 1) ^ (0x82f6_3b78 & (register & 1).wrapping_neg());
        }
    }
    !register
}

fn by_definition(kind: Kind, file_id: u64, offset: u64, body: &[u8]) -> u32 {
    let place = [&STORE.0[..], &kind.0, &file_id.to_le_bytes(), &offset.to_le_bytes(), body].concat();
    crc32c(&place)
}

#[test]
fn the_definition_is_crc_32c() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn golden_checksum() {
    let seal = Seal::new(STORE, Kind(*b"TEST"), 7);
    assert_eq!(seal.checksum(4096, &[b"hello, ", b"world"]), by_definition(Kind(*b"TEST"), 7, 4096, b"hello, world"));
    assert_eq!(seal.checksum(4096, &[b"hello, world"]), 0xd161_4de7);
}

#[test]
fn every_part_of_the_place_counts() {
    let seal = |store, kind, file| Seal::new(store, Kind(kind), file).checksum(0, &[b"body"]);
    let here = seal(STORE, *b"TEST", 7);
    assert_ne!(here, seal(StoreId([0; 16]), *b"TEST", 7));
    assert_ne!(here, seal(STORE, *b"TES2", 7));
    assert_ne!(here, seal(STORE, *b"TEST", 8));
    assert_ne!(here, Seal::new(STORE, Kind(*b"TEST"), 7).checksum(4096, &[b"body"]));
}

#[test]
fn a_page_verifies_only_where_it_was_sealed() {
    let seal = Seal::new(STORE, Kind(*b"TEST"), 7);
    let mut page = [3; PAGE_BYTES];
    seal.seal_page(8192, &mut page);
    assert!(seal.is_sealed(8192, &page));
    assert!(!seal.is_sealed(4096, &page));
    for at in [0, 2000, PAGE_BYTES - 1] {
        page[at] ^= 0x10;
        assert!(!seal.is_sealed(8192, &page), "a flipped bit at {at} shows");
        page[at] ^= 0x10;
    }
}

proptest! {
    #[test]
    fn equals_the_definition_however_it_is_cut(
        body in proptest::collection::vec(any::<u8>(), 0..5000),
        file in any::<u64>(), offset in any::<u64>(), cut in any::<proptest::sample::Index>(),
    ) {
        let seal = Seal::new(STORE, Kind(*b"TEST"), file);
        let (left, right) = body.split_at(cut.index(body.len() + 1));
        prop_assert_eq!(seal.checksum(offset, &[left, right]), by_definition(Kind(*b"TEST"), file, offset, &body));
    }
}
