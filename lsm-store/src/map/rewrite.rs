//! Rewrites a run with other locations for some of its blocks. Everything else about it stays: its order, its ranges, its
//! layers, and bounds that are the same or narrower, so that the new run can stand exactly where the old one stood.

use std::sync::Arc;

use super::run::Section;
use super::run::reader::LevelStream;
use super::{Joiner, Run, RunFiles, RunWriter, Stretch, Target};
use crate::error::Result;
use crate::id::{BlockIndex, Location, RunId, Slot};
use crate::map::merge::Source;

/// What becomes of a location that a run names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The block stays, and with it all of its segment.
    Stays,
    /// The block has moved.
    Moved(Location),
    /// The block is gone: no root sees the entry.
    Gone,
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

/// Writes `successor`: what `run` holds, with every location as `fate` has it. `None` if nothing of the run is left; then
/// there is no file either. The new run is synced, its name is not.
///
/// # Errors
/// [`crate::Error::OutOfSpace`], [`crate::Error::Corrupt`], [`crate::Error::Io`]. What was written is left to the caller.
pub fn rewrite(
    run: &Arc<Run>,
    successor: Successor,
    files: &Arc<RunFiles>,
    fate: &dyn Fn(Location) -> Fate,
) -> Result<Option<Arc<Run>>> {
    let writer = RunWriter::create(files, successor.id, successor.level, successor.with_filter)?;
    let mut rewriter = Rewriter { writer, joiner: Joiner::default(), fate };
    each_block(run, Section::Entries, |versions| rewriter.push_entries(versions))?;
    rewriter.joiner.finish();
    rewriter.push_joined()?;
    each_block(run, Section::Ranges, |versions| {
        versions.iter().try_for_each(|range| rewriter.writer.push_range(*range))
    })?;
    if rewriter.writer.is_empty() {
        drop(rewriter);
        files.delete(successor.id)?;
        return Ok(None);
    }
    rewriter.writer.finish().map(Some)
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
    fate: &'a dyn Fn(Location) -> Fate,
}

impl Rewriter<'_> {
    /// Adds the versions of the same blocks. Where one of them is cut, all are: stretches lie apart or cover the same blocks.
    fn push_entries(&mut self, versions: &[Stretch]) -> Result<()> {
        let parts: Vec<_> = versions.iter().map(|version| parts(version, self.fate)).collect();
        let mut cuts: Vec<_> = parts.iter().flatten().map(|part| part.from).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let ends = cuts.iter().skip(1).copied().chain(versions.first().map(|version| version.count));
        for (from, to) in cuts.iter().copied().zip(ends) {
            for (version, parts) in versions.iter().zip(&parts) {
                let part = parts[parts.partition_point(|part| part.from <= from) - 1];
                let Some(target) = part.target else { continue };
                let first = BlockIndex(version.first.0 + from);
                self.joiner.push(Stretch {
                    first,
                    count: to - from,
                    target: target.advanced(from - part.from),
                    ..*version
                });
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
    /// `None` if it is gone.
    target: Option<Target>,
}

fn parts(stretch: &Stretch, fate: &dyn Fn(Location) -> Fate) -> Vec<Part> {
    let whole = vec![Part { from: 0, target: Some(stretch.target) }];
    let Target::Data(first) = stretch.target else { return whole };
    let mut parts: Vec<Part> = Vec::new();
    for from in 0..stretch.count {
        let target = match fate(Location { slot: Slot(first.slot.0 + from as u16), ..first }) {
            Fate::Stays => return whole,
            Fate::Moved(location) => Some(Target::Data(location)),
            Fate::Gone => None,
        };
        let goes_on = parts.last().is_some_and(|part| follows(*part, from, target));
        if !goes_on {
            parts.push(Part { from, target });
        }
    }
    parts
}

/// True if a block with this target, `at` blocks behind the stretch's first, continues the part.
fn follows(part: Part, at: u64, target: Option<Target>) -> bool {
    match (part.target, target) {
        (None, None) => true,
        (Some(Target::Data(first)), Some(Target::Data(next))) => {
            first.segment == next.segment && u64::from(first.slot.0) + (at - part.from) == u64::from(next.slot.0)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
