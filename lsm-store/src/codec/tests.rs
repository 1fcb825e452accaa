use proptest::prelude::*;

use super::*;
use crate::rng::{Rng, SeededRng};

const ALL: [Codec; 4] =
    [Codec::None, Codec::Lz4, Codec::Zstd { level: ZstdLevel(1) }, Codec::Zstd { level: ZstdLevel(19) }];

/// Bytes of which about `percent` repeat what came before.
fn data(seed: u64, len: usize, percent: u64) -> Vec<u8> {
    let rng = SeededRng::new(seed);
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    for chunk in bytes.chunks_mut(64) {
        if rng.below(100) < percent {
            chunk.fill(7);
        }
    }
    bytes
}

#[test]
fn codecs_have_names() {
    for (text, shown) in
        [("none", "none"), ("lz4", "lz4"), ("zstd", "zstd:3"), ("zstd:1", "zstd:1"), ("zstd:19", "zstd:19")]
    {
        assert_eq!(text.parse::<Codec>().unwrap().to_string(), shown);
    }
    for text in ["", "LZ4", "lz4:1", "zstd:", "zstd:0", "zstd:20", "zstd:-1", "zstd:300", "zstd:3:3"] {
        assert!(text.parse::<Codec>().is_err(), "{text:?} is no codec");
    }
    assert_eq!(Codec::default(), Codec::Lz4);
}

#[test]
fn what_does_not_shrink_is_stored_raw() {
    let random = data(1, BLOCK_BYTES, 0);
    let mut compressor = Compressor::new();
    for codec in ALL {
        assert_eq!(compressor.compress(codec, &random), Stored { encoding: Encoding::Raw, bytes: &random });
    }
}

#[test]
fn a_saving_below_a_sixteenth_is_not_worth_decoding() {
    let mut compressor = Compressor::new();
    for codec in ALL {
        for repeated in (0..1024).step_by(16) {
            let mut bytes = data(2, BLOCK_BYTES, 0);
            bytes[..repeated].fill(1);
            let stored = compressor.compress(codec, &bytes);
            let limit = BLOCK_BYTES - BLOCK_BYTES / 16;
            assert!(stored.encoding == Encoding::Raw || stored.bytes.len() <= limit);
        }
    }
}

#[test]
fn other_lengths_than_declared_are_refused() {
    let bytes = data(3, BLOCK_BYTES, 60);
    let (mut compressor, mut decompressor) = (Compressor::new(), Decompressor::new());
    for codec in ALL {
        let stored = compressor.compress(codec, &bytes);
        for len in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES + 1, 2 * BLOCK_BYTES] {
            assert!(decompressor.decode(stored, &mut vec![0; len]).is_err(), "{codec} into {len} bytes");
        }
    }
}

/// Written by hand from the LZ4 block format description and RFC 8878, so that neither encoder is trusted.
#[test]
fn golden_encodings_decode() {
    let mut expected = [b'a'; BLOCK_BYTES];
    expected[..16].copy_from_slice(b"siltstone golden");
    // 17 literals and a match of 4,074 bytes at distance 1; then the five last literals.
    let lz4 = [&b"\xff\x02siltstone goldena\x01\x00"[..], &[0xff; 15], b"\xe6\x50aaaaa"].concat();
    // A single-segment frame of 4,096 bytes: a raw block of 16 bytes, then a run of 4,080.
    let zstd = b"\x28\xb5\x2f\xfd\x60\x00\x0f\x80\x00\x00siltstone golden\x83\x7f\x00a";
    for (encoding, bytes) in [(Encoding::Raw, &expected[..]), (Encoding::Lz4, &lz4), (Encoding::Zstd, zstd)] {
        let mut out = [0; BLOCK_BYTES];
        Decompressor::new().decode(Stored { encoding, bytes }, &mut out).unwrap();
        assert_eq!(out, expected, "{encoding:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn round_trip(seed in any::<u64>(), blocks in 1..=GROUP_BLOCKS_MAX, percent in 0_u64..100, codec in 0..ALL.len()) {
        let bytes = data(seed, blocks * BLOCK_BYTES, percent);
        let (mut compressor, mut decompressor) = (Compressor::new(), Decompressor::new());
        let mut out = vec![1; bytes.len()];
        for codec in [ALL[codec], Codec::Lz4] {
            decompressor.decode(compressor.compress(codec, &bytes), &mut out).unwrap();
            prop_assert_eq!(&out, &bytes);
        }
    }

    #[test]
    fn hostile_bytes_are_an_error_or_some_other_block(
        seed in any::<u64>(), flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(), codec in 1..ALL.len() - 1,
    ) {
        let bytes = data(seed, BLOCK_BYTES, 60);
        let mut compressor = Compressor::new();
        let stored = compressor.compress(ALL[codec], &bytes);
        let mut hostile = stored.bytes.to_vec();
        for (at, value) in flips {
            let at = at.index(hostile.len());
            hostile[at] ^= value;
        }
        hostile.truncate(cut.index(hostile.len()) + 1);
        let mut out = vec![0; BLOCK_BYTES];
        let _ = Decompressor::new().decode(Stored { encoding: stored.encoding, bytes: &hostile }, &mut out);
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), encoding in 0_u8..3) {
        let stored = Stored { encoding: Encoding::from_byte(encoding).unwrap(), bytes: &bytes };
        let decoded = Decompressor::new().decode(stored, &mut vec![0; BLOCK_BYTES]);
        prop_assert!(decoded.is_err() || stored.encoding != Encoding::Raw);
    }
}
