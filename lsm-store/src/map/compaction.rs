//! Keeps the number of runs that a lookup goes through small: plans which runs to merge, then merges them.
//!
//! Levelled (O'Neil et al.: The Log-Structured Merge-Tree, 1996; victim choice by least overlap as in RocksDB): level 0
//! goes into level 1 as a whole, a deeper level hands down the slice that overlaps the next level least. A plan is a
//! value; executing it again from scratch, after a crash or an error, is always right, because its output counts only
//! once the owner has committed the edit. `docs/decisions/2026-11-23-levelled-map.md` has the reasons and figures.

mod executor;

use std::ops::Range;

use super::Version;
use super::version::Level;
use crate::id::RunId;
pub use executor::{MergeContext, execute};

/// The shape that compaction keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Runs that make level 0 due.
    pub level0_runs: usize,
    /// Target of level 1 in bytes.
    pub level1_bytes: u64,
    /// How many times larger the target of each level is than that of the one above.
    pub fan_out: u64,
    /// Length of a run below level 0 in bytes, about.
    pub run_bytes: u64,
    /// Levels at most, level 0 included; the last has no target.
    pub levels_max: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self { level0_runs: 4, level1_bytes: 2 << 20, fan_out: 8, run_bytes: 2 << 20, levels_max: 8 }
    }
}

impl Policy {
    /// Target of a level below 0 in bytes.
    fn target_bytes(&self, level: usize) -> u64 {
        if level + 1 >= usize::from(self.levels_max) {
            return u64::MAX;
        }
        let steps = u32::try_from(level).unwrap_or(u32::MAX).saturating_sub(1);
        self.level1_bytes.saturating_mul(self.fan_out.saturating_pow(steps))
    }
}

/// What to do with the runs of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The run goes to the next level as it is.
    Move,
    /// The runs are merged into new ones.
    Merge {
        /// Nothing older lies below: holes need no entry, for what is absent reads as a hole.
        drop_holes: bool,
        /// Length at which a new run is begun, in bytes.
        cut_bytes: u64,
    },
}

/// One step of compaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompactionPlan {
    /// The level that gets smaller.
    pub from_level: u8,
    /// Its runs that take part, newest first or in order of keys.
    pub upper: Vec<RunId>,
    /// The runs of the next level that take part, in order of keys.
    pub lower: Vec<RunId>,
    /// What happens to them.
    pub action: Action,
}

/// The most urgent step, if any is due.
#[must_use]
pub fn plan(version: &Version, policy: &Policy) -> Option<CompactionPlan> {
    let score = |(number, level): (usize, &std::sync::Arc<Level>)| (urgency(number, level, policy), number);
    // Of equally urgent levels the upper one goes first: lookups pass through it more often.
    let (urgency, number) = version
        .levels()
        .iter()
        .enumerate()
        .map(score)
        .max_by_key(|(urgency, number)| (*urgency, std::cmp::Reverse(*number)))?;
    (urgency >= 1000).then(|| plan_level(version, number, policy))
}

/// The step that takes all of level 0 down, due or not; `None` if there is nothing in it.
#[must_use]
pub fn plan_level0(version: &Version) -> Option<CompactionPlan> {
    (version.level0_runs() > 0).then(|| plan_level(version, 0, &Policy::default()))
}

/// How full a level is, in thousandths.
fn urgency(number: usize, level: &Level, policy: &Policy) -> u64 {
    if number == 0 {
        return level.runs().len() as u64 * 1000 / policy.level0_runs.max(1) as u64;
    }
    level.bytes().saturating_mul(1000) / policy.target_bytes(number).max(1)
}

/// Bytes that compaction is behind: what is over the target of each level, and the runs of level 0 beyond those that
/// make it due. Back-pressure grows with it.
#[must_use]
pub fn debt(version: &Version, policy: &Policy) -> u64 {
    let over = |(number, level): (usize, &std::sync::Arc<Level>)| match number {
        0 => level.runs().iter().skip(policy.level0_runs).map(|run| run.meta().bytes).sum(),
        _ => level.bytes().saturating_sub(policy.target_bytes(number)),
    };
    version.levels().iter().enumerate().map(over).sum()
}

