use std::cell::Cell;
use std::sync::Arc;

use super::{Action, CompactionPlan, MergeContext, Policy, debt, execute, plan};
use crate::device::Device;
use crate::error::Result;
use crate::id::{LayerId, RunId};
use crate::layers::{LayerTree, Visibility};
use crate::map::run::Section;
use crate::map::testing::{data, flush_run, lineage, memory_files, readers, section, stretch, version as of_layer};
use crate::map::{Edit, Key, Run, RunFiles, RunMeta, RunWriter, Stretch, Target, Version};

fn policy() -> Policy {
    Policy { level0_runs: 2, level1_bytes: 100_000, fan_out: 10, run_bytes: 40_000, levels_max: 4 }
}

/// A version of runs that are only said to exist: (level, id, bytes, first block, last block).
fn described(files: &Arc<RunFiles>, runs: &[(u8, u64, u64, u64, u64)]) -> Version {
    let meta = |&(level, id, bytes, first, last): &(u8, u64, u64, u64, u64)| RunMeta {
        id: RunId(id),
        level,
        bytes,
        entry_pages: 1,
        range_pages: 0,
        entries: 1,
        ranges: 0,
        blocks: 1,
        first: crate::map::testing::key(1, first),
        last: crate::map::testing::key(1, last),
        layer_min: LayerId(1),
        layer_max: LayerId(1),
    };
    Version::open(files, &runs.iter().map(meta).collect::<Vec<_>>()).unwrap()
}

fn ids(ids: &[u64]) -> Vec<RunId> {
    ids.iter().copied().map(RunId).collect()
}

#[test]
fn nothing_is_due_below_the_targets() {
    let files = memory_files().1;
    let version = described(&files, &[(0, 9, 1 << 30, 0, 100), (1, 1, 99_000, 0, 100)]);
    assert_eq!(plan(&version, &policy()), None);
    assert_eq!(debt(&version, &policy()), 0);
}

#[test]
fn level_0_goes_down_as_a_whole() {
    let files = memory_files().1;
    let version = described(
        &files,
        &[
            (0, 8, 10_000, 0, 50),
            (0, 9, 10_000, 60, 90),
            (1, 1, 40_000, 20, 40),
            (1, 2, 40_000, 91, 99),
            (2, 3, 4096, 0, 10),
        ],
    );
    let plan = plan(&version, &policy()).unwrap();
    let action = Action::Merge { drop_holes: false, cut_bytes: 30_000 };
    assert_eq!(plan, CompactionPlan { from_level: 0, upper: ids(&[9, 8]), lower: ids(&[1]), action });
}

#[test]
fn holes_go_when_nothing_lies_below() {
    let files = memory_files().1;
    let version = described(&files, &[(0, 8, 10_000, 11, 50), (0, 9, 10_000, 60, 90), (2, 3, 4096, 0, 10)]);
    let plan = plan(&version, &policy()).unwrap();
    assert_eq!(plan.action, Action::Merge { drop_holes: true, cut_bytes: 20_000 });
}

#[test]
fn the_slice_that_overlaps_least_goes_down() {
    let files = memory_files().1;
    let version = described(
        &files,
        &[
            (1, 1, 40_000, 0, 9),
            (1, 2, 40_000, 10, 19),
            (1, 3, 40_000, 20, 29),
            (2, 4, 40_000, 0, 5),
            (2, 5, 40_000, 6, 12),
            (2, 6, 40_000, 13, 30),
        ],
    );
    let plan = plan(&version, &policy()).unwrap();
    assert_eq!((plan.from_level, plan.upper, plan.lower), (1, ids(&[3]), ids(&[6])));
    assert_eq!(debt(&version, &policy()), 20_000);
}

#[test]
fn a_large_run_above_nothing_moves() {
    let files = memory_files().1;
    let version =
        described(&files, &[(1, 1, 60_000, 0, 9), (1, 2, 60_000, 10, 19), (2, 3, 4096, 20, 30), (2, 4, 40_000, 0, 9)]);
    let plan = plan(&version, &policy()).unwrap();
    assert_eq!(plan, CompactionPlan { from_level: 1, upper: ids(&[2]), lower: ids(&[]), action: Action::Move });
}

#[test]
fn small_runs_are_put_together() {
    let files = memory_files().1;
    let mut runs: Vec<_> = (0..12).map(|at| (1, at + 1, 9_000, at * 10, at * 10 + 9)).collect();
    runs.push((2, 90, 4096, 1000, 1010));
    let plan = plan(&described(&files, &runs), &policy()).unwrap();
    assert_eq!((plan.upper, plan.lower), (ids(&[1, 2, 3, 4]), ids(&[90])));
}

