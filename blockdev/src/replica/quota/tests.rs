use lsm_store::request::Zeroing;

use super::*;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Four blocks from the tenth on, these of them with data.
fn blocks(is_mapped: [bool; 4]) -> Blocks {
    Blocks { first: 10, is_mapped: is_mapped.into(), is_vague: false }
}

fn after(is_mapped: [bool; 4], operation: &Operation) -> Vec<bool> {
    let mut blocks = blocks(is_mapped);
    blocks.lay(operation);
    blocks.is_mapped
}

fn write(offset: u64, data: &[u8]) -> Operation {
    Operation::Write { offset, data: Bytes::copy_from_slice(data) }
}

#[test]
fn what_a_write_brings_maps_unless_it_is_zeros() {
    let data = [vec![1; 4096], vec![0; 4096]].concat();
    assert_eq!(after([false, false, true, true], &write(11 * BLOCK, &data)), [false, true, false, true]);
    let before = [false, true, false, true];
    assert_eq!(after(before, &write(10 * BLOCK + 7, &[1])), [true, true, false, true]);
    assert_eq!(after(before, &write(11 * BLOCK + 7, &[0])), before, "what is left of it is not known");
    assert_eq!(after([false; 4], &write(9 * BLOCK, &vec![1; 2 * 4096])), [true, false, false, false]);
    assert_eq!(after([false; 4], &write(13 * BLOCK + 1, &vec![1; 2 * 4096])), [false, false, false, true]);
}

#[test]
fn zeros_unmap_whole_blocks() {
    let zero = |offset, len| Operation::Zero { offset, len, zeroing: Zeroing::Allocated };
    assert_eq!(after([true; 4], &zero(11 * BLOCK, 2 * BLOCK)), [true, false, false, true]);
    assert_eq!(after([true; 4], &zero(11 * BLOCK - 1, 2 * BLOCK)), [true, false, true, true]);
    assert_eq!(after([true; 4], &zero(0, 1000 * BLOCK)), [false; 4]);
    assert_eq!(after([true; 4], &zero(0, BLOCK)), [true; 4]);
}

#[test]
fn zeros_in_a_part_of_a_mapped_block_have_the_volume_counted() {
    let zero = |offset, len| Operation::Zero { offset, len, zeroing: Zeroing::Allocated };
    let is_vague = |operation: &Operation| {
        let mut blocks = blocks([false, true, false, true]);
        blocks.lay(operation);
        blocks.is_vague
    };
    for vague in
        [write(11 * BLOCK + 7, &[0]), zero(11 * BLOCK, 7), zero(11 * BLOCK + 7, BLOCK), zero(9 * BLOCK, 4 * BLOCK + 1)]
    {
        assert!(is_vague(&vague), "{vague:?}");
    }
    for exact in
        [write(11 * BLOCK + 7, &[1]), write(12 * BLOCK + 7, &[0]), zero(11 * BLOCK, BLOCK), zero(12 * BLOCK, 7)]
    {
        assert!(!is_vague(&exact), "{exact:?}");
    }
}

#[test]
fn mapped_bytes_are_whole_blocks() {
    assert_eq!(blocks([true, false, true, false]).mapped_bytes(), 2 * BLOCK as i64);
}

#[test]
fn without_a_count_nothing_is_within_unless_there_will_be_none() {
    let mut mapped = Mapped::default();
    assert!(!is_within(&mapped, 0, u64::MAX));
    mapped.count(BLOCK);
    assert!(is_within(&mapped, BLOCK as i64, 2 * BLOCK));
    assert!(!is_within(&mapped, BLOCK as i64 + 1, 2 * BLOCK));
    mapped.give_up_counting();
    assert!(is_within(&mapped, BLOCK as i64 + 1, 2 * BLOCK));
}
