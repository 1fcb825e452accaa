//! A map of one family with snapshots and clones that come and go, against what every reader should see.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::id::{FamilyId, LayerId};
use crate::layers::LayerTree;
use crate::map::Joiner;

const BLOCKS: u64 = 7000;
const FAMILY: FamilyId = FamilyId(1);

#[derive(Clone, Debug)]
enum Step {
    Write {
        head: Index,
        first: u64,
        count: u64,
        target: Target,
    },
    /// Zeroes blocks with a range of the run.
    Range {
        head: Index,
        first: u64,
        count: u64,
        target: Target,
    },
    /// A head's layer becomes a snapshot; it goes on in a layer on top.
    Snapshot {
        head: Index,
    },
    /// A new head on top of a layer that is read and not written to.
    Clone {
        root: Index,
    },
    /// A snapshot goes, or a clone.
    Remove {
        root: Index,
    },
    Flush,
    Compact,
}

fn step() -> impl Strategy<Value = Step> {
    let any_index = any::<Index>;
    let target = || {
        prop_oneof![
            5 => (0..50u32, 0..60_000u16).prop_map(|(segment, slot)| data(segment, slot)),
            1 => Just(Target::Zero),
            1 => Just(Target::Hole),
        ]
    };
    let width = prop_oneof![4 => Just(1u64), 3 => 1..20u64, 1 => 1..1000u64];
    // Most writes meet others.
    let first = || prop_oneof![3 => 0..60u64, 1 => 0..BLOCKS];
    let write = (any_index(), first(), width, target());
    let zeroed = prop_oneof![Just(Target::Zero), Just(Target::Hole)];
    let range = (any_index(), first(), 1..6000u64, zeroed);
    prop_oneof![
        30 => write.prop_map(|(head, first, count, target)| Step::Write { head, first, count, target }),
        2 => range.prop_map(|(head, first, count, target)| Step::Range { head, first, count, target }),
        5 => any_index().prop_map(|head| Step::Snapshot { head }),
        3 => any_index().prop_map(|root| Step::Clone { root }),
        4 => any_index().prop_map(|root| Step::Remove { root }),
        6 => Just(Step::Flush),
        3 => Just(Step::Compact),
    ]
}

/// What a reader sees of each block, and the layer that wrote it.
type Seen = BTreeMap<u64, (LayerId, Target)>;
/// What a flush job has of each block, by layer.
type Versions = BTreeMap<u64, BTreeMap<LayerId, Target>>;

struct History {
    files: Arc<RunFiles>,
    version: Version,
    policy: Policy,
    next_run: u64,
    next_layer: u64,
    tree: LayerTree,
    seen: BTreeMap<LayerId, Seen>,
    heads: Vec<LayerId>,
    entries: Versions,
    ranges: Versions,
}

impl History {
    fn new() -> Self {
        let Tester { files, policy, .. } = Tester::new(memory_files().1);
        let mut history = Self {
            files,
            version: Version::default(),
            policy,
            next_run: 1,
            next_layer: FAMILY.0,
            tree: LayerTree::default(),
            seen: BTreeMap::new(),
            heads: Vec::new(),
            entries: Versions::new(),
            ranges: Versions::new(),
        };
        let first = history.layer(None);
        history.heads.push(first);
        history
    }

    fn layer(&mut self, parent: Option<LayerId>) -> LayerId {
        let layer = LayerId(self.next_layer);
        self.next_layer += 3;
        self.tree.add(layer, parent);
        self.tree.add_root(layer);
        self.seen.insert(layer, parent.map(|parent| self.seen[&parent].clone()).unwrap_or_default());
        layer
    }

