use bytes::Bytes;

use super::*;
use crate::replica::operation;

fn written(drafts: &[Draft]) -> Vec<(u64, Bytes)> {
    let operations = drafts.iter().flat_map(|draft| operation::decode(draft.record()).unwrap());
    operations
        .map(|operation| match operation {
            Operation::Write { offset, data } => (offset, data),
            Operation::WriteBlocks { first, blocks } => (first.byte_offset(), blocks.content().into()),
            other => panic!("{other:?} is no write"),
        })
        .collect()
}

#[test]
fn small_writes_share_a_record_in_their_order() {
    let (first, second) = ([1; 512], [2; 4096]);
    let writes = [Write { offset: 9, data: &first }, Write { offset: 7, data: &second }];
    let records = records(&writes, &mut Packer::default());
    assert_eq!(records.len(), 1);
    assert_eq!(written(&records), [(9, Bytes::from(first.to_vec())), (7, Bytes::from(second.to_vec()))]);
}

#[test]
fn large_writes_are_cut_into_records_that_are_not_too_long() {
    let data: Vec<u8> = (0..3 * RECORD_BYTES_MAX).map(|at| (at % 251) as u8).collect();
    let records = records(
        &[Write { offset: 100, data: &data }, Write { offset: 0, data: &data[..5000] }],
        &mut Packer::default(),
    );
    assert!(records.iter().all(|record| record.record().len() <= RECORD_BYTES_MAX));
    let mut image = vec![0; 100 + data.len()];
    for (offset, piece) in written(&records) {
        image[offset as usize..offset as usize + piece.len()].copy_from_slice(&piece);
    }
    let mut expected = [vec![0; 100], data.clone()].concat();
    expected[..5000].copy_from_slice(&data[..5000]);
    assert!(image == expected);
    let starts = written(&records).into_iter().map(|(offset, _)| offset);
    assert!(starts.filter(|start| start % BLOCK_BYTES as u64 != 0).count() == 1, "pieces begin between blocks");
}

#[test]
fn nothing_is_no_record() {
    assert!(records(&[], &mut Packer::default()).is_empty());
    assert!(records(&[Write { offset: 5, data: &[] }], &mut Packer::default()).is_empty());
}
