use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LAYER: LayerId = LayerId(3);

fn payload(fill: u8, count: usize) -> Bytes {
    Bytes::from(vec![fill; count * BLOCK_BYTES])
}

#[derive(Clone, Debug)]
enum Step {
    Data { first: u64, count: u64, fill: u8 },
    Zeroed { first: u64, count: u64, hole: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let data = (0..300u64, 1..8u64, any::<u8>()).prop_map(|(first, count, fill)| Step::Data { first, count, fill });
    let zeroed =
        (0..300u64, 1..200u64, any::<bool>()).prop_map(|(first, count, hole)| Step::Zeroed { first, count, hole });
    prop::collection::vec(prop_oneof![data, zeroed], 1..40)
}

fn apply(memtable: &Memtable, steps: &[Step]) -> BTreeMap<u64, Content> {
    let mut model = BTreeMap::new();
    for (index, step) in steps.iter().enumerate() {
        let sequence = Sequence(index as u64 + 1);
        match *step {
            Step::Data { first, count, fill } => {
                memtable.insert_data(LAYER, BlockIndex(first), sequence, &payload(fill, count as usize));
                model.extend((first..first + count).map(|block| (block, Content::Data(payload(fill, 1)))));
            }
            Step::Zeroed { first, count, hole } => {
                memtable.insert_zeroed(LAYER, BlockIndex(first), count, sequence, hole);
                let content = if hole { Content::Hole } else { Content::Zero };
                model.extend((first..first + count).map(|block| (block, content.clone())));
            }
        }
    }
    model
}

proptest! {
    #[test]
    fn a_memtable_says_of_each_block_what_was_said_last(steps in steps()) {
        let memtable = Memtable::new(Generation(1), Sequence(1));
        let model = apply(&memtable, &steps);
        for block in 0..600 {
            prop_assert_eq!(memtable.lookup(LAYER, BlockIndex(block)), model.get(&block).cloned());
        }
        prop_assert_eq!(memtable.lookup(LayerId(4), BlockIndex(steps.len() as u64)), None);
    }

    #[test]
    fn sorted_gives_each_block_once_and_in_order(steps in steps()) {
        let memtable = Memtable::new(Generation(1), Sequence(1));
        let model = apply(&memtable, &steps);
        let mut given = BTreeMap::new();
        let mut end = 0;
        for entry in memtable.sorted() {
            prop_assert!(entry.first.0 >= end && entry.count > 0);
            end = entry.first.0 + entry.count;
            given.extend((entry.first.0..end).map(|block| (block, entry.content.clone())));
        }
        prop_assert_eq!(given, model);
    }
}

#[test]
fn an_overwritten_block_belongs_to_the_later_record() {
    let memtable = Memtable::new(Generation(1), Sequence(1));
    memtable.insert_data(LAYER, BlockIndex(9), Sequence(1), &payload(1, 1));
    memtable.insert_zeroed(LAYER, BlockIndex(0), 100, Sequence(2), true);
    assert_eq!(memtable.lookup_with_sequence(LAYER, BlockIndex(9)), Some((Content::Hole, Sequence(2))));
    memtable.insert_data(LAYER, BlockIndex(9), Sequence(3), &payload(2, 1));
    assert_eq!(memtable.lookup_with_sequence(LAYER, BlockIndex(9)), Some((Content::Data(payload(2, 1)), Sequence(3))));
}
