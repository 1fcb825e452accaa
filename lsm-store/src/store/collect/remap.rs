//! Makes the map refer to the new places of relocated blocks: every run that names a condemned segment is rewritten.
//!
//! Below level 0 a run's place in the order of age is its level, whatever its id, so a rewritten run stands where the old
//! one stood. Runs of level 0 are ordered by id: they are merged down first. Flush jobs that come meanwhile share nothing
//! with condemned segments, and merges only carry on what runs below them say; so what is left to do only shrinks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::survivors::Table;
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::manifest::Edit;
use crate::map::rewrite::{Moves, Successor, rewrite};
use crate::map::{Edit as MapEdit, Run, Version};
use crate::segment::SegmentSummary;
use crate::store::inner::{Inner, chain};

/// Runs written and not committed.
pub(super) struct Remap<'a> {
    inner: &'a Inner,
    table: &'a Table,
    /// What takes the place of a run.
    rewritten: BTreeMap<RunId, Arc<Run>>,
    /// Runs that have files.
    created: Vec<RunId>,
}

impl<'a> Remap<'a> {
    pub(super) fn new(inner: &'a Inner, table: &'a Table) -> Self {
        Self { inner, table, rewritten: BTreeMap::new(), created: Vec::new() }
    }

    /// Rewrites the runs and commits them together with the new segments they refer to, all or nothing.
    pub(super) fn run(&mut self, sealed: &[SegmentSummary]) -> Result<()> {
        self.empty_level0()?;
        // Merges go on meanwhile; what they replace before the commit was written in vain.
        let version = Arc::clone(&self.inner.view().version);
        self.rewrite_all(&version)?;
        drop(version);
        let _merging = self.inner.merging.lock();
        let version = Arc::clone(&self.inner.view().version);
        let edit = self.rewrite_all(&version)?;
        self.inner.runs.sync_directory()?;
        self.commit(&version, edit, sealed)
    }

    /// Deletes what was written, or what of it was not needed.
    pub(super) fn discard(&mut self) {
        for id in self.created.drain(..) {
            if let Err(error) = self.inner.runs.delete(id) {
                tracing::warn!(run = id.0, error = %chain(&error), "a run that is not needed stays until the next start");
            }
        }
    }

    fn names(&self, run: &Run) -> Result<bool> {
        Ok(run.summary()?.iter().any(|(id, _)| self.table.concerns(*id)))
    }

    /// Merges level 0 down if it names a condemned segment: no run that is added to it from now on does.
    fn empty_level0(&self) -> Result<()> {
        let _merging = self.inner.merging.lock();
        let version = Arc::clone(&self.inner.view().version);
        for (_, run) in version.runs().take_while(|(level, _)| *level == 0) {
            if self.names(run)? {
                return self.inner.empty_level0();
            }
        }
        Ok(())
    }

    /// Rewrites those runs of `version` that need it and are not rewritten yet; the edit that puts all of them in place.
    fn rewrite_all(&mut self, version: &Version) -> Result<MapEdit> {
        let mut edit = MapEdit::default();
        for (level, run) in version.runs() {
            if !self.names(run)? {
                continue;
            }
            assert!(level > 0, "no run of level 0 names a condemned segment");
            if !self.rewritten.contains_key(&run.id()) {
                self.inner.go_on_collecting()?;
                self.inner.top_up_ids()?;
                let id = self.inner.new_run_id();
                self.created.push(id);
                let with_filter = version.depth() > usize::from(level) + 1;
                let successor = Successor { id, level, with_filter };
                let written = rewrite(run, successor, &self.inner.runs, self.table)?;
                self.inner.space.take_claimed(written.meta().bytes);
                self.rewritten.insert(run.id(), written);
            }
            edit.removed.push(run.id());
            edit.added.push((level, Arc::clone(&self.rewritten[&run.id()])));
        }
        Ok(edit)
    }

    fn commit(&mut self, version: &Version, edit: MapEdit, sealed: &[SegmentSummary]) -> Result<()> {
        let inner = self.inner;
        let mut meta = inner.meta.lock();
        let added = edit.added_metas();
        let mut edits: Vec<_> = sealed.iter().copied().map(Edit::AddSegment).collect();
        edits.extend(edit.removed.iter().copied().map(Edit::RemoveRun));
        edits.extend(added.iter().copied().map(Edit::AddRun));
        inner.commit(&mut meta, edits)?;
        sealed.iter().for_each(|summary| inner.segments.learn(summary));
        inner.update_view(|view| view.with_version(Arc::new(view.version.apply(&edit))));
        inner.graveyard.lock().bury(version, &edit);
        drop(meta);
        inner.counters.count_written(sealed, &added);
        // The index learns the new places as it learns what an earlier opening stored.
        inner.to_index.lock().extend(sealed.iter().map(|summary| summary.identity.id));
        self.created.retain(|id| added.iter().all(|run| run.id != *id));
        Ok(())
    }
}

impl Inner {
    /// Takes all of level 0 down. The caller holds `merging`.
    fn empty_level0(&self) -> Result<()> {
        let version = Arc::clone(&self.view().version);
        let Some(plan) = crate::map::plan_level0(&version) else { return Ok(()) };
        if self.merging_stopped.load(Ordering::Acquire) || !self.carry_out(&plan, &version)? {
            return Err(Error::corrupt(crate::map::run::DIRECTORY, 0, "runs cannot be merged"));
        }
        Ok(())
    }
}
