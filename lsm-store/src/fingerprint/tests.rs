use proptest::prelude::*;

use super::*;
use crate::rng::{Rng, SeededRng};

fn blocks(seed: u64, count: usize) -> Vec<[u8; BLOCK_BYTES]> {
    let rng = SeededRng::new(seed);
    let mut blocks = vec![[0; BLOCK_BYTES]; count];
    blocks.iter_mut().for_each(|block| rng.fill(block));
    blocks
}

#[test]
fn golden_fingerprint() {
    let block = std::array::from_fn(|at| (at % 251) as u8);
    let hex = "015094013f57a5277b59d8475c0501042c0b642e531b0a1c8f58d2163229e969";
    assert_eq!(Fingerprint::of(&block).to_string(), hex, "the official test vector for 4096 bytes");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn many_at_once_is_used_where_vectors_are() {
    assert!(many::is_trusted());
}

#[test]
fn zeros_are_seen_wherever_they_end() {
    assert!(is_zero(&[]));
    for len in [1, 127, 128, 129, BLOCK_BYTES] {
        let mut bytes = vec![0; len];
        assert!(is_zero(&bytes));
        for at in [0, len / 2, len - 1] {
            bytes[at] = 0x80;
            assert!(!is_zero(&bytes), "{at} of {len}");
            bytes[at] = 0;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn many_equal_one_by_one(seed in any::<u64>(), count in 0_usize..40) {
        let blocks = blocks(seed, count);
        let refs: Vec<_> = blocks.iter().collect();
        let mut out = vec![Fingerprint([0; 32]); count];
        fingerprint_blocks(&refs, &mut out);
        for (block, fingerprint) in blocks.iter().zip(out) {
            prop_assert_eq!(fingerprint.0, *blake3::hash(block).as_bytes());
        }
    }
}
