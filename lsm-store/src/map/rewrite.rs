//! Rewrites a run with other locations for some of its blocks. Everything else about it stays: its order, its ranges, its
//! layers and its bounds, so that the new run can stand exactly where the old one stood. No entry is dropped.

use std::sync::Arc;

use super::run::Section;
use super::run::reader::LevelStream;
use super::{Joiner, Run, RunFiles, RunWriter, Stretch, Target};
use crate::error::Result;
use crate::id::{BlockIndex, Location, RunId, SegmentId, Slot};
use crate::map::merge::Source;

/// Where blocks have gone.
pub trait Moves {
    /// False if no block of the segment has moved.
    fn concerns(&self, segment: SegmentId) -> bool;

    /// Where the block that was at `location` is now, if it has moved.
    fn moved(&self, location: Location) -> Option<Location>;
}

/// The run that takes another's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Successor {
    /// Its id, never used before.
    pub id: RunId,
    /// The level of both.
    pub level: u8,
    /// It gets a filter.
    pub with_filter: bool,
}

/// Writes `successor`: what `run` holds, with the new places of blocks that have moved. The new run is synced, its name is
/// not.
///
/// # Errors
/// [`crate::Error::OutOfSpace`], [`crate::Error::Corrupt`], [`crate::Error::Io`]. What was written is left to the caller.
pub fn rewrite(run: &Arc<Run>, successor: Successor, files: &Arc<RunFiles>, moves: &dyn Moves) -> Result<Arc<Run>> {
    let writer = RunWriter::create(files, successor.id, successor.level, successor.with_filter)?;
    let mut rewriter = Rewriter { writer, joiner: Joiner::default(), moves };
    each_block(run, Section::Entries, |versions| rewriter.push_entries(versions))?;
    rewriter.joiner.finish();
    rewriter.push_joined()?;
    each_block(run, Section::Ranges, |versions| {
        versions.iter().try_for_each(|range| rewriter.writer.push_range(*range))
    })?;
    rewriter.writer.finish()
}

/// Hands the versions of the same blocks to `sink` together, in order.
fn each_block(run: &Arc<Run>, section: Section, mut sink: impl FnMut(&[Stretch]) -> Result<()>) -> Result<()> {
    let mut source = LevelStream::new(vec![Arc::clone(run)], section, None);
    let (mut batch, mut versions) = (Vec::new(), Vec::<Stretch>::new());
    while source.next_batch(&mut batch)? {
        for stretch in &batch {
            if versions.last().is_some_and(|last| !last.is_beside(stretch)) {
                sink(&versions)?;
                versions.clear();
            }
            versions.push(*stretch);
        }
    }
    sink(&versions)
}

struct Rewriter<'a> {
    writer: RunWriter,
    joiner: Joiner,
    moves: &'a dyn Moves,
}

impl Rewriter<'_> {
    /// Adds the versions of the same blocks. Where one of them is cut, all are: stretches lie apart or cover the same blocks.
    fn push_entries(&mut self, versions: &[Stretch]) -> Result<()> {
        let parts: Vec<_> = versions.iter().map(|version| parts(version, self.moves)).collect();
        let mut cuts: Vec<_> = parts.iter().flatten().map(|part| part.from).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let ends = cuts.iter().skip(1).copied().chain(versions.first().map(|version| version.count));
        for (from, to) in cuts.iter().copied().zip(ends) {
            for (version, parts) in versions.iter().zip(&parts) {
                let part = parts[parts.partition_point(|part| part.from <= from) - 1];
                let (first, target) = (BlockIndex(version.first.0 + from), part.target.advanced(from - part.from));
                self.joiner.push(Stretch { first, count: to - from, target, ..*version });
            }
            self.push_joined()?;
        }
        Ok(())
    }

    fn push_joined(&mut self) -> Result<()> {
        while let Some(stretch) = self.joiner.pop() {
            self.writer.push_entry(stretch)?;
        }
        Ok(())
    }
}

/// A part of a stretch: where it begins, counted from the stretch's first block, and what it refers to now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    from: u64,
    target: Target,
}

fn parts(stretch: &Stretch, moves: &dyn Moves) -> Vec<Part> {
    let Some(first) = concerned(stretch, moves) else { return vec![Part { from: 0, target: stretch.target }] };
    let mut parts: Vec<Part> = Vec::new();
    for from in 0..stretch.count {
        let before = Location { slot: Slot(first.slot.0 + from as u16), ..first };
        let target = Target::Data(moves.moved(before).unwrap_or(before));
        if !parts.last().is_some_and(|part| goes_on(part, from, target)) {
            parts.push(Part { from, target });
        }
    }
    parts
}

/// True if a block with this target, `at` blocks behind the stretch's first, continues the part.
fn goes_on(part: &Part, at: u64, target: Target) -> bool {
    match (part.target, target) {
        (Target::Data(first), Target::Data(next)) => {
            first.segment == next.segment && u64::from(first.slot.0) + (at - part.from) == u64::from(next.slot.0)
        }
        _ => false,
    }
}

/// Where the stretch's first block was, if any of its blocks may have moved.
fn concerned(stretch: &Stretch, moves: &dyn Moves) -> Option<Location> {
    match stretch.target {
        Target::Data(first) if moves.concerns(first.segment) => Some(first),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
