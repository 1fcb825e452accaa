//! A run: an immutable sorted piece of the map in a file of its own (`docs/disk-format/runs.md`).
//!
//! A run has two sections of pages. *Entries* are what was written; *ranges* are huge trims and zeroings, kept whole so
//! that trimming a terabyte costs one entry. Where the two overlap, the newer layer counts, and of one layer the entry.
//! Within a section stretches are in order, and either lie apart or are versions of the same blocks.

mod files;
pub(super) mod format;
mod index;
pub(super) mod reader;
mod summary;
mod verify;
mod walk;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::filter::{Filter, FilterKeys};
use super::merge::Source;
use super::{Key, Stretch};
use crate::error::{Error, Result};
use crate::id::{BlockIndex, LayerId, RunId};
use crate::layers::Lineage;
pub use files::{RunFiles, RunLimits};
use reader::SectionStream;
pub use verify::Damage;
use walk::{Step, Walk};
pub use writer::RunWriter;

/// The directory of the runs.
pub const DIRECTORY: &str = "runs";

/// A trim or zeroing of more blocks than this is kept as a range.
pub const RANGE_BLOCKS_MIN: u64 = 4096;

/// Path of a run's file: 16 hexadecimal digits in [`DIRECTORY`].
#[must_use]
pub fn path(id: RunId) -> String {
    format!("{DIRECTORY}/{:016x}", id.0)
}

/// What the manifest knows of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunMeta {
    /// The run; also names its file.
    pub id: RunId,
    /// Where the run stands in its version: 0 for runs of flush jobs, deeper is older.
    pub level: u8,
    /// Length of the file in bytes, a multiple of 4096.
    pub bytes: u64,
    /// Pages of entries.
    pub entry_pages: u32,
    /// Pages of ranges.
    pub range_pages: u32,
    /// Stretches among the entries.
    pub entries: u64,
    /// Stretches among the ranges.
    pub ranges: u64,
    /// Blocks that the entries cover, each as often as it has versions.
    pub blocks: u64,
    /// The first block the run knows, by an entry or a range.
    pub first: Key,
    /// The last block the run knows.
    pub last: Key,
    /// The smallest id of a layer in it.
    pub layer_min: LayerId,
    /// The largest.
    pub layer_max: LayerId,
}

impl RunMeta {
    /// True if the run may know a block in `[first, last]`.
    #[must_use]
    pub fn overlaps(&self, first: Key, last: Key) -> bool {
        self.first <= last && first <= self.last
    }
}

/// One of the two sections of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Section {
    Entries,
    Ranges,
}

/// Why a lookup stopped.
pub(super) enum Stop {
    /// It failed.
    Failed(Error),
    /// It would have had to wait for the device, and was told not to.
    WouldBlock,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Whether a lookup may wait for the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    Wait,
    CachedOnly,
}

/// A run that can be read. Reading opens the file; making one of these does not.
pub struct Run {
    meta: RunMeta,
    files: Arc<RunFiles>,
    filter: OnceLock<Filter>,
    /// Searches that a filter might have saved; see [`Run::earns_filter`].
    searches: AtomicU64,
}

impl Run {
    /// The run that `meta` describes, to be read from `files`.
    #[must_use]
    pub fn new(files: Arc<RunFiles>, meta: RunMeta) -> Arc<Self> {
        Arc::new(Self { meta, files, filter: OnceLock::new(), searches: AtomicU64::new(0) })
    }

    /// What the run was when it was made; [`RunMeta::level`] is the level it was written for, and a
    /// [`super::Version`] may have moved it since.
    #[must_use]
    pub fn meta(&self) -> &RunMeta {
        &self.meta
    }

    /// Shorthand for the id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.meta.id
    }

    /// Segments that the entries name, in order, with how many blocks each; ranks the collector's victims.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Io`]; the collector then takes the run to name every segment.
    pub fn summary(&self) -> Result<Vec<(crate::id::SegmentId, u64)>> {
        self.files.summary(&self.meta)
    }

    /// False only if no entry of the run covers `key`.
    pub(super) fn may_contain(&self, key: Key) -> bool {
        match self.filter.get() {
            Some(filter) => filter.may_contain(key),
            None => {
                self.searches.fetch_add(1, Ordering::Relaxed);
                true
            }
        }
    }

    /// True once the run has been searched without a filter as often as it has pages: making one costs about as much.
    pub(super) fn earns_filter(&self) -> bool {
        self.filter.get().is_none() && self.searches.load(Ordering::Relaxed) > u64::from(self.meta.entry_pages)
    }

    /// Reads the run and builds its filter, if the budget has room for it.
    pub(super) fn build_filter(self: &Arc<Self>, level: u8) -> Result<()> {
        let mut keys = FilterKeys::default();
        let (mut entries, mut batch) = (SectionStream::new(self.clone(), Section::Entries, None), Vec::new());
        while entries.next_batch(&mut batch)? {
            batch.iter().for_each(|stretch| keys.add(stretch));
        }
        self.searches.store(0, Ordering::Relaxed);
        self.install_filter(keys, level);
        Ok(())
    }

    fn install_filter(&self, keys: FilterKeys, level: u8) {
        if let Some(filter) = keys.build(self.files.filters(), level) {
            // Two threads may have built it; one filter is as good as the other.
            let _ = self.filter.set(filter);
        }
    }

    /// Pages of a section, as numbers in the file.
    pub(super) fn pages(&self, section: Section) -> std::ops::Range<u32> {
        let entries_end = 1 + self.meta.entry_pages;
        match section {
            Section::Entries => 1..entries_end,
            Section::Ranges => entries_end..entries_end + self.meta.range_pages,
        }
    }

    /// What a lineage sees of a block in a section: the newest version among its layers, if there is one.
    pub(super) fn find(
        &self,
        section: Section,
        lineage: &Lineage,
        block: BlockIndex,
        patience: Patience,
    ) -> Result<Option<Stretch>, Stop> {
        let mut found = None;
        let walk = Walk::new(lineage, block, block.next());
        self.walk(section, walk, patience, |stretch| found = Some(stretch))?;
        Ok(found)
    }

    /// Appends what a lineage sees of `[from, to)` in a section to `out`: one version of each block, in order, clipped.
    pub(super) fn collect(
        &self,
        section: Section,
        lineage: &Lineage,
        (from, to): (BlockIndex, BlockIndex),
        patience: Patience,
        out: &mut Vec<Stretch>,
    ) -> Result<(), Stop> {
        self.walk(section, Walk::new(lineage, from, to), patience, |stretch| out.extend(stretch.clip(from, to)))
    }

    /// Goes through a section's pages for a walk.
    fn walk(
        &self,
        section: Section,
        mut walk: Walk<'_>,
        patience: Patience,
        mut sink: impl FnMut(Stretch),
    ) -> Result<(), Stop> {
        let pages = self.pages(section);
        if pages.is_empty() {
            return Ok(());
        }
        let index = self.files.index(self, patience)?;
        let mut number = index.page_near(pages.clone(), walk.place());
        loop {
            let bytes = self.files.page(self, number, patience)?;
            let is_first = number == pages.start;
            match walk.through(self.files.parse(self, number, &bytes)?, is_first, &mut sink) {
                Step::Done => return Ok(()),
                Step::Back => number = index.page_near(pages.clone(), walk.place()),
                Step::On => {
                    number = index.page_near(pages.clone(), walk.place()).max(number + 1);
                    if number >= pages.end || index.first_of(number).is_none_or(|first| walk.is_beyond(first.key)) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
