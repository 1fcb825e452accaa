//! Carries out a compaction plan.

use std::iter::Peekable;
use std::sync::Arc;

use super::{Action, CompactionPlan};
use crate::error::Result;
use crate::id::RunId;
use crate::layers::Visibility;
use crate::map::join::Joined;
use crate::map::run::Section;
use crate::map::sieve::{Sieve, Wanted};
use crate::map::version::sources_of;
use crate::map::{Edit, Key, Run, RunFiles, RunWriter, Stretch, Version};

/// What a merge needs from the owner of the map.
pub struct MergeContext<'a> {
    /// Where the new runs go.
    pub files: &'a Arc<RunFiles>,
    /// Gives the id of a new run; never the same twice.
    pub next_run_id: &'a mut dyn FnMut() -> RunId,
    /// Who reads what: what nobody sees is dropped. Taken after the version that is merged.
    pub visibility: &'a Visibility,
}

/// Carries out `plan`, which was made for `version`, and returns the edit to commit. The new runs are synced, their
/// names are not: [`RunFiles::sync_directory`] comes before the commit.
///
/// # Errors
/// [`crate::Error::OutOfSpace`], [`crate::Error::Corrupt`], [`crate::Error::Io`]. What was written is deleted as far as
/// that succeeds, and the map is as it was; after a failed sync the store must stop.
///
/// # Panics
/// If `version` lacks a run of the plan.
pub fn execute(plan: &CompactionPlan, version: &Version, context: &mut MergeContext<'_>) -> Result<Edit> {
    let run_of = |id: &RunId| {
        let found = version.runs().find(|(_, run)| run.id() == *id);
        found.map(|(_, run)| run.clone()).expect("a plan is carried out on the version it was made for")
    };
    let upper: Vec<_> = plan.upper.iter().map(run_of).collect();
    let lower: Vec<_> = plan.lower.iter().map(run_of).collect();
    let level = plan.from_level + 1;
    let runs = match plan.action {
        Action::Move => upper,
        Action::Merge { drop_holes, cut_bytes } => {
            let inputs =
                if plan.from_level == 0 { upper.into_iter().map(|run| vec![run]).collect() } else { vec![upper] };
            let with_filter = version.levels().len() > usize::from(level) + 1;
            let mut output = Output {
                context,
                level,
                cut_bytes,
                with_filter,
                ids: Vec::new(),
                writer: None,
                entries_last: None,
                ranges: Vec::new(),
                runs: Vec::new(),
            };
            let merged = merge(inputs.into_iter().chain([lower]).collect(), drop_holes, &mut output);
            merged.inspect_err(|_| output.discard())?;
            output.runs
        }
    };
    let removed = plan.upper.iter().chain(&plan.lower).copied().collect();
    Ok(Edit { removed, added: runs.into_iter().map(|run| (level, run)).collect() })
}

/// Merges groups of runs, newest group first, into the output.
///
/// Ranges take part twice: they hide older entries, and they go to the ranges of the output whole, not cut up by the
/// entries on top of them.
fn merge(groups: Vec<Vec<Arc<Run>>>, drop_holes: bool, output: &mut Output<'_, '_>) -> Result<()> {
    let sources = || groups.iter().enumerate().flat_map(|(group, runs)| sources_of(group, runs, None));
    let visibility = output.context.visibility;
    let sieve = |sources, section| Sieve::visible(sources, visibility, Wanted::Section(section), drop_holes);
    let entries = sieve(sources().collect(), Section::Entries);
    let ranges = sources().filter(|(origin, _)| origin.section == Section::Ranges).collect();
    let ranges = sieve(ranges, Section::Ranges);
    interleave(Joined::new(entries).peekable(), Joined::new(ranges).peekable(), output)
}

