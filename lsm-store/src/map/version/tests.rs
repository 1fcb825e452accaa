use std::sync::Arc;

use proptest::prelude::*;

use super::{Edit, Graveyard, Part, Version};
use crate::id::{BlockIndex, RunId};
use crate::map::compaction::{MergeContext, Policy, execute, plan};
use crate::map::join::Joiner;
use crate::map::testing::{Model, data, files_on, flush_run, key, lineage, memory_files, readers, stretch};
use crate::map::{Key, RunFiles, RunWriter, Stretch, Target};

mod layered;

/// Blocks of the two layers that the tests write to.
const BLOCKS: u64 = 20_000;

/// What one flush job writes: entries in order, and ranges that its entries may overlap.
#[derive(Clone, Debug)]
struct Flush {
    entries: Vec<Stretch>,
    ranges: Vec<Stretch>,
}

fn flush() -> impl Strategy<Value = Flush> {
    let target = prop_oneof![
        5 => (0..50u32, 0..60_000u16).prop_map(|(segment, slot)| data(segment, slot)),
        1 => Just(Target::Zero),
        1 => Just(Target::Hole),
    ];
    let width = prop_oneof![4 => Just(1u64), 2 => 1..20u64, 1 => 1..1000u64];
    let entry = (1..3u64, 0..BLOCKS, width, target);
    let range_target = prop_oneof![Just(Target::Zero), Just(Target::Hole)];
    let range = (1..3u64, 0..BLOCKS, 1..9000u64, range_target);
    (prop::collection::vec(entry, 0..60), prop::collection::vec(range, 0..3))
        .prop_map(|(entries, ranges)| Flush { entries: settle(entries), ranges: settle(ranges) })
}

/// Stretches in order without those that overlap one before them.
fn settle(stretches: Vec<(u64, u64, u64, Target)>) -> Vec<Stretch> {
    let mut stretches: Vec<_> =
        stretches.into_iter().map(|(layer, first, count, target)| stretch(layer, first, count, target)).collect();
    stretches.sort_by_key(Stretch::key);
    let mut last = None;
    stretches.retain(|stretch| {
        let free = last.is_none_or(|last: Key| last < stretch.key());
        if free {
            last = Some(stretch.last_key());
        }
        free
    });
    stretches
}

/// A map and what it should say.
struct Tester {
    files: Arc<RunFiles>,
    version: Version,
    model: Model,
    next_id: u64,
    policy: Policy,
}

impl Tester {
    fn new(files: Arc<RunFiles>) -> Self {
        // Small enough that a few hundred entries reach level 3.
        let policy = Policy { level0_runs: 2, level1_bytes: 30_000, fan_out: 2, run_bytes: 9_000, levels_max: 8 };
        Self { files, version: Version::default(), model: Model::default(), next_id: 1, policy }
    }

    fn flush(&mut self, flush: &Flush) {
        if flush.entries.is_empty() && flush.ranges.is_empty() {
            return;
        }
        let mut writer = RunWriter::create(&self.files, RunId(self.next_id), 0, true).unwrap();
        self.next_id += 1;
        flush.ranges.iter().for_each(|range| writer.push_range(*range).unwrap());
        flush.entries.iter().for_each(|entry| writer.push_entry(*entry).unwrap());
        flush.ranges.iter().chain(&flush.entries).for_each(|stretch| self.model.write(stretch));
        self.version = self.version.apply(&Edit::flushed(writer.finish().unwrap()));
    }

    fn compact(&mut self) {
        while let Some(plan) = plan(&self.version, &self.policy) {
            let mut next_run_id = || {
                self.next_id += 1;
                RunId(self.next_id - 1)
            };
            let mut context =
                MergeContext { files: &self.files, next_run_id: &mut next_run_id, visibility: &readers(0..4) };
            let edit = execute(&plan, &self.version, &mut context).unwrap();
            self.version = self.version.apply(&edit);
        }
    }