    /// The readers that are no heads, or are not the last head.
    fn snapshots(&self) -> Vec<LayerId> {
        self.seen.keys().copied().filter(|layer| !self.heads.contains(layer)).collect()
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Write { head, first, count, target } => self.write(head, first, count, target, false),
            Step::Range { head, first, count, target } => self.write(head, first, count, target, true),
            Step::Snapshot { head } => {
                let head = head.index(self.heads.len());
                self.heads[head] = self.layer(Some(self.heads[head]));
            }
            Step::Clone { root } => {
                let snapshots = self.snapshots();
                if !snapshots.is_empty() {
                    let head = self.layer(Some(snapshots[root.index(snapshots.len())]));
                    self.heads.push(head);
                }
            }
            Step::Remove { root } => {
                let mut roots = self.snapshots();
                roots.extend(&self.heads[1..]);
                if !roots.is_empty() {
                    let gone = roots[root.index(roots.len())];
                    self.tree.remove_root(gone);
                    self.seen.remove(&gone);
                    self.heads.retain(|head| *head != gone);
                }
            }
            Step::Flush => self.flush(),
            Step::Compact => self.compact(),
        }
    }

    fn write(&mut self, head: Index, first: u64, count: u64, target: Target, as_range: bool) {
        let layer = self.heads[head.index(self.heads.len())];
        let stretch = crate::map::testing::version(FAMILY.0, layer.0, first, count, target);
        for block in first..first + count {
            let target = stretch.target_of(BlockIndex(block));
            self.seen.get_mut(&layer).unwrap().insert(block, (layer, target));
            let entries = self.entries.entry(block).or_default();
            if as_range {
                entries.remove(&layer);
                self.ranges.entry(block).or_default().insert(layer, target);
            } else {
                entries.insert(layer, target);
            }
        }
    }

    fn flush(&mut self) {
        let mut writer = RunWriter::create(&self.files, RunId(self.next_run), 0, true).unwrap();
        joined(&std::mem::take(&mut self.ranges)).iter().for_each(|range| writer.push_range(*range).unwrap());
        joined(&std::mem::take(&mut self.entries)).iter().for_each(|entry| writer.push_entry(*entry).unwrap());
        if !writer.is_empty() {
            self.version = self.version.apply(&Edit::flushed(writer.finish().unwrap()));
        }
        self.next_run += 1;
    }

    fn compact(&mut self) {
        while let Some(plan) = plan(&self.version, &self.policy) {
            let visibility = self.tree.visibility();
            let mut next_run_id = || {
                self.next_run += 1;
                RunId(self.next_run - 1)
            };
            let mut context =
                MergeContext { files: &self.files, next_run_id: &mut next_run_id, visibility: &visibility };
            let edit = execute(&plan, &self.version, &mut context).unwrap();
            self.version = self.version.apply(&edit);
        }
    }

    fn lineage(&self, layer: LayerId) -> crate::layers::Lineage {
        self.tree.lineage_of(layer).unwrap()
    }

    fn check(&self) {
        for (layer, seen) in &self.seen {
            self.check_reader(*layer, seen);
        }
        self.check_visible();
        self.version.runs().for_each(|(_, run)| assert_eq!(run.verify(), []));
        let readers: Vec<_> = self.seen.keys().collect();
        readers.windows(2).for_each(|pair| self.check_diff(*pair[0], *pair[1]));
        self.check_diff(**readers.first().unwrap(), **readers.last().unwrap());
    }

    fn check_reader(&self, layer: LayerId, seen: &Seen) {
        let lineage = self.lineage(layer);
        let mut scanned = BTreeMap::new();
        for stretch in self.version.scan_all(&lineage).map(Result::unwrap) {
            scanned
                .extend((stretch.first.0..stretch.end().0).map(|block| (block, stretch.target_of(BlockIndex(block)))));
        }
        let targets = seen.iter().map(|(block, (_, target))| (*block, *target));
        let allocated: BTreeMap<_, _> = targets.filter(|(_, target)| *target != Target::Hole).collect();
        assert_eq!(scanned, allocated, "what {layer} scans");
        for (from, to) in [(0, 80), (30, 31), (0, 1500), (BLOCKS - 500, BLOCKS + 10)] {
            for piece in self.version.lookup(&lineage, BlockIndex(from)..BlockIndex(to)).unwrap() {
                for step in 0..piece.count {
                    let found = piece.target.unwrap_or(Target::Hole).advanced(step);
                    let expected = allocated.get(&(piece.first.0 + step)).copied().unwrap_or(Target::Hole);
                    assert_eq!(found, expected, "what {layer} has at {}", piece.first.0 + step);
                }
            }
        }
        for block in (0..70).chain((70..BLOCKS).step_by(97)) {
            let found = self.version.find(&lineage, BlockIndex(block)).unwrap().unwrap_or(Target::Hole);
            assert_eq!(found, allocated.get(&block).copied().unwrap_or(Target::Hole), "what {layer} has at {block}");
        }
    }

    fn check_visible(&self) {
        let visibility = self.tree.visibility();
        let mut expected = BTreeSet::new();
        for (block, (layer, target)) in self.seen.values().flatten() {
            if matches!(target, Target::Data(_)) {
                expected.insert((*block, visibility.canonical(*layer).unwrap(), *target));
            }
        }
        let (mut visible, mut visited) = (BTreeSet::new(), BTreeSet::new());
        let insert = |into: &mut BTreeSet<_>, stretch: &Stretch| {
            for block in stretch.first.0..stretch.end().0 {
                assert!(into.insert((block, stretch.layer, stretch.target_of(BlockIndex(block)))), "{stretch:?}");
            }
        };
        for stretch in self.version.scan_visible(&visibility) {
            insert(&mut visible, &stretch.unwrap());
        }
        for part in self.version.parts(3) {
            let visit = |stretch: &Stretch| {
                insert(&mut visited, stretch);
                Ok(())
            };
            self.version.pieces_visible_in(part, &visibility).visit(visit).unwrap();
        }
        assert_eq!((visible, visited), (expected.clone(), expected));
    }

    fn check_diff(&self, a: LayerId, b: LayerId) {
        let target = |seen: &Seen, block| seen.get(&block).map_or(Target::Hole, |(_, target)| *target);
        let differs = |block: &u64| target(&self.seen[&a], *block) != target(&self.seen[&b], *block);
        let expected: Vec<_> = (0..2 * BLOCKS).filter(differs).collect();
        let (a, b) = (self.lineage(a), self.lineage(b));
        let mut found = Vec::new();
        for range in self.version.diff(&a, &b, BlockIndex(0)..BlockIndex(u64::MAX)).unwrap().map(Result::unwrap) {
            found.extend(range.start.0..range.end.0);
        }
        assert_eq!(found, expected);
    }
}

/// Versions as stretches in the order of runs.
fn joined(versions: &Versions) -> Vec<Stretch> {
    let (mut joiner, mut joined) = (Joiner::default(), Vec::new());
    for (block, layers) in versions {
        for (layer, target) in layers.iter().rev() {
            joiner.push(crate::map::testing::version(FAMILY.0, layer.0, *block, 1, *target));
        }
    }
    joiner.finish();
    joined.extend(std::iter::from_fn(|| joiner.pop()));
    joined
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_reader_sees_its_own_past(steps in prop::collection::vec(step(), 1..120)) {
        let mut history = History::new();
        for step in &steps {
            history.apply(step);
        }
        history.flush();
        history.check();
        history.compact();
        history.check();
    }
}
