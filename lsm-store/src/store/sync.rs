//! FLUSH: one sync for all who wait, and the marks that tell rot from a crash.

use std::sync::atomic::Ordering;

use super::inner::Inner;
use crate::error::Result;
use crate::id::Sequence;
use crate::journal::generation::GenerationFile;

impl Inner {
    /// Waits until every record up to `sequence` is on stable storage. Whoever comes while a sync runs shares the next.
    pub(super) fn sync_to(&self, sequence: Sequence) -> Result<()> {
        if self.synced.load(Ordering::Acquire) >= sequence.0 {
            return self.refuse_if_poisoned();
        }
        if self.early_writeback.note_sync(self.clock.monotonic()) {
            self.background.wake();
        }
        let _turn = self.sync_turn.lock();
        self.refuse_if_poisoned()?;
        if self.synced.load(Ordering::Acquire) >= sequence.0 {
            return Ok(());
        }
        if !self.written.wait(sequence) {
            return Err(self.poisoned());
        }
        self.sync_written()
    }

    /// Syncs everything written so far. The caller has the sync turn.
    fn sync_written(&self) -> Result<()> {
        let target = self.written.reached();
        let files = self.unsynced.lock().clone();
        for file in &files {
            file.sync().map_err(|error| self.poison(error))?;
        }
        // A generation is done with once its last record had been written before the sync: a batch that was placed in it
        // may still be on its way to the file when the next generation has long begun.
        if let Some(newest) = files.last() {
            let frozen = self.frozen_files.lock();
            let is_done = |file: &GenerationFile| {
                let last = frozen.get(&file.generation).map(|frozen| frozen.last);
                file.generation < newest.generation && last.is_none_or(|last| last <= target)
            };
            self.unsynced.lock().retain(|file| !is_done(file));
        }
        Self::raise(&self.synced, target);
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Syncs whatever has been written.
    pub(super) fn sync_all(&self) -> Result<()> {
        self.sync_to(self.written.reached())
    }

    /// Names the newest sync and the newest manifest commit in the journal, if nothing has been written since. True if it
    /// did.
    pub(super) fn mark_if_idle(&self) -> Result<bool> {
        let synced = self.synced.load(Ordering::Acquire);
        let manifest = self.manifest_sequence.load(Ordering::Acquire);
        let idle = self.written.reached().0 == synced;
        let named =
            self.marked.load(Ordering::Acquire) >= synced && self.marked_manifest.load(Ordering::Acquire) >= manifest;
        if !idle || named {
            return Ok(false);
        }
        self.append_mark()?;
        Self::raise(&self.marked, Sequence(synced));
        self.marked_manifest.fetch_max(manifest, Ordering::AcqRel);
        Ok(true)
    }
}
