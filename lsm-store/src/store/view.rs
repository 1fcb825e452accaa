//! What readers see at one moment: the memtables, newest first, and the map's version below them.
//!
//! Immutable: a rotation or a finished flush job puts a new view in its place, so that a reader never sees a block in
//! neither or a gap between the two.

use std::sync::Arc;

use crate::id::{Generation, Sequence};
use crate::map::version::Version;
use crate::memtable::Memtable;

/// The parts of the store that answer reads.
#[derive(Clone)]
pub(super) struct View {
    active: Arc<Memtable>,
    /// Newest first.
    frozen: Vec<Arc<Memtable>>,
    pub(super) version: Arc<Version>,
    /// Every record up to this sequence is in the version and no longer in a memtable.
    pub(super) flushed: Sequence,
}

impl View {
    /// A view without frozen memtables.
    pub(super) fn new(active: Arc<Memtable>, version: Arc<Version>) -> Self {
        let flushed = Sequence(active.first().0 - 1);
        Self { active, frozen: Vec::new(), version, flushed }
    }

    /// The frozen memtables, newest first.
    pub(super) fn frozen(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        self.frozen.iter()
    }

    /// All memtables, newest first.
    pub(super) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.active).chain(&self.frozen)
    }

    /// The memtable that has to be flushed next.
    pub(super) fn oldest_frozen(&self) -> Option<&Arc<Memtable>> {
        self.frozen.last()
    }

    /// The view after a rotation.
    pub(super) fn rotated(&self, active: Arc<Memtable>) -> Self {
        let mut frozen = Vec::with_capacity(self.frozen.len() + 1);
        frozen.push(Arc::clone(&self.active));
        frozen.extend(self.frozen.iter().cloned());
        Self { active, frozen, version: Arc::clone(&self.version), flushed: self.flushed }
    }

    /// The view after a memtable's content, up to record `last`, went into the map.
    pub(super) fn after_flush(&self, generation: Generation, last: Sequence, version: Arc<Version>) -> Self {
        let frozen = self.frozen.iter().filter(|memtable| memtable.generation() != generation).cloned().collect();
        Self { active: Arc::clone(&self.active), frozen, version, flushed: last }
    }

    /// The view with another version of the map, of the same content.
    pub(super) fn with_version(&self, version: Arc<Version>) -> Self {
        Self { version, ..self.clone() }
    }
}
