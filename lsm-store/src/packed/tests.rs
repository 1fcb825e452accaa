use proptest::prelude::*;

use super::*;

fn pack(data: &[u8]) -> Packed {
    Packer::default().pack(data, Bytes::copy_from_slice)
}

/// Zeros, text, noise, and all between.
pub(super) fn any_block() -> impl Strategy<Value = Vec<u8>> {
    (0..=BLOCK_BYTES, any::<u64>()).prop_map(|(noisy, seed)| {
        let mut state = seed | 1;
        (0..BLOCK_BYTES)
            .map(|at| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                if at < noisy && seed % 5 > 0 { (state >> 33) as u8 } else { 0 }
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked(blocks in prop::collection::vec(any_block(), 1..40)) {
        let data = blocks.concat();
        let packed = Arc::new(pack(&data));
        prop_assert_eq!(packed.len(), blocks.len());
        prop_assert!(packed.payload().len() <= bytes_max(blocks.len()));
        prop_assert_eq!(&unpack(packed.payload(), blocks.len()).unwrap(), &data);
        for (index, block) in data.as_chunks().0.iter().enumerate() {
            prop_assert_eq!(packed.is_zero(index), is_zero(block));
            if !is_zero(block) {
                let one = PackedBlock::new(&packed, index);
                prop_assert_eq!(&one.unpack()[..], &block[..]);
                prop_assert_eq!(one.fingerprint(), Fingerprint::of(block));
            }
        }
    }

    #[test]
    fn any_bytes_are_unpacked_or_refused(payload in prop::collection::vec(any::<u8>(), 0..300), count in 0..9_usize) {
        if let Some(content) = unpack(&payload, count) {
            prop_assert_eq!(content.len(), count * BLOCK_BYTES);
        }
    }
}

#[test]
fn a_payload_keeps_its_bytes() {
    let mut data = vec![0; 3 * BLOCK_BYTES];
    data[BLOCK_BYTES..2 * BLOCK_BYTES].fill(b'a');
    data[2 * BLOCK_BYTES..].copy_from_slice(
        &(0..BLOCK_BYTES as u64 / 8).flat_map(|n| (n * n * n).to_le_bytes().map(|b| b ^ n as u8)).collect::<Vec<u8>>(),
    );
    let payload = pack(&data).payload().clone();
    // Lengths: a zero block, one that LZ4 makes 26 bytes of, and the third.
    assert_eq!(payload[..6], [0, 0, payload[2], 0, payload[4], payload[5]]);
    let third = usize::from(u16::from_le_bytes([payload[4], payload[5]]));
    assert_eq!(payload.len(), 6 + usize::from(payload[2]) + third);
}

#[test]
fn every_cut_of_a_payload_is_refused() {
    let mut data = vec![7; 4 * BLOCK_BYTES];
    data[..BLOCK_BYTES].fill(0);
    let payload = pack(&data).payload().clone();
    for len in 0..payload.len() {
        assert!(unpack(&payload[..len], 4).is_none(), "{len} of {} bytes", payload.len());
    }
    assert!(unpack(&[&payload[..], &[0]].concat(), 4).is_none());
}
