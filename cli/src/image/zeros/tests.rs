use super::*;

#[test]
fn long_gaps_are_cut_out_and_short_ones_stay() {
    let mut bytes = vec![0; 100 * BLOCK_BYTES + 5];
    for block in [3, 18, 35, 99] {
        bytes[block * BLOCK_BYTES + 7] = 1;
    }
    *bytes.last_mut().unwrap() = 1;
    let blocks = |range: Range<usize>| range.start * BLOCK_BYTES..range.end * BLOCK_BYTES;
    let end = bytes.len();
    assert_eq!(data_ranges(&bytes), [blocks(3..19), blocks(35..36), 99 * BLOCK_BYTES..end]);
    assert!(data_ranges(&vec![0; 1 << 20]).is_empty());
}
