use lsm_store::checksum::crc32c;
use lsm_store::rng::{Rng, SeededRng};

use super::*;

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRng::new(seed).fill(&mut bytes);
    bytes
}

fn lengths(chunker: Chunker, bytes: &[u8]) -> Vec<usize> {
    let mut position = 0;
    std::iter::from_fn(|| {
        let len = chunker.cut(&bytes[position..], true)?;
        position += len;
        Some(len)
    })
    .collect()
}

/// Streams that were stored are found again only as long as these hold.
#[test]
fn boundaries_never_move() {
    let of_random = lengths(Chunker::FastCdcV1, &random(1, 1 << 20));
    assert_eq!(of_random[..8], [16_594, 11_534, 16_852, 17_387, 19_398, 27_443, 16_279, 26_573]);
    let all: Vec<u8> = of_random.iter().flat_map(|len| (*len as u32).to_le_bytes()).collect();
    assert_eq!(lengths(Chunker::FastCdcV1, &[0; 150_000]), [65_536, 65_536, 18_928]);
    let text: Vec<u8> = (0..20_000u32).flat_map(|number| number.to_string().into_bytes()).collect();
    assert_eq!((of_random.len(), crc32c(&all)), (53, 3_748_761_304));
    assert_eq!(lengths(Chunker::FastCdcV1, &text), [23_753, 22_348, 21_057, 16_937, 4795]);
}

#[test]
fn chunks_have_the_lengths_they_may_have() {
    let bytes = random(2, 4 << 20);
    let all = lengths(Chunker::FastCdcV1, &bytes);
    let (last, others) = all.split_last().unwrap();
    assert!(others.iter().all(|len| (8 << 10..=64 << 10).contains(len)) && *last <= 64 << 10, "{all:?}");
    assert_eq!(all.iter().sum::<usize>(), bytes.len());
    let average = bytes.len() / all.len();
    assert!((12 << 10..24 << 10).contains(&average), "{average}");
}

#[test]
fn a_cut_depends_on_nothing_behind_it() {
    let bytes = random(3, 1 << 20);
    let mut position = 0;
    while let Some(len) = Chunker::FastCdcV1.cut(&bytes[position..], false) {
        let window = (position + (64 << 10)).min(bytes.len());
        assert_eq!(Chunker::FastCdcV1.cut(&bytes[position..window], false), Some(len));
        assert_eq!(Chunker::FastCdcV1.cut(&bytes[position..window - 1], false), None, "too little to tell");
        position += len;
    }
    assert!(bytes.len() - position < 64 << 10);
}

#[test]
fn nothing_is_cut_into_nothing() {
    for chunker in [Chunker::Fixed, Chunker::FastCdcV1] {
        assert_eq!((chunker.cut(&[], false), chunker.cut(&[], true)), (None, None));
        assert_eq!((chunker.cut(&[1], false), chunker.cut(&[1], true)), (None, Some(1)));
        assert_eq!(Chunker::from_number(chunker as u8), Some(chunker));
    }
    assert_eq!(Chunker::Fixed.cut(&[1; 10_000], false), Some(8192));
    assert_eq!(Chunker::Fixed.cut(&[1; 10_000], true), Some(8192));
    assert_eq!(Chunker::from_number(2), None);
}
