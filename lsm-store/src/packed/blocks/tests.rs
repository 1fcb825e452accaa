use proptest::prelude::*;

use super::*;
use crate::packed::tests::any_block;

fn packed(data: &[u8]) -> Bytes {
    let mut out = Vec::new();
    assert!(BlockPacker::default().pack(data, usize::MAX, &mut out));
    out.into()
}

proptest! {
    #[test]
    fn what_is_packed_is_read(blocks in prop::collection::vec(any_block(), 1..40), from in any::<prop::sample::Index>(), len in any::<prop::sample::Index>()) {
        let data = blocks.concat();
        let read = PackedBlocks::read(packed(&data), blocks.len()).unwrap();
        prop_assert_eq!(&read.content(), &data);
        let from = from.index(data.len());
        let mut part = vec![1; len.index(data.len() - from) + 1];
        read.copy_to(from, &mut part);
        prop_assert_eq!(&part[..], &data[from..from + part.len()]);
    }

    #[test]
    fn a_part_is_what_the_journal_would_get_for_it(blocks in prop::collection::vec(any_block(), 1..20), first in any::<prop::sample::Index>(), count in any::<prop::sample::Index>()) {
        let first = first.index(blocks.len());
        let end = first + 1 + count.index(blocks.len() - first);
        let read = PackedBlocks::read(packed(&blocks.concat()), blocks.len()).unwrap();
        let part = read.packed(first..end, |len, parts| {
            let payload = parts.concat();
            assert_eq!(payload.len(), len);
            payload.into()
        });
        let alone = Packer::default().pack(&blocks[first..end].concat(), Bytes::copy_from_slice);
        prop_assert_eq!(part, alone);
    }

    #[test]
    fn a_changed_byte_is_found(blocks in prop::collection::vec(any_block(), 1..6), at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let sound = packed(&blocks.concat());
        let mut bytes = sound.to_vec();
        bytes[at.index(sound.len())] ^= by;
        // What decodes to the same content is as good.
        if let Some(read) = PackedBlocks::read(bytes.into(), blocks.len()) {
            prop_assert_eq!(read.content(), blocks.concat());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), count in 0..9_usize) {
        if let Some(read) = PackedBlocks::read(bytes.into(), count) {
            prop_assert_eq!(read.content().len(), count * BLOCK_BYTES);
        }
    }
}

#[test]
fn other_counts_and_cuts_are_refused() {
    let bytes = packed(&vec![7; 4 * BLOCK_BYTES]);
    assert!(PackedBlocks::read(bytes.clone(), 4).is_some());
    for count in [0, 1, 3, 5, PACKED_BLOCKS_MAX + 1, usize::MAX] {
        assert!(PackedBlocks::read(bytes.clone(), count).is_none(), "{count}");
    }
    for len in 0..bytes.len() {
        assert!(PackedBlocks::read(bytes.slice(..len), 4).is_none(), "{len} of {} bytes", bytes.len());
    }
    assert!(PackedBlocks::read([&bytes[..], &[0]].concat().into(), 4).is_none());
}

#[test]
fn zeros_take_no_bytes_and_have_no_fingerprint() {
    let zeros = packed(&[0; 2 * BLOCK_BYTES]);
    assert_eq!(&zeros[..], [0; 2 * (LENGTH_BYTES + FINGERPRINT_BYTES)]);
    assert_eq!(PackedBlocks::read(zeros.clone(), 2).unwrap().content(), [0; 2 * BLOCK_BYTES]);
    let mut named = zeros.to_vec();
    *named.last_mut().unwrap() = 1;
    assert!(PackedBlocks::read(named.into(), 2).is_none(), "a fingerprint of a block that takes no bytes");
    let content = [0; BLOCK_BYTES];
    let mut stored = (BLOCK_BYTES as u16).to_le_bytes().to_vec();
    stored.extend(content);
    stored.extend(Fingerprint::of(&content).0);
    assert!(PackedBlocks::read(stored.into(), 1).is_none(), "zeros that take bytes");
}