fn run_plan(plan: &CompactionPlan, version: &Version, files: &Arc<RunFiles>, visibility: &Visibility) -> Result<Edit> {
    let next = Cell::new(100);
    let mut next_run_id = || RunId(next.replace(next.get() + 1));
    execute(plan, version, &mut MergeContext { files, next_run_id: &mut next_run_id, visibility })
}

fn version_of(runs: impl IntoIterator<Item = Arc<Run>>) -> Version {
    runs.into_iter().fold(Version::default(), |version, run| version.apply(&Edit::flushed(run)))
}

fn everything(run: &Arc<Run>) -> (Vec<Stretch>, Vec<Stretch>) {
    (section(run, Section::Entries, None), section(run, Section::Ranges, None))
}

fn merge_all(version: &Version, drop_holes: bool, cut_bytes: u64) -> CompactionPlan {
    let upper = version.runs().map(|(_, run)| run.id()).collect();
    CompactionPlan { from_level: 0, upper, lower: Vec::new(), action: Action::Merge { drop_holes, cut_bytes } }
}

#[test]
fn ranges_stay_whole_and_hide_what_is_older() {
    let files = memory_files().1;
    let old = flush_run(&files, 1, &[stretch(1, 100, 10, data(1, 0)), stretch(1, 20_000, 1, data(1, 50))]);
    let range = stretch(1, 0, 10_000, Target::Hole);
    let middle = flush_run(&files, 2, &[range]);
    let newest = stretch(1, 105, 1, data(2, 0));
    let version = version_of([old, middle, flush_run(&files, 3, &[newest])]);
    let edit = run_plan(&merge_all(&version, false, 1 << 20), &version, &files, &readers(0..4)).unwrap();
    let [(1, merged)] = &edit.added[..] else { panic!("one run in level 1") };
    assert_eq!(everything(merged), (vec![newest, stretch(1, 20_000, 1, data(1, 50))], vec![range]));
    assert_eq!(edit.removed, ids(&[3, 2, 1]));
}

#[test]
fn holes_are_dropped_at_the_bottom_unless_zeros_would_shine_through() {
    let files = memory_files().1;
    let zeros = stretch(1, 0, 5000, Target::Zero);
    let old = flush_run(&files, 1, &[zeros]);
    let shielding = stretch(1, 10, 2, Target::Hole);
    let needless = stretch(1, 9000, 2, Target::Hole);
    let version = version_of([old, flush_run(&files, 2, &[shielding, needless])]);
    let edit = run_plan(&merge_all(&version, true, 1 << 20), &version, &files, &readers(0..4)).unwrap();
    assert_eq!(everything(&edit.added[0].1), (vec![shielding], vec![zeros]));
}

#[test]
fn a_merge_of_holes_alone_leaves_nothing() {
    let files = memory_files().1;
    let runs = [stretch(1, 0, 5000, Target::Hole), stretch(1, 9000, 2, Target::Hole)];
    let version = version_of([flush_run(&files, 1, &runs)]);
    let edit = run_plan(&merge_all(&version, true, 1 << 20), &version, &files, &readers(0..4)).unwrap();
    assert!(edit.added.is_empty());
    assert_eq!(version.apply(&edit).depth(), 0);
}

#[test]
fn entries_of_dead_layers_go() {
    let files = memory_files().1;
    let kept = stretch(2, 0, 1, data(1, 0));
    let version =
        version_of([flush_run(&files, 1, &[stretch(1, 0, 5000, Target::Zero), kept, stretch(3, 0, 1, data(2, 0))])]);
    let edit = run_plan(&merge_all(&version, false, 1 << 20), &version, &files, &readers([2])).unwrap();
    assert_eq!(everything(&edit.added[0].1), (vec![kept], vec![]));
}

/// A cut must not go through an entry, and must divide a range that lies across it.
#[test]
fn cut_runs_do_not_overlap() {
    let files = memory_files().1;
    let entries =
        |offset| (0..6000u64).map(move |at| stretch(1, at * 37 + offset, 3, data((at * 7919 % 5000) as u32, 0)));
    let ranges: Vec<_> = (0..40).map(|at| stretch(1, at * 5551, 5003, Target::Zero)).collect();
    let upper = flush_run(&files, 1, &entries(0).collect::<Vec<_>>());
    let mut writer = RunWriter::create(&files, RunId(2), 0, true).unwrap();
    entries(5).for_each(|entry| writer.push_entry(entry).unwrap());
    ranges.iter().for_each(|range| writer.push_range(*range).unwrap());
    let version = version_of([upper, writer.finish().unwrap()]);
    let edit = run_plan(&merge_all(&version, false, 10_000), &version, &files, &readers(0..4)).unwrap();
    assert!(edit.added.len() > 3, "{} runs", edit.added.len());
    let merged = version.apply(&edit);
    let pieces: Vec<_> = version.scan_all(&lineage(1)).collect::<Result<_>>().unwrap();
    assert_eq!(merged.scan_all(&lineage(1)).collect::<Result<Vec<_>>>().unwrap(), pieces);
    for (_, run) in merged.runs() {
        assert_eq!(run.verify(), []);
    }
}