fn plan_level(version: &Version, number: usize, policy: &Policy) -> CompactionPlan {
    let level = &version.levels()[number];
    let none = Level::default();
    let next = version.levels().get(number + 1).map_or(&none, |next| next);
    let upper = if number == 0 { 0..level.runs().len() } else { cheapest_slice(level, next, policy) };
    let touched = overlap(level, &upper, next);
    let large = level.runs()[upper.start].meta().bytes >= policy.run_bytes / 2;
    let lower = if touched.is_empty() && upper.len() == 1 && large {
        touched
    } else {
        with_small_neighbours(next, touched, policy)
    };
    let bytes = bytes_of(level, &upper) + bytes_of(next, &lower);
    let ids = |level: &Level, range: &Range<usize>| level.runs()[range.clone()].iter().map(|run| run.id()).collect();
    let action = if upper.len() == 1 && lower.is_empty() {
        Action::Move
    } else {
        // Outputs of about the same length: a full run and a crumb would give the next merge two runs for one.
        let outputs = bytes.div_ceil(policy.run_bytes).max(1);
        Action::Merge { drop_holes: is_deepest(version, number, &upper, &lower), cut_bytes: bytes.div_ceil(outputs) }
    };
    CompactionPlan { from_level: number as u8, upper: ids(level, &upper), lower: ids(next, &lower), action }
}

fn bytes_of(level: &Level, range: &Range<usize>) -> u64 {
    level.runs()[range.clone()].iter().map(|run| run.meta().bytes).sum()
}

/// The runs of `next` that overlap a slice of `level`.
fn overlap(level: &Level, slice: &Range<usize>, next: &Level) -> Range<usize> {
    let metas = || level.runs()[slice.clone()].iter().map(|run| run.meta());
    let first = metas().map(|meta| meta.first).min().expect("a slice is not empty");
    let last = metas().map(|meta| meta.last).max().expect("a slice is not empty");
    next.overlapping(first, last)
}

/// The slice of about a run's length that overlaps least for its length.
fn cheapest_slice(level: &Level, next: &Level, policy: &Policy) -> Range<usize> {
    let count = level.runs().len();
    let slice_from = |start: usize| {
        let mut end = start + 1;
        let mut bytes = level.runs()[start].meta().bytes;
        while end < count && bytes + level.runs()[end].meta().bytes <= policy.run_bytes {
            bytes += level.runs()[end].meta().bytes;
            end += 1;
        }
        start..end
    };
    let cost = |slice: &Range<usize>| {
        let overlapped = bytes_of(next, &overlap(level, slice, next));
        overlapped.saturating_mul(1000) / bytes_of(level, slice).max(1)
    };
    (0..count).map(slice_from).min_by_key(cost).expect("a level that is due has runs")
}

/// Adds the runs on both sides if they are small, so that small runs do not pile up where nothing overlaps them.
fn with_small_neighbours(level: &Level, range: Range<usize>, policy: &Policy) -> Range<usize> {
    let small = |at: usize| level.runs()[at].meta().bytes < policy.run_bytes / 4;
    let start = range.start - usize::from(range.start > 0 && small(range.start - 1));
    start..range.end + usize::from(range.end < level.runs().len() && small(range.end))
}

/// True if no level below the output knows anything between its bounds.
fn is_deepest(version: &Version, number: usize, upper: &Range<usize>, lower: &Range<usize>) -> bool {
    let upper_runs = &version.levels()[number].runs()[upper.clone()];
    let lower_runs = version.levels().get(number + 1).map_or(&[][..], |next| &next.runs()[lower.clone()]);
    let metas = || upper_runs.iter().chain(lower_runs).map(|run| run.meta());
    let first = metas().map(|meta| meta.first).min().unwrap_or_default();
    let last = metas().map(|meta| meta.last).max().unwrap_or_default();
    version.levels().iter().skip(number + 2).all(|deeper| deeper.overlapping(first, last).is_empty())
}

#[cfg(test)]
mod tests;
