use proptest::prelude::*;

use super::*;
use crate::id::{LayerId, SegmentId};
use crate::layers::{LayerTree, Visibility};
use crate::map::testing::{data, flush_run, memory_files, ordered_versions, section, stretch, version};
use crate::map::{Edit, Joiner, Key, MergeContext, Policy, RunWriter, Version, execute, plan};
use crate::rng::SeededRng;

const LEVEL: u8 = 1;

/// Where a function says that blocks have gone.
struct By<F>(F);

impl<F: Fn(Location) -> Option<Location>> Moves for By<F> {
    fn concerns(&self, segment: SegmentId) -> bool {
        segment.0 < 3
    }

    fn moved(&self, location: Location) -> Option<Location> {
        (self.0)(location)
    }
}

/// Of segment 1 even slots move to segment 9, odd ones to 10, at half their number; every fifth stays.
fn moved(location: Location) -> Option<Location> {
    let Location { segment, slot: Slot(slot) } = location;
    let to = Location { segment: SegmentId(9 + u32::from(slot % 2)), slot: Slot(slot / 2) };
    (segment.0 == 1 && slot % 5 != 1).then_some(to)
}

fn after(target: Target) -> Target {
    match target {
        Target::Data(location) => Target::Data(moved(location).unwrap_or(location)),
        other => other,
    }
}

fn rewritten(entries: &[Stretch]) -> Vec<Stretch> {
    let (_, files) = memory_files();
    let mut writer = RunWriter::create(&files, RunId(1), LEVEL, true).unwrap();
    entries.iter().for_each(|entry| writer.push_entry(*entry).unwrap());
    let run = writer.finish().unwrap();
    let successor = Successor { id: RunId(2), level: LEVEL, with_filter: true };
    let rewritten = rewrite(&run, successor, &files, &By(moved)).unwrap();
    let bounds = |run: &Run| (run.meta().first, run.meta().last, run.meta().layer_min, run.meta().layer_max);
    assert_eq!(bounds(&rewritten), bounds(&run));
    assert!(rewritten.verify().is_empty());
    section(&rewritten, Section::Entries, None)
}

/// What every block of every version refers to.
fn blocks(stretches: &[Stretch]) -> Vec<(Key, LayerId, Target)> {
    let block = |stretch: &Stretch, step| {
        let at = BlockIndex(stretch.first.0 + step);
        (Key { family: stretch.family, block: at }, stretch.layer, stretch.target_of(at))
    };
    let mut all: Vec<_> =
        stretches.iter().flat_map(|stretch| (0..stretch.count).map(move |step| block(stretch, step))).collect();
    all.sort_unstable();
    all
}

#[test]
fn all_versions_are_cut_where_one_is() {
    let entries = [version(1, 5, 10, 5, data(1, 2)), version(1, 3, 10, 5, data(3, 0))];
    let places = [(10, data(9, 1)), (11, data(10, 1)), (12, data(9, 2)), (13, data(10, 2)), (14, data(1, 6))];
    let cut = |((first, target), slot): (&(u64, Target), u16)| {
        [version(1, 5, *first, 1, *target), version(1, 3, *first, 1, data(3, slot))]
    };
    assert_eq!(rewritten(&entries), places.iter().zip(0..).flat_map(cut).collect::<Vec<_>>());
}

#[test]
fn what_has_moved_together_is_one_stretch() {
    let entries = [stretch(1, 10, 1, data(1, 2)), stretch(1, 11, 1, data(1, 4)), stretch(1, 12, 9, Target::Zero)];
    assert_eq!(rewritten(&entries), [stretch(1, 10, 2, data(9, 1)), entries[2]]);
}