/// Hands entries and ranges to the output in order of their first blocks.
fn interleave<E, R>(mut entries: Peekable<E>, mut ranges: Peekable<R>, output: &mut Output<'_, '_>) -> Result<()>
where
    E: Iterator<Item = Result<Stretch>>,
    R: Iterator<Item = Result<Stretch>>,
{
    loop {
        let range_first = match (peek_key(&mut entries), peek_key(&mut ranges)) {
            (None, None) => return output.finish(),
            (entry, range) => entry.is_none_or(|entry| range.is_some_and(|range| range < entry)),
        };
        if range_first {
            let Some(range) = ranges.next().transpose()? else { continue };
            output.add_range(range)?;
        } else if let Some(entry) = entries.next().transpose()? {
            output.add_entry(entry)?;
        }
    }
}

/// Key of the next stretch; an error comes before everything.
fn peek_key<I: Iterator<Item = Result<Stretch>>>(stretches: &mut Peekable<I>) -> Option<Key> {
    stretches.peek().map(|next| next.as_ref().map_or(Key::default(), Stretch::key))
}

/// The runs a merge writes: entries and ranges come in order of their first blocks, and are cut into runs.
struct Output<'a, 'b> {
    context: &'a mut MergeContext<'b>,
    level: u8,
    cut_bytes: u64,
    with_filter: bool,
    ids: Vec<RunId>,
    writer: Option<RunWriter>,
    /// The last block of the last entry: a cut before it would make runs overlap.
    entries_last: Option<Key>,
    /// The versions of the last range, not written yet because a cut may divide it.
    ranges: Vec<Stretch>,
    runs: Vec<Arc<Run>>,
}

impl Output<'_, '_> {
    fn add_entry(&mut self, entry: Stretch) -> Result<()> {
        self.cut_before(entry.key())?;
        self.entries_last = Some(entry.last_key());
        self.writer()?.push_entry(entry)
    }

    fn add_range(&mut self, range: Stretch) -> Result<()> {
        if !self.ranges.last().is_some_and(|last| last.is_beside(&range)) {
            self.cut_before(range.key())?;
            self.write_ranges()?;
        }
        self.ranges.push(range);
        Ok(())
    }

    /// Ends the run at hand if it is long enough and what comes begins at `key`.
    fn cut_before(&mut self, key: Key) -> Result<()> {
        let short = self.writer.as_ref().is_none_or(|writer| writer.pages_bytes() < self.cut_bytes);
        if short || self.entries_last.is_some_and(|last| last >= key) {
            return Ok(());
        }
        let divided = |range: &Stretch| range.family == key.family && range.end() > key.block;
        let mut rest = Vec::new();
        if self.ranges.first().is_some_and(divided) {
            rest.extend(self.ranges.iter().filter_map(|range| range.clip(key.block, range.end())));
            self.ranges.iter_mut().for_each(|range| range.count = key.block.0 - range.first.0);
        }
        self.finish()?;
        self.ranges = rest;
        Ok(())
    }

    fn write_ranges(&mut self) -> Result<()> {
        for range in std::mem::take(&mut self.ranges) {
            self.writer()?.push_range(range)?;
        }
        Ok(())
    }

    fn writer(&mut self) -> Result<&mut RunWriter> {
        if self.writer.is_none() {
            let id = (self.context.next_run_id)();
            self.ids.push(id);
            self.writer = Some(RunWriter::create(self.context.files, id, self.level, self.with_filter)?);
        }
        Ok(self.writer.as_mut().expect("it was made just now"))
    }

    fn finish(&mut self) -> Result<()> {
        self.write_ranges()?;
        if let Some(writer) = self.writer.take() {
            self.runs.push(writer.finish()?);
        }
        Ok(())
    }

    /// Deletes what was written; what resists is deleted at recovery, as the manifest does not name it.
    fn discard(&mut self) {
        self.writer = None;
        for id in &self.ids {
            if let Err(error) = self.context.files.delete(*id) {
                tracing::warn!(run = id.0, %error, "a run that is not needed could not be deleted");
            }
        }
    }
}
