//! Lookups: what a version knows of a block or of a range of blocks.

use std::ops::Range;

use super::Version;
use crate::error::{Error, Result};
use crate::id::BlockIndex;
use crate::layers::Lineage;
use crate::map::run::{Patience, Section, Stop};
use crate::map::{Key, Run, Stretch, Target};

/// Ranges of at most this many blocks ask the filters: beyond, that costs more than it saves.
const FILTERED_BLOCKS_MAX: u64 = 8;

/// What the map knows of adjacent blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// The first block.
    pub first: BlockIndex,
    /// How many, at least 1.
    pub count: u64,
    /// Where the first is; for data the slot grows with the block. `None`: no layer of the lineage wrote them.
    pub target: Option<Target>,
}

impl Version {
    /// What the map knows of one block as a lineage sees it; `None` if none of its layers wrote it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Io`]: the block cannot be read, and must not be taken for a hole.
    pub fn find(&self, lineage: &Lineage, block: BlockIndex) -> Result<Option<Target>> {
        waited(self.find_block(lineage, block, Patience::Wait))
    }

    /// As [`Version::find`], but `None` instead of waiting for the device: ask again from a thread that may wait.
    ///
    /// # Errors
    /// As [`Version::find`].
    pub fn try_find(&self, lineage: &Lineage, block: BlockIndex) -> Result<Option<Option<Target>>> {
        unwaited(self.find_block(lineage, block, Patience::CachedOnly))
    }

    /// What the map knows of a range of blocks as a lineage sees it: pieces in order that cover all of it, neighbours not
    /// joined.
    ///
    /// # Errors
    /// As [`Version::find`].
    pub fn lookup(&self, lineage: &Lineage, blocks: Range<BlockIndex>) -> Result<Vec<Resolved>> {
        waited(self.resolve(lineage, blocks, Patience::Wait))
    }

    /// As [`Version::lookup`], but `None` instead of waiting for the device.
    ///
    /// # Errors
    /// As [`Version::find`].
    pub fn try_lookup(&self, lineage: &Lineage, blocks: Range<BlockIndex>) -> Result<Option<Vec<Resolved>>> {
        unwaited(self.resolve(lineage, blocks, Patience::CachedOnly))
    }

    fn find_block(&self, lineage: &Lineage, block: BlockIndex, patience: Patience) -> Result<Option<Target>, Stop> {
        let key = Key { family: lineage.family(), block };
        for (number, level) in self.levels.iter().enumerate() {
            let candidates = if number == 0 { 0..level.runs.len() } else { level.overlapping(key, key) };
            for (run, bounds) in level.runs[candidates.clone()].iter().zip(&level.bounds[candidates]) {
                if bounds.0 <= key
                    && key <= bounds.1
                    && let Some(stretch) = find_in_run(run, lineage, key, patience)?
                {
                    return Ok(Some(stretch.target_of(key.block)));
                }
            }
        }
        Ok(None)
    }

    fn resolve(&self, lineage: &Lineage, blocks: Range<BlockIndex>, patience: Patience) -> Result<Vec<Resolved>, Stop> {
        let mut resolver = Resolver::new(lineage, blocks.clone(), patience);
        let key = |block| Key { family: lineage.family(), block };
        let (first, last) = (key(blocks.start), key(BlockIndex(blocks.end.0.saturating_sub(1))));
        for (number, level) in self.levels.iter().enumerate() {
            let candidates = if number == 0 { 0..level.runs.len() } else { level.overlapping(first, last) };
            for run in &level.runs[candidates] {
                if resolver.gaps.is_empty() {
                    return Ok(resolver.finish());
                }
                resolver.visit(run)?;
            }
        }
        Ok(resolver.finish())
    }
}

fn waited<T>(result: Result<T, Stop>) -> Result<T> {
    result.map_err(|stop| match stop {
        Stop::Failed(error) => error,
        Stop::WouldBlock => unreachable!("the lookup may wait"),
    })
}

fn unwaited<T>(result: Result<T, Stop>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Stop::WouldBlock) => Ok(None),
        Err(Stop::Failed(error)) => Err::<_, Error>(error),
    }
}

/// The newer of an entry and a range that cover `key`; of one layer, the entry.
fn find_in_run(run: &Run, lineage: &Lineage, key: Key, patience: Patience) -> Result<Option<Stretch>, Stop> {
    // Nothing in it is old enough to be seen: the usual case for a snapshot and the runs flushed since.
    if run.meta().layer_min > lineage.newest() {
        return Ok(None);
    }
    let entry = if run.may_contain(key) { run.find(Section::Entries, lineage, key.block, patience)? } else { None };
    if run.meta().ranges == 0 || entry.is_some_and(|entry| entry.layer == lineage.newest()) {
        return Ok(entry);
    }
    let range = run.find(Section::Ranges, lineage, key.block, patience)?;
    Ok(match (entry, range) {
        (Some(entry), Some(range)) if range.layer > entry.layer => Some(range),
        (entry, range) => entry.or(range),
    })
}

