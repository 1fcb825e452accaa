//! Which runs make up a map, and how lookups go through them.
//!
//! A version is immutable and cheap to share. Level 0 holds runs that may overlap, newest first; every deeper
//! level holds runs in order that do not overlap and are older than all above. Nothing but this module and `compaction`
//! knows of levels: runs and their pages can be listed in any other way.

mod diff;
mod graveyard;
mod lookup;
mod scan;
mod viewers;

use std::sync::Arc;

use super::run::reader::LevelStream;
use super::run::{Section, path};
use super::sieve::{Origin, Sources};
use super::{Key, Run, RunFiles, RunMeta};
use crate::error::{Error, Result};
use crate::id::RunId;
pub use diff::Diff;
pub(super) use diff::OfLayers;
pub use graveyard::Graveyard;
pub use lookup::Resolved;
pub use scan::{Part, Scan, VisiblePieces, VisibleScan};
pub use viewers::ViewerScan;

/// The runs of one level, in order of age (level 0, newest first) or of keys.
#[derive(Clone, Default)]
pub(super) struct Level {
    runs: Vec<Arc<Run>>,
    /// First and last keys of the runs, so that a search touches no run.
    bounds: Vec<(Key, Key)>,
}

impl Level {
    fn new(runs: Vec<Arc<Run>>) -> Self {
        let bounds = runs.iter().map(|run| (run.meta().first, run.meta().last)).collect();
        Self { runs, bounds }
    }

    pub(super) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    pub(super) fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.meta().bytes).sum()
    }

    /// The runs, of a level below 0, that may know a block in `[first, last]`.
    pub(super) fn overlapping(&self, first: Key, last: Key) -> std::ops::Range<usize> {
        let start = self.bounds.partition_point(|bounds| bounds.1 < first);
        let len = self.bounds[start..].iter().take_while(|bounds| bounds.0 <= last).count();
        start..start + len
    }
}

/// The runs of a map at one moment.
#[derive(Clone, Default)]
pub struct Version {
    levels: Vec<Arc<Level>>,
}

/// A change of a version: what a flush job or a compaction did.
#[derive(Clone, Default)]
pub struct Edit {
    /// Runs that are no longer part of the map, or move to another level.
    pub removed: Vec<RunId>,
    /// Runs with the level they go to.
    pub added: Vec<(u8, Arc<Run>)>,
}

impl Edit {
    /// The edit of a flush job: `run` becomes the newest.
    #[must_use]
    pub fn flushed(run: Arc<Run>) -> Self {
        Self { removed: Vec::new(), added: vec![(0, run)] }
    }

    /// What the manifest has to remember of the added runs.
    #[must_use]
    pub fn added_metas(&self) -> Vec<RunMeta> {
        self.added.iter().map(|(level, run)| RunMeta { level: *level, ..*run.meta() }).collect()
    }
}

impl Version {
    /// The version that the manifest describes; opens no file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if runs below level 0 overlap or a run is named twice.
    pub fn open(files: &Arc<RunFiles>, metas: &[RunMeta]) -> Result<Self> {
        let added = metas.iter().map(|meta| (meta.level, Run::new(files.clone(), *meta))).collect();
        Self::default().checked_apply(&Edit { removed: Vec::new(), added })
    }

    /// The version after `edit`. The ids of runs of level 0 must have been given in the order of their flush jobs.
    ///
    /// # Panics
    /// If the edit removes a run that is not there, or adds one that overlaps another below level 0: whoever made the
    /// edit made it for another version.
    #[must_use]
    pub fn apply(&self, edit: &Edit) -> Self {
        let known = |id: &RunId| self.runs().any(|(_, run)| run.id() == *id);
        assert!(edit.removed.iter().all(known), "an edit removes what is there");
        self.checked_apply(edit).expect("an edit fits the version it is applied to")
    }

    fn checked_apply(&self, edit: &Edit) -> Result<Self> {
        let added_depth = edit.added.iter().map(|(level, _)| usize::from(*level) + 1).max().unwrap_or(0);
        let depth = self.levels.len().max(added_depth);
        let mut levels = Vec::with_capacity(depth);
        for number in 0..depth {
            levels.push(self.edited_level(number, edit)?);
        }
        while levels.last().is_some_and(|level| level.runs.is_empty()) {
            levels.pop();
        }
        Ok(Self { levels })
    }

