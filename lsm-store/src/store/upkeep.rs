//! Background work besides flush jobs: merging runs, and teaching the fingerprint index what is stored.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::collect::is_unreadable;
use super::inner::{Inner, chain};
use crate::error::{Error, Result};
use crate::manifest::Edit;
use crate::map::{CompactionPlan, MergeContext, Policy, Version, execute, plan};
use crate::segment::Directory;

impl Inner {
    /// Carries out the most urgent merge; `false` if none is due.
    pub(super) fn compact_once(&self) -> Result<bool> {
        let _merging = self.merging.lock();
        if self.merging_stopped.load(Ordering::Acquire) {
            return Ok(false);
        }
        self.bury_unread()?;
        let version = Arc::clone(&self.view().version);
        let Some(plan) = plan(&version, &Policy::default()) else {
            return Ok(self.build_filters(&version));
        };
        self.carry_out(&plan, &version)
    }

    /// Carries out a merge of the current version; `false` if a run could not be read. The caller holds `merging`.
    pub(super) fn carry_out(&self, plan: &CompactionPlan, version: &Version) -> Result<bool> {
        self.top_up_ids()?;
        let _lent = self.lend_for_work()?;
        let edit = match self.merge(plan, version) {
            Err(error) if is_unreadable(&error) => {
                // Reads of what is damaged fail by themselves; everything else goes on, with more runs than it should have.
                tracing::error!(error = %chain(&error), "runs are not merged any more: run silt check");
                self.suspect(&error);
                self.merging_stopped.store(true, Ordering::Release);
                return Ok(false);
            }
            merged => merged.map_err(|error| self.poison_unless_full(error))?,
        };
        let mut meta = self.meta.lock();
        let added = edit.added_metas();
        let written: Vec<_> = added.iter().filter(|run| !edit.removed.contains(&run.id)).copied().collect();
        let removed = edit.removed.iter().copied().map(Edit::RemoveRun);
        let mut edits: Vec<_> = removed.chain(added.into_iter().map(Edit::AddRun)).collect();
        edits.extend(self.volume_edits(&meta));
        if let Err(error) = self.commit(&mut meta, edits) {
            if matches!(error, Error::OutOfSpace) {
                written.iter().try_for_each(|run| self.runs.delete(run.id))?;
            }
            return Err(error);
        }
        self.update_view(|view| view.with_version(Arc::new(view.version.apply(&edit))));
        self.graveyard.lock().bury(version, &edit);
        drop(meta);
        self.counters.count_written(&[], &written);
        self.counters.merges.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Builds filters that lookups have earned; true if it built any.
    fn build_filters(&self, version: &Version) -> bool {
        match version.build_earned_filters() {
            Ok(built) => built > 0,
            // A filter is a hint. Whoever reads what is damaged is told.
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a filter cannot be built");
                false
            }
        }
    }

    fn merge(&self, plan: &CompactionPlan, version: &Version) -> Result<crate::map::Edit> {
        let visibility = self.visibility();
        let edit = execute(
            plan,
            version,
            &mut MergeContext { files: &self.runs, next_run_id: &mut || self.new_run_id(), visibility: &visibility },
        )?;
        self.runs.sync_directory()?;
        Ok(edit)
    }

    /// Deletes replaced runs that nobody reads any more.
    pub(super) fn bury_unread(&self) -> Result<()> {
        let unread = self.graveyard.lock().take_unread();
        unread.into_iter().try_for_each(|id| self.runs.delete(id))
    }

    /// Reads the fingerprints of one segment into the index; `false` if it knows all.
    pub(super) fn rebuild_index_once(&self) -> Result<bool> {
        let Some(id) = self.to_index.lock().pop() else { return Ok(false) };
        let segment = self.segments.segment(id);
        let directory = segment.and_then(|segment| Directory::read(&segment).map(|directory| (segment, directory)));
        match directory {
            Ok((segment, directory)) => {
                // What was read is compared with soon, if there are duplicates of it. Other pages need their room, too.
                if self.pages.bytes() < self.budget.page_cache_bytes / 2 {
                    directory.keep_fingerprints(&segment);
                }
                for (slot, fingerprint) in directory.entries() {
                    self.index.insert(&fingerprint, crate::id::Location { segment: id, slot });
                }
            }
            Err(error) if error.is_shortage() => {
                self.to_index.lock().push(id);
                return Err(error);
            }
            // The index is a hint: a segment it cannot learn costs dedupe ratio, and its reads fail by themselves.
            Err(error) => {
                tracing::warn!(segment = %id, error = %chain(&error), "a segment's fingerprints cannot be read")
            }
        }
        Ok(true)
    }
}