/// A range lookup under way: goes through the runs, newest first, and fills gaps.
struct Resolver<'a> {
    lineage: &'a Lineage,
    patience: Patience,
    /// Blocks that no run so far knows, in order.
    gaps: Vec<(BlockIndex, BlockIndex)>,
    /// Gaps left by the run at hand; kept for its memory.
    left: Vec<(BlockIndex, BlockIndex)>,
    /// What the run at hand knows, by entries and by ranges; kept for their memory.
    entries: Vec<Stretch>,
    ranges: Vec<Stretch>,
    resolved: Vec<Resolved>,
}

impl<'a> Resolver<'a> {
    fn new(lineage: &'a Lineage, blocks: Range<BlockIndex>, patience: Patience) -> Self {
        let mut gaps = Vec::with_capacity(16);
        gaps.extend((blocks.start < blocks.end).then_some((blocks.start, blocks.end)));
        let (left, entries, ranges) = (Vec::new(), Vec::new(), Vec::new());
        Self { lineage, patience, gaps, left, entries, ranges, resolved: Vec::with_capacity(16) }
    }

    fn visit(&mut self, run: &Run) -> Result<(), Stop> {
        let Some(span) = self.span_in(run) else { return Ok(()) };
        let (mut entries, mut ranges) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.ranges));
        entries.clear();
        ranges.clear();
        if self.may_know(run) {
            run.collect(Section::Entries, self.lineage, span, self.patience, &mut entries)?;
        }
        if run.meta().ranges > 0 {
            run.collect(Section::Ranges, self.lineage, span, self.patience, &mut ranges)?;
        }
        if !entries.is_empty() && !ranges.is_empty() {
            entries = without_hidden(&entries, &ranges);
        }
        self.take(&entries);
        self.take(&ranges);
        (self.entries, self.ranges) = (entries, ranges);
        Ok(())
    }

    fn key(&self, block: u64) -> Key {
        Key { family: self.lineage.family(), block: BlockIndex(block) }
    }

    /// From the first gap to the last, if the run's bounds meet that.
    fn span_in(&self, run: &Run) -> Option<(BlockIndex, BlockIndex)> {
        let span = (self.gaps.first()?.0, self.gaps.last()?.1);
        let meta = run.meta();
        let may_know = meta.overlaps(self.key(span.0.0), self.key(span.1.0 - 1));
        (may_know && meta.layer_min <= self.lineage.newest()).then_some(span)
    }

    fn may_know(&self, run: &Run) -> bool {
        let blocks: u64 = self.gaps.iter().map(|gap| gap.1.0 - gap.0.0).sum();
        blocks > FILTERED_BLOCKS_MAX
            || self.gaps.iter().any(|gap| (gap.0.0..gap.1.0).any(|block| run.may_contain(self.key(block))))
    }

    /// Fills the gaps with what a section of the run knows.
    fn take(&mut self, found: &[Stretch]) {
        if found.is_empty() {
            return;
        }
        self.left.clear();
        let mut at = 0;
        for &(start, end) in &self.gaps {
            let mut block = start;
            while at < found.len() && found[at].end() <= start {
                at += 1;
            }
            // A stretch may go on into the next gap, so `at` stays on the last one looked at.
            for stretch in &found[at..] {
                let Some(piece) = stretch.clip(start, end) else { break };
                if block < piece.first {
                    self.left.push((block, piece.first));
                }
                self.resolved.push(Resolved { first: piece.first, count: piece.count, target: Some(piece.target) });
                block = piece.end();
            }
            if block < end {
                self.left.push((block, end));
            }
        }
        std::mem::swap(&mut self.gaps, &mut self.left);
    }

    fn finish(mut self) -> Vec<Resolved> {
        let unmapped =
            |gap: &(BlockIndex, BlockIndex)| Resolved { first: gap.0, count: gap.1.0 - gap.0.0, target: None };
        self.resolved.extend(self.gaps.iter().map(unmapped));
        self.resolved.sort_unstable_by_key(|piece| piece.first);
        self.resolved
    }
}

/// The parts of entries that no range of a newer layer hides.
fn without_hidden(entries: &[Stretch], ranges: &[Stretch]) -> Vec<Stretch> {
    let mut seen = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut from = entry.first;
        let at = ranges.partition_point(|range| range.end() <= entry.first);
        for range in ranges[at..].iter().take_while(|range| range.first < entry.end()) {
            if range.layer > entry.layer {
                seen.extend(entry.clip(from, range.first));
                from = range.end();
            }
        }
        seen.extend(entry.clip(from, entry.end()));
    }
    seen
}
