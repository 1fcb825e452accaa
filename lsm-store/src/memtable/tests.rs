use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::layers::LayerTree;

const LAYER: LayerId = LayerId(3);
const FAMILY: FamilyId = FamilyId(3);

fn payload(fill: u8, count: usize) -> Bytes {
    Bytes::from(vec![fill; count * BLOCK_BYTES])
}

#[derive(Clone, Debug)]
enum Step {
    Data {
        first: u64,
        count: u64,
        fill: u8,
    },
    Zeroed {
        first: u64,
        count: u64,
        hole: bool,
    },
    /// Whoever has the head with this number goes on in a new layer, or (`clone`) keeps it and somebody else does.
    Layer {
        on: prop::sample::Index,
        clone: bool,
    },
    /// The head that is written to from here on.
    Head(prop::sample::Index),
}

fn writes() -> impl Strategy<Value = Step> {
    let data = (0..300u64, 1..8u64, any::<u8>()).prop_map(|(first, count, fill)| Step::Data { first, count, fill });
    let zeroed =
        (0..300u64, 1..200u64, any::<bool>()).prop_map(|(first, count, hole)| Step::Zeroed { first, count, hole });
    prop_oneof![data, zeroed]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(writes(), 1..40)
}

fn steps_with_layers() -> impl Strategy<Value = Vec<Step>> {
    let layer = (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(on, clone)| Step::Layer { on, clone });
    let head = any::<prop::sample::Index>().prop_map(Step::Head);
    prop::collection::vec(prop_oneof![6 => writes(), 1 => layer, 1 => head], 1..60)
}

type Blocks = BTreeMap<u64, Content>;

/// What each layer's reader should see.
struct Tester {
    memtable: Memtable,
    tree: LayerTree,
    seen: BTreeMap<LayerId, Blocks>,
    heads: Vec<LayerId>,
}

impl Tester {
    fn new() -> Self {
        let mut tree = LayerTree::default();
        tree.add(LAYER, None);
        tree.add_root(LAYER);
        let seen = BTreeMap::from([(LAYER, Blocks::new())]);
        Self { memtable: Memtable::new(Generation(1), Sequence(1)), tree, seen, heads: vec![LAYER] }
    }

    fn apply(&mut self, steps: &[Step]) {
        let mut head = 0;
        for (index, step) in steps.iter().enumerate() {
            let (sequence, layer) = (Sequence(index as u64 + 1), self.heads[head]);
            let blocks = self.seen.get_mut(&layer).unwrap();
            match step.clone() {
                Step::Data { first, count, fill } => {
                    let bytes = payload(fill, count as usize);
                    self.memtable.insert_data((FAMILY, layer), BlockIndex(first), sequence, &bytes);
                    blocks.extend((first..first + count).map(|block| (block, Content::Data(payload(fill, 1)))));
                }
                Step::Zeroed { first, count, hole } => {
                    self.memtable.insert_zeroed((FAMILY, layer), BlockIndex(first), count, sequence, hole);
                    let content = if hole { Content::Hole } else { Content::Zero };
                    blocks.extend((first..first + count).map(|block| (block, content.clone())));
                }
                Step::Layer { on, clone } => self.layer(on.index(self.heads.len()), clone),
                Step::Head(index) => head = index.index(self.heads.len()),
            }
        }
    }

    /// A snapshot of a head: what it had stays as it is, and new layers go on from there.
    fn layer(&mut self, head: usize, clone: bool) {
        let parent = self.heads[head];
        let mut add = || {
            let layer = LayerId(self.seen.last_key_value().unwrap().0.0 + 2);
            self.tree.add(layer, Some(parent));
            self.tree.add_root(layer);
            self.seen.insert(layer, self.seen[&parent].clone());
            layer
        };
        self.heads[head] = add();
        if clone {
            let cloned = add();
            self.heads.push(cloned);
        }
    }
}

proptest! {
    #[test]
    fn a_memtable_says_of_each_block_what_was_said_last(steps in steps()) {
        let mut tester = Tester::new();
        tester.apply(&steps);
        let other = Lineage::first(LayerId(4));
        for block in 0..600 {
            let found = tester.memtable.lookup(&Lineage::first(LAYER), BlockIndex(block));
            prop_assert_eq!(found, tester.seen[&LAYER].get(&block).cloned());
            prop_assert_eq!(tester.memtable.lookup(&other, BlockIndex(block)), None);
        }
    }

    #[test]
    fn every_layer_sees_what_its_lineage_wrote(steps in steps_with_layers()) {
        let mut tester = Tester::new();
        tester.apply(&steps);
        for (layer, blocks) in &tester.seen {
            let lineage = tester.tree.lineage_of(*layer).unwrap();
            for block in 0..520 {
                prop_assert_eq!(tester.memtable.lookup(&lineage, BlockIndex(block)), blocks.get(&block).cloned());
            }
        }
    }

    #[test]
    fn sorted_gives_each_version_once_and_in_order(steps in steps_with_layers(), readers in any::<u32>()) {
        let mut tester = Tester::new();
        tester.apply(&steps);
        let lineages: Vec<_> = tester.seen.keys().map(|layer| tester.tree.lineage_of(*layer).unwrap()).collect();
        let gone: Vec<_> = tester.seen.keys().copied().enumerate().filter(|(at, _)| readers >> (at % 32) & 1 == 0).collect();
        gone.iter().for_each(|(_, layer)| tester.tree.remove_root(*layer));
        let mut sorted = tester.memtable.sorted();
        retain_visible(&mut sorted, &tester.tree.visibility());
        for pair in sorted.windows(2) {
            let versions = (pair[0].first, pair[0].count) == (pair[1].first, pair[1].count) && pair[0].layer > pair[1].layer;
            prop_assert!(versions || pair[0].first.0 + pair[0].count <= pair[1].first.0);
        }
        for (at, lineage) in lineages.iter().enumerate().filter(|(at, _)| readers >> (at % 32) & 1 == 1) {
            let mut given = Blocks::new();
            for entry in sorted.iter().rev().filter(|entry| lineage.contains(entry.layer)) {
                given.extend((entry.first.0..entry.first.0 + entry.count).map(|block| (block, entry.content.clone())));
            }
            prop_assert_eq!(&given, tester.seen.values().nth(at).unwrap());
        }
        if gone.len() == lineages.len() {
            prop_assert_eq!(sorted, vec![]);
        }
    }
}

#[test]
fn an_overwritten_block_belongs_to_the_later_record() {
    let memtable = Memtable::new(Generation(1), Sequence(1));
    let lineage = Lineage::first(LAYER);
    memtable.insert_data((FAMILY, LAYER), BlockIndex(9), Sequence(1), &payload(1, 1));
    memtable.insert_zeroed((FAMILY, LAYER), BlockIndex(0), 100, Sequence(2), true);
    assert_eq!(memtable.lookup_with_sequence(&lineage, BlockIndex(9)), Some((Content::Hole, Sequence(2))));
    memtable.insert_data((FAMILY, LAYER), BlockIndex(9), Sequence(3), &payload(2, 1));
    let latest = (Content::Data(payload(2, 1)), Sequence(3));
    assert_eq!(memtable.lookup_with_sequence(&lineage, BlockIndex(9)), Some(latest));
}
