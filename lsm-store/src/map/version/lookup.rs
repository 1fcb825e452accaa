//! Lookups: what a version knows of a block or of a range of blocks.

use std::ops::Range;

use super::Version;
use crate::error::{Error, Result};
use crate::id::{BlockIndex, LayerId};
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
    /// Where the first is; for data the slot grows with the block. `None`: the layer never wrote them.
    pub target: Option<Target>,
}

impl Version {
    /// What the map knows of one block of a layer; `None` if the layer never wrote it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Io`]: the block cannot be read, and must not be taken for a hole.
    pub fn find(&self, layer: LayerId, block: BlockIndex) -> Result<Option<Target>> {
        waited(self.find_block(Key { layer, block }, Patience::Wait))
    }

    /// As [`Version::find`], but `None` instead of waiting for the device: ask again from a thread that may wait.
    ///
    /// # Errors
    /// As [`Version::find`].
    pub fn try_find(&self, layer: LayerId, block: BlockIndex) -> Result<Option<Option<Target>>> {
        unwaited(self.find_block(Key { layer, block }, Patience::CachedOnly))
    }

    /// What the map knows of a range of blocks of a layer: pieces in order that cover all of it, neighbours not joined.
    ///
    /// # Errors
    /// As [`Version::find`].
    pub fn lookup(&self, layer: LayerId, blocks: Range<BlockIndex>) -> Result<Vec<Resolved>> {
        waited(self.resolve(layer, blocks, Patience::Wait))
    }

    /// As [`Version::lookup`], but `None` instead of waiting for the device.
    ///
    /// # Errors
    /// As [`Version::find`].
    pub fn try_lookup(&self, layer: LayerId, blocks: Range<BlockIndex>) -> Result<Option<Vec<Resolved>>> {
        unwaited(self.resolve(layer, blocks, Patience::CachedOnly))
    }

    fn find_block(&self, key: Key, patience: Patience) -> Result<Option<Target>, Stop> {
        for (number, level) in self.levels.iter().enumerate() {
            let candidates = if number == 0 { 0..level.runs.len() } else { level.overlapping(key, key) };
            for (run, bounds) in level.runs[candidates.clone()].iter().zip(&level.bounds[candidates]) {
                if bounds.0 <= key
                    && key <= bounds.1
                    && let Some(stretch) = find_in_run(run, key, patience)?
                {
                    return Ok(Some(stretch.target_of(key.block)));
                }
            }
        }
        Ok(None)
    }

    fn resolve(&self, layer: LayerId, blocks: Range<BlockIndex>, patience: Patience) -> Result<Vec<Resolved>, Stop> {
        let mut resolver = Resolver::new(layer, blocks.clone(), patience);
        let first = Key { layer, block: blocks.start };
        let last = Key { layer, block: BlockIndex(blocks.end.0.saturating_sub(1)) };
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

/// An entry, or else a range, that covers `key`.
fn find_in_run(run: &Run, key: Key, patience: Patience) -> Result<Option<Stretch>, Stop> {
    if run.may_contain(key)
        && let Some(entry) = run.find(Section::Entries, key, patience)?
    {
        return Ok(Some(entry));
    }
    run.find(Section::Ranges, key, patience)
}

/// A range lookup under way: goes through the runs, newest first, and fills gaps.
struct Resolver {
    layer: LayerId,
    patience: Patience,
    /// Blocks that no run so far knows, in order.
    gaps: Vec<(BlockIndex, BlockIndex)>,
    /// Gaps left by the run at hand; kept for its memory.
    left: Vec<(BlockIndex, BlockIndex)>,
    /// What the run at hand knows; kept for its memory.
    found: Vec<Stretch>,
    resolved: Vec<Resolved>,
}

impl Resolver {
    fn new(layer: LayerId, blocks: Range<BlockIndex>, patience: Patience) -> Self {
        let mut gaps = Vec::with_capacity(16);
        gaps.extend((blocks.start < blocks.end).then_some((blocks.start, blocks.end)));
        Self { layer, patience, gaps, left: Vec::new(), found: Vec::new(), resolved: Vec::with_capacity(16) }
    }

    fn visit(&mut self, run: &Run) -> Result<(), Stop> {
        let Some(span) = self.span_in(run) else { return Ok(()) };
        if self.may_know(run) {
            self.take(run, Section::Entries, span)?;
        }
        if run.meta().ranges > 0 {
            self.take(run, Section::Ranges, span)?;
        }
        Ok(())
    }

    /// From the first gap to the last, if the run's bounds meet that.
    fn span_in(&self, run: &Run) -> Option<(BlockIndex, BlockIndex)> {
        let span = (self.gaps.first()?.0, self.gaps.last()?.1);
        let first = Key { layer: self.layer, block: span.0 };
        let last = Key { layer: self.layer, block: BlockIndex(span.1.0 - 1) };
        run.meta().overlaps(first, last).then_some(span)
    }

    fn may_know(&self, run: &Run) -> bool {
        let blocks: u64 = self.gaps.iter().map(|gap| gap.1.0 - gap.0.0).sum();
        let key = |block| Key { layer: self.layer, block: BlockIndex(block) };
        blocks > FILTERED_BLOCKS_MAX
            || self.gaps.iter().any(|gap| (gap.0.0..gap.1.0).any(|block| run.may_contain(key(block))))
    }

    /// Fills the gaps with what a section of the run knows.
    fn take(&mut self, run: &Run, section: Section, span: (BlockIndex, BlockIndex)) -> Result<(), Stop> {
        self.found.clear();
        run.collect(section, self.layer, span, self.patience, &mut self.found)?;
        if self.found.is_empty() {
            return Ok(());
        }
        self.left.clear();
        let mut at = 0;
        for &(start, end) in &self.gaps {
            let mut block = start;
            while at < self.found.len() && self.found[at].end() <= start {
                at += 1;
            }
            // A stretch may go on into the next gap, so `at` stays on the last one looked at.
            for stretch in &self.found[at..] {
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
        Ok(())
    }

    fn finish(mut self) -> Vec<Resolved> {
        let unmapped =
            |gap: &(BlockIndex, BlockIndex)| Resolved { first: gap.0, count: gap.1.0 - gap.0.0, target: None };
        self.resolved.extend(self.gaps.iter().map(unmapped));
        self.resolved.sort_unstable_by_key(|piece| piece.first);
        self.resolved
    }
}