    /// Compares range lookups, block lookups and a scan with the model.
    fn check(&self, ranges: &[(u64, u64, u64)]) {
        for (layer, from, count) in ranges {
            self.check_range(*layer, *from, from + count);
        }
        let scans = (0..4).flat_map(|layer| self.version.scan_all(&lineage(layer)));
        let scanned: Vec<_> = scans.collect::<Result<_, _>>().unwrap();
        let mut allocated = self.model.clone();
        allocated.blocks.retain(|_, target| *target != Target::Hole);
        assert_eq!(scanned, allocated.stretches());
        let visible: Vec<_> = self.version.scan_visible(&readers([0, 1, 2])).collect::<Result<_, _>>().unwrap();
        allocated.blocks.retain(|_, target| matches!(target, Target::Data(_)));
        assert_eq!(visible, allocated.stretches());
        self.check_parts(vec![Part::default()], &visible);
        self.check_parts(self.version.parts(3), &visible);
        for (layer, from, count) in ranges {
            let [first, second] =
                [*from, from + count].map(|block| Some(stretch(*layer, block, 1, Target::Zero).key()));
            let bounds = [(None, first), (first, second), (second, None)];
            self.check_parts(bounds.map(|(from, to)| Part { from, to }).to_vec(), &visible);
        }
        for (_, run) in self.version.runs() {
            assert_eq!(run.verify(), []);
        }
    }

    /// What is visible in the parts, which follow each other, is what is visible.
    fn check_parts(&self, parts: Vec<Part>, visible: &[Stretch]) {
        let mut visited = Joiner::default();
        for part in parts {
            let push = |stretch: &Stretch| {
                visited.push(*stretch);
                Ok(())
            };
            self.version.pieces_visible_in(part, &readers([0, 1, 2])).visit(push).unwrap();
        }
        visited.finish();
        assert_eq!(std::iter::from_fn(|| visited.pop()).collect::<Vec<_>>(), visible);
    }

    fn check_range(&self, layer: u64, from: u64, to: u64) {
        let mut next = from;
        for piece in self.version.lookup(&lineage(layer), BlockIndex(from)..BlockIndex(to)).unwrap() {
            assert_eq!(piece.first.0, next, "the pieces cover the range");
            next += piece.count;
            for block in (piece.first.0..next).map(BlockIndex) {
                let found =
                    piece.target.map(|target| stretch(layer, piece.first.0, piece.count, target).target_of(block));
                self.check_target(key(layer, block.0), found);
            }
        }
        assert_eq!(next, to, "the pieces cover the range");
        for block in (from..to).step_by(7).map(BlockIndex) {
            self.check_target(key(layer, block.0), self.version.find(&lineage(layer), block).unwrap());
        }
    }