#[test]
fn ranges_stay() {
    let (_, files) = memory_files();
    let entries = [stretch(1, 0, 1 << 20, Target::Hole), stretch(1, 1 << 21, 3, data(1, 2))];
    let run = flush_run(&files, 1, &entries);
    let successor = Successor { id: RunId(2), level: LEVEL, with_filter: false };
    let rewritten = rewrite(&run, successor, &files, &By(moved)).unwrap();
    assert_eq!(section(&rewritten, Section::Ranges, None), entries[..1]);
    assert_eq!(rewritten.meta().entries, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_block_of_every_version_has_its_new_place(stretches in ordered_versions(3, 40)) {
        let mut joiner = Joiner::default();
        stretches.iter().for_each(|stretch| joiner.push(*stretch));
        joiner.finish();
        let entries: Vec<_> = std::iter::from_fn(|| joiner.pop()).collect();
        prop_assume!(!entries.is_empty());
        let mut expected = blocks(&entries);
        expected.iter_mut().for_each(|(.., target)| *target = after(*target));
        expected.sort_unstable();
        prop_assert_eq!(blocks(&rewritten(&entries)), expected);
    }
}

/// Layers 1 to 6 on top of one another, and 7 on top of 3; 2, 3, 4 are snapshots, 6 and 7 heads.
fn family() -> Visibility {
    let mut tree = LayerTree::default();
    (1..=6).for_each(|id| tree.add(LayerId(id), (id > 1).then(|| LayerId(id - 1))));
    tree.add(LayerId(7), Some(LayerId(3)));
    [2, 3, 4, 6, 7].map(LayerId).into_iter().for_each(|root| tree.add_root(root));
    tree.visibility()
}

/// Merges what is due; the ids of new runs go on from `next`.
fn merge_due(version: &mut Version, files: &Arc<RunFiles>, visibility: &Visibility, next: &mut u64) {
    let policy = Policy { level0_runs: 2, level1_bytes: 50_000, fan_out: 3, run_bytes: 30_000, levels_max: 5 };
    while let Some(plan) = plan(version, &policy) {
        let mut next_run_id = || {
            *next += 1;
            RunId(*next)
        };
        let mut context = MergeContext { files, next_run_id: &mut next_run_id, visibility };
        let edit = execute(&plan, version, &mut context).unwrap();
        *version = version.apply(&edit);
    }
}

/// Some blocks of a layer, written anew.
fn flush(files: &Arc<RunFiles>, rng: &SeededRng, id: u64, layer: u64) -> Edit {
    let mut blocks: Vec<_> = (0..3000).map(|_| rng.below(30_000)).collect();
    blocks.sort_unstable();
    blocks.dedup();
    let entry = |block| match rng.below(9) {
        0 => version(1, layer, block, 1, Target::Hole),
        _ => version(1, layer, block, 1, data(rng.below(6) as u32, rng.below(60_000) as u16)),
    };
    Edit::flushed(flush_run(files, id, &blocks.into_iter().map(entry).collect::<Vec<_>>()))
}

fn seen(version: &Version, visibility: &Visibility) -> Vec<(Key, LayerId, Target)> {
    blocks(&version.scan_visible(visibility).collect::<Result<Vec<_>>>().unwrap())
}

/// A rewritten run stands where the old one stood: at any depth every root sees the same, and goes on to after later merges.
#[test]
fn rewritten_runs_of_all_levels_leave_what_every_root_sees() {
    let (_, files) = memory_files();
    let (visibility, rng) = (family(), SeededRng::new(5));
    let (mut map, mut next) = (Version::default(), 0);
    let layers = [1, 1, 2, 2, 3, 3, 4, 7, 4, 7, 5, 5, 6, 7, 6, 7, 6, 6, 6, 7];
    for layer in layers {
        next += 1;
        map = map.apply(&flush(&files, &rng, next, layer));
        merge_due(&mut map, &files, &visibility, &mut next);
    }
    assert!(map.depth() > 3, "{} levels", map.depth());
    let before = seen(&map, &visibility);
    let names: std::collections::BTreeSet<_> = before.iter().map(|(.., target)| *target).collect();
    // As the collector has it: what is seen moves, what is not keeps its place.
    let moved = |location: Location| {
        let to = Location { segment: SegmentId(100 + location.segment.0 % 2), slot: location.slot };
        (location.segment.0 < 3 && names.contains(&Target::Data(location))).then_some(to)
    };
    let mut edit = Edit::default();
    for (level, run) in map.runs().filter(|(level, _)| *level > 0) {
        next += 1;
        let successor = Successor { id: RunId(next), level, with_filter: level == 1 };
        edit.removed.push(run.id());
        edit.added.push((level, rewrite(run, successor, &files, &By(moved)).unwrap()));
    }
    // Level 0 is not rewritten: it is merged down before, or names nothing that moves.
    assert_eq!(map.level0_runs(), 0);
    map = map.apply(&edit);
    let after = |target: Target| match target {
        Target::Data(location) => Target::Data(moved(location).unwrap_or(location)),
        other => other,
    };
    let mut expected: Vec<_> = before.iter().map(|(key, layer, target)| (*key, *layer, after(*target))).collect();
    expected.sort_unstable();
    assert!(expected.iter().all(|(.., target)| !matches!(target, Target::Data(at) if at.segment.0 < 3)));
    assert!(seen(&map, &visibility) == expected);
    for run in [6, 7, 6, 7, 6] {
        next += 1;
        let newer = flush(&files, &rng, next, run);
        let newest: std::collections::BTreeMap<_, _> =
            section(&newer.added[0].1, Section::Entries, None).into_iter().map(|entry| (entry.key(), entry)).collect();
        map = map.apply(&newer);
        expected.retain(|(key, layer, _)| layer.0 != run || !newest.contains_key(key));
        expected.extend(newest.values().map(|entry| (entry.key(), entry.layer, entry.target)));
        merge_due(&mut map, &files, &visibility, &mut next);
    }
    expected.retain(|(.., target)| matches!(target, Target::Data(_)));
    expected.sort_unstable();
    let sees: std::collections::BTreeSet<_> = seen(&map, &visibility).into_iter().collect();
    // What newer blocks of the heads hide of older layers is not in the model, so it may be less, and never anything else.
    assert!(sees.iter().all(|block| expected.binary_search(block).is_ok()));
    assert!(expected.iter().filter(|(_, layer, _)| layer.0 >= 6).all(|block| sees.contains(block)));
}