/// Every range begins inside an entry, so that half of the places for a cut are inside one.
#[test]
fn a_cut_does_not_go_through_an_entry() {
    let files = memory_files().1;
    let mut writer = RunWriter::create(&files, RunId(1), 0, true).unwrap();
    for at in 0..6000 {
        writer.push_entry(stretch(1, at * 10_000, 9000, data((at * 7919 % 5000) as u32, 0))).unwrap();
        writer.push_range(stretch(1, at * 10_000 + 4500, 5000 + at % 300, Target::Zero)).unwrap();
    }
    let version = version_of([writer.finish().unwrap()]);
    // Whether an entry or a range makes a run long enough depends on the length.
    for cut_bytes in (8000..16_000).step_by(500) {
        let edit = run_plan(&merge_all(&version, false, cut_bytes), &version, &files, &readers(0..4)).unwrap();
        assert!(edit.added.len() > 1, "{} runs", edit.added.len());
        let merged = version.apply(&edit);
        assert!(merged.scan_all(&lineage(1)).map(Result::unwrap).eq(version.scan_all(&lineage(1)).map(Result::unwrap)));
        edit.added.iter().for_each(|(_, run)| files.delete(run.id()).unwrap());
    }
}

#[test]
fn a_failed_merge_leaves_no_files() {
    let (device, files) = memory_files();
    let blocks =
        |shift| (0..30_000u64).map(|at| stretch(1, at * 2 + shift, 1, data((at % 977) as u32, 3))).collect::<Vec<_>>();
    let version = version_of([flush_run(&files, 1, &blocks(0)), flush_run(&files, 2, &blocks(1))]);
    let damaged = device.file(&crate::map::run::path(RunId(1)));
    let middle = damaged.bytes.read().len() / 8192 * 4096;
    damaged.bytes.write()[middle] ^= 1;
    let plan = merge_all(&version, false, 20_000);
    assert!(run_plan(&plan, &version, &files, &readers(0..4)).is_err());
    assert_eq!(device.list("runs").unwrap().len(), 2);
    damaged.bytes.write()[middle] ^= 1;
    let edit = run_plan(&plan, &version, &files, &readers(0..4)).unwrap();
    let first: Key = edit.added[0].1.meta().first;
    assert_eq!(first, version.runs().next().unwrap().1.meta().first.min(crate::map::testing::key(1, 0)));
}

/// Layers 1 to `layers`, each on top of the one before; the last and the `snapshots` have readers.
fn history(layers: u64, snapshots: &[u64]) -> Visibility {
    let mut tree = LayerTree::default();
    for id in 1..=layers {
        tree.add(LayerId(id), (id > 1).then(|| LayerId(id - 1)));
    }
    snapshots.iter().chain([&layers]).for_each(|id| tree.add_root(LayerId(*id)));
    tree.visibility()
}

#[test]
fn a_merge_keeps_what_snapshots_see_and_no_more() {
    let files = memory_files().1;
    let runs = (1..=4).map(|id| flush_run(&files, id, &[of_layer(1, id, 5, 1, data(id as u32, 0))]));
    let version = version_of(runs);
    let merged = |snapshots: &[u64]| {
        let edit = run_plan(&merge_all(&version, true, 1 << 20), &version, &files, &history(4, snapshots)).unwrap();
        edit.added.iter().for_each(|(_, run)| files.delete(run.id()).unwrap());
        edit.added.iter().map(|(_, run)| (run.meta().layer_min.0, run.meta().layer_max.0, run.meta().entries)).next()
    };
    assert_eq!(merged(&[]), Some((4, 4, 1)));
    assert_eq!(merged(&[2]), Some((2, 4, 2)));
    assert_eq!(merged(&[1, 2, 3]), Some((1, 4, 4)));
}