    fn check_target(&self, key: Key, found: Option<Target>) {
        let expected = self.model.blocks.get(&key).copied();
        // A hole at the bottom is dropped: absent reads as a hole.
        let same = found == expected || found.is_none() && expected == Some(Target::Hole);
        assert!(same, "{key:?} is {found:?} and should be {expected:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_map_says_what_was_written_last(
        flushes in prop::collection::vec((flush(), any::<bool>()), 1..14),
        ranges in prop::collection::vec((0..4u64, 0..BLOCKS, 0..700u64), 1..12),
    ) {
        let (device, files) = memory_files();
        let mut tester = Tester::new(files);
        for (flush, compacts) in &flushes {
            tester.flush(flush);
            if *compacts {
                tester.compact();
            }
        }
        tester.check(&ranges);
        tester.compact();
        tester.check(&ranges);
        let files = files_on(device);
        tester.version = Version::open(&files, &tester.version.metas()).unwrap();
        tester.check(&ranges);
    }

    #[test]
    fn a_scan_of_a_part_is_that_part(flushes in prop::collection::vec(flush(), 1..5), from in 0..BLOCKS, len in 0..9000u64) {
        let mut tester = Tester::new(memory_files().1);
        flushes.iter().for_each(|flush| tester.flush(flush));
        tester.compact();
        let scanned: Vec<_> =
            tester.version.scan(&lineage(1), BlockIndex(from), Some(BlockIndex(from + len))).collect::<Result<_, _>>().unwrap();
        let mut part = tester.model.clone();
        part.blocks.retain(|at, target| *at >= key(1, from) && *at < key(1, from + len) && *target != Target::Hole);
        prop_assert_eq!(scanned, part.stretches());
    }
}

#[test]
fn nothing_cached_is_told_from_nothing_there() {
    let (device, files) = memory_files();
    let run = flush_run(&files, 1, &[stretch(1, 5, 3, data(2, 0))]);
    let version = Version::open(&files_on(device), &[*run.meta()]).unwrap();
    assert_eq!(version.try_find(&lineage(1), BlockIndex(6)).unwrap(), None);
    assert_eq!(version.try_lookup(&lineage(1), BlockIndex(0)..BlockIndex(9)).unwrap(), None);
    assert_eq!(version.find(&lineage(1), BlockIndex(6)).unwrap(), Some(data(2, 1)));
    assert_eq!(version.try_find(&lineage(1), BlockIndex(6)).unwrap(), Some(Some(data(2, 1))));
    assert_eq!(version.try_find(&lineage(1), BlockIndex(60)).unwrap(), Some(None));
}

#[test]
fn replaced_runs_stay_until_their_readers_are_done() {
    let files = memory_files().1;
    let run = flush_run(&files, 1, &[stretch(1, 5, 3, data(2, 0))]);
    let old = Version::default().apply(&Edit::flushed(run));
    let edit = Edit { removed: vec![RunId(1)], added: Vec::new() };
    let mut graveyard = Graveyard::default();
    let new = old.apply(&edit);
    graveyard.bury(&old, &edit);
    assert_eq!(graveyard.take_unread(), []);
    let scan = old.scan_all(&lineage(1));
    drop(old);
    assert_eq!(graveyard.take_unread(), [], "the scan still reads it");
    drop(scan);
    assert_eq!(graveyard.take_unread(), [RunId(1)]);
    assert!(graveyard.is_empty() && new.depth() == 0);
    files.delete(RunId(1)).unwrap();
    files.delete(RunId(1)).unwrap();
}

#[test]
fn filters_are_built_once_they_are_earned() {
    let (device, files) = memory_files();
    let upper = flush_run(&files, 1, &[stretch(1, 5, 1, data(2, 0)), stretch(1, 500, 1, data(2, 1))]);
    let lower = flush_run(&files, 2, &[stretch(1, 0, 1000, data(3, 0))]);
    let files = files_on(device);
    let metas = [*upper.meta(), crate::map::RunMeta { level: 1, ..*lower.meta() }];
    let version = Version::open(&files, &metas).unwrap();
    assert_eq!(version.build_earned_filters().unwrap(), 0);
    (6..20).for_each(|block| assert!(version.find(&lineage(1), BlockIndex(block)).unwrap().is_some()));
    assert_eq!(version.build_earned_filters().unwrap(), 1, "the deepest level needs none");
    assert!(files.filter_bytes() > 0);
    assert_eq!(version.find(&lineage(1), BlockIndex(5)).unwrap(), Some(data(2, 0)));
    assert_eq!(version.build_earned_filters().unwrap(), 0);
}

#[test]
fn a_manifest_with_overlapping_runs_is_refused() {
    let files = memory_files().1;
    let runs = [1, 2].map(|id| flush_run(&files, id, &[stretch(1, 5, 3, data(2, 0))]));
    let metas = runs.map(|run| crate::map::RunMeta { level: 1, ..*run.meta() });
    assert!(Version::open(&files, &metas).is_err());
}
