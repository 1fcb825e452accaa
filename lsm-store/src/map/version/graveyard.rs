//! Runs that no version names any more but somebody may still be reading.

use std::sync::{Arc, Weak};

use super::{Edit, Version};
use crate::id::RunId;
use crate::map::Run;

/// Keeps replaced runs until their last reader is done. Run files are opened on demand, so a file is deleted only when
/// nobody can want to open it again.
#[derive(Default)]
pub struct Graveyard {
    runs: Vec<(RunId, Weak<Run>)>,
}

impl Graveyard {
    /// Takes the runs that `edit` removed from `old` for good. Call after the manifest edit is durable.
    pub fn bury(&mut self, old: &Version, edit: &Edit) {
        let moved = |id: RunId| edit.added.iter().any(|(_, run)| run.id() == id);
        for (_, run) in old.runs().filter(|(_, run)| edit.removed.contains(&run.id()) && !moved(run.id())) {
            self.runs.push((run.id(), Arc::downgrade(run)));
        }
    }

    /// Runs that nobody can read any more; each is returned once, and the caller deletes its file. Call after versions
    /// were dropped, for instance at every flush.
    pub fn take_unread(&mut self) -> Vec<RunId> {
        let mut unread = Vec::new();
        self.runs.retain(|(id, run)| {
            let read = run.strong_count() > 0;
            if !read {
                unread.push(*id);
            }
            read
        });
        unread
    }

    /// How many wait for their readers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// True if none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}