#[test]
fn a_hole_stays_as_long_as_a_snapshot_has_something_below_it() {
    let files = memory_files().1;
    let old = of_layer(1, 1, 0, 2, data(1, 0));
    let holes = [of_layer(1, 2, 1, 1, Target::Hole), of_layer(1, 2, 9, 1, Target::Hole)];
    let version = version_of([flush_run(&files, 1, &[old]), flush_run(&files, 2, &holes)]);
    let plan = merge_all(&version, true, 1 << 20);
    let edit = run_plan(&plan, &version, &files, &history(2, &[1])).unwrap();
    let kept = vec![of_layer(1, 1, 0, 1, data(1, 0)), holes[0], of_layer(1, 1, 1, 1, data(1, 1))];
    assert_eq!(everything(&edit.added[0].1), (kept, vec![]));
    files.delete(edit.added[0].1.id()).unwrap();
    let edit = run_plan(&plan, &version, &files, &history(2, &[])).unwrap();
    assert_eq!(everything(&edit.added[0].1), (vec![of_layer(1, 2, 0, 1, data(1, 0))], vec![]));
}

/// Carries out what is due until nothing is; returns the version then.
fn compacted(mut version: Version, files: &Arc<RunFiles>, next: &Cell<u64>, visibility: &Visibility) -> Version {
    while let Some(due) = plan(&version, &Policy::default()) {
        let mut next_run_id = || RunId(next.replace(next.get() + 1));
        let context = &mut MergeContext { files, next_run_id: &mut next_run_id, visibility };
        let edit = execute(&due, &version, context).unwrap();
        version = version.apply(&edit);
        let kept = |id: &RunId| edit.added.iter().any(|(_, run)| run.id() == *id);
        edit.removed.iter().filter(|id| !kept(id)).for_each(|id| files.delete(*id).unwrap());
    }
    version
}

/// What the runs of a version may be at most: level 0 below what makes it due, and of each deeper level what its bytes
/// need, as runs of a quarter of the usual length or longer; a small one may lie between two of these.
fn assert_few_runs(version: &Version) {
    let policy = Policy::default();
    let runs: Vec<_> = version.runs().map(|(level, run)| (level, run.meta().bytes)).collect();
    assert!(version.level0_runs() < policy.level0_runs, "{runs:?}");
    for level in 1..version.depth() as u8 {
        let here: Vec<_> = runs.iter().filter(|(of, _)| *of == level).map(|(_, bytes)| *bytes).collect();
        let most = 2 + 2 * here.iter().sum::<u64>() / (policy.run_bytes / 4);
        assert!(here.len() as u64 <= most, "level {level}: {} runs of {here:?}", here.len());
    }
}

const VOLUMES: u64 = 3000;

/// Volumes that are written at once where that is not all of them.
const IN_TURN: u64 = 12;

/// A few blocks of a volume, in a segment that changes with `round`.
fn blocks_of(volume: u64, round: u64, count: u64) -> impl Iterator<Item = Stretch> {
    let location = move |at: u64| data((volume * 31 + round * 7919 + at * 13) as u32, (at * 3) as u16);
    (0..count).map(move |at| stretch(volume, (at * 97 + round * 5) % 4096 + at * 4096, 1, location(at)))
}

#[test]
fn thousands_of_volumes_that_are_written_together_have_few_runs() {
    let files = memory_files().1;
    let (visibility, next) = (readers(1..=VOLUMES), Cell::new(1));
    let mut version = Version::default();
    for round in 0..16 {
        let stretches: Vec<_> = (1..=VOLUMES).flat_map(|volume| blocks_of(volume, round, 4)).collect();
        let run = flush_run(&files, next.replace(next.get() + 1), &stretches);
        version = compacted(version.apply(&Edit::flushed(run)), &files, &next, &visibility);
        assert_few_runs(&version);
    }
    assert!(version.metas().len() < 40, "{} runs", version.metas().len());
}

/// One after the other, so that no flush overlaps an earlier one: runs could pile up without being merged.
#[test]
fn thousands_of_volumes_that_are_written_in_turn_have_few_runs() {
    let files = memory_files().1;
    let (visibility, next) = (readers(1..=VOLUMES), Cell::new(1));
    let mut version = Version::default();
    for round in 0..2 {
        for turn in 0..VOLUMES / IN_TURN {
            // Up, and then here and there.
            let group = if round == 0 { turn } else { turn * 101 % (VOLUMES / IN_TURN) };
            let volumes = (group * IN_TURN..(group + 1) * IN_TURN).map(|volume| volume + 1);
            let stretches: Vec<_> = volumes.flat_map(|volume| blocks_of(volume, round, 16)).collect();
            let run = flush_run(&files, next.replace(next.get() + 1), &stretches);
            version = compacted(version.apply(&Edit::flushed(run)), &files, &next, &visibility);
            assert_few_runs(&version);
        }
    }
    assert!(version.metas().len() < 40, "{} runs", version.metas().len());
}