    fn edited_level(&self, number: usize, edit: &Edit) -> Result<Arc<Level>> {
        let old = self.levels.get(number);
        let old_runs = old.map_or(&[][..], |level| &level.runs[..]);
        let goes = |run: &Arc<Run>| edit.removed.contains(&run.id());
        let comes = |(level, _): &&(u8, Arc<Run>)| usize::from(*level) == number;
        if let Some(old) = old
            && !old_runs.iter().any(goes)
            && !edit.added.iter().any(|added| comes(&added))
        {
            return Ok(old.clone());
        }
        let mut runs: Vec<_> = old_runs.iter().filter(|run| !goes(run)).cloned().collect();
        runs.extend(edit.added.iter().filter(comes).map(|(_, run)| run.clone()));
        if number == 0 {
            runs.sort_by_key(|run| std::cmp::Reverse(run.id()));
        } else {
            runs.sort_by_key(|run| run.meta().first);
        }
        let clash = runs
            .windows(2)
            .find(|pair| pair[0].id() == pair[1].id() || number > 0 && pair[0].meta().last >= pair[1].meta().first);
        match clash {
            Some(pair) => Err(Error::corrupt(path(pair[1].id()), 0, "the manifest lists runs of a level that overlap")),
            None => Ok(Arc::new(Level::new(runs))),
        }
    }

    /// All runs with their levels, newest level first.
    pub fn runs(&self) -> impl Iterator<Item = (u8, &Arc<Run>)> {
        (0u8..).zip(&self.levels).flat_map(|(number, level)| level.runs.iter().map(move |run| (number, run)))
    }

    /// What the manifest remembers of all runs.
    #[must_use]
    pub fn metas(&self) -> Vec<RunMeta> {
        self.runs().map(|(level, run)| RunMeta { level, ..*run.meta() }).collect()
    }

    /// How many runs level 0 has: lookups go through each of them.
    #[must_use]
    pub fn level0_runs(&self) -> usize {
        self.levels.first().map_or(0, |level| level.runs.len())
    }

    /// Levels in use; level 0 may be empty when deeper ones are not.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Length of all runs in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.levels.iter().map(|level| level.bytes()).sum()
    }

    pub(super) fn levels(&self) -> &[Arc<Level>] {
        &self.levels
    }

    /// Builds the filters that lookups have shown to be worth it; call from a thread that may wait, now and then and
    /// after opening. Returns how many.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Io`]; lookups go on without the filter.
    pub fn build_earned_filters(&self) -> Result<usize> {
        let deepest = self.levels.len().saturating_sub(1);
        let mut built = 0;
        for (number, run) in self.runs().filter(|(number, run)| usize::from(*number) < deepest && run.earns_filter()) {
            run.build_filter(number)?;
            built += 1;
        }
        Ok(built)
    }

    /// Everything as sources, newest first, from `from` on; `keep` chooses among the runs.
    fn sources(&self, from: Option<Key>, keep: impl Fn(&Run) -> bool) -> Sources {
        let chosen = |level: &Level| level.runs.iter().filter(|run| keep(run)).cloned().collect::<Vec<_>>();
        let Some((top, deeper)) = self.levels.split_first() else { return Vec::new() };
        let groups = chosen(top).into_iter().map(|run| vec![run]).chain(deeper.iter().map(|level| chosen(level)));
        groups.enumerate().flat_map(|(group, runs)| sources_of(group, &runs, from)).collect()
    }
}

/// Both sections of the runs of a group, those that hold anything.
pub(super) fn sources_of(group: usize, runs: &[Arc<Run>], from: Option<Key>) -> Sources {
    let stream = |section| {
        let stream = LevelStream::new(runs.to_vec(), section, from);
        (!stream.is_empty()).then(|| (Origin { group, section }, Box::new(stream) as _))
    };
    [Section::Entries, Section::Ranges].into_iter().filter_map(stream).collect()
}

#[cfg(test)]
mod tests;
