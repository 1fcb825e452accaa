//! Changes to a simulated disk that are not stable yet, and what a crash makes of them.
//!
//! A pending write holds whole sectors as they were in memory after it, because that is what a disk gets to see: a sector
//! never holds a later write without an earlier one to the same sector. Names change in order where they have a name or a
//! file in common, as on every journalled file system.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::content::Content;
use super::disk::{FileId, directory_of};

/// What a disk writes whole or not at all.
pub(super) const SECTOR_BYTES: u64 = 512;

/// A change that a crash may undo.
#[derive(Clone)]
pub(super) enum Change {
    /// Sectors from `offset`; the file's data ends at `data_end` at least if the last of them survives.
    Data { file: FileId, offset: u64, sectors: Arc<[u8]>, data_end: u64 },
    /// The file has at least this length.
    Grow { file: FileId, len: u64 },
    /// The file has at most this length.
    Cut { file: FileId, len: u64 },
    /// What names stand for; all of it or nothing.
    Names(NamesChange),
}

#[derive(Clone)]
pub(super) struct NamesChange {
    effects: Vec<(String, Option<FileId>)>,
    file: FileId,
    unsynced_directories: BTreeSet<String>,
}

/// What a crash leaves of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Lost,
    Kept,
    /// Of a write, these sectors.
    Torn(Vec<bool>),
}

/// Loses every change of names that builds on a lost one.
pub(super) fn lose_orphans(pending: &[Change], verdicts: &mut [Verdict]) {
    for later in (0..pending.len()).filter(|&later| matches!(pending[later], Change::Names(_))) {
        let orphan =
            (0..later).any(|earlier| verdicts[earlier] == Verdict::Lost && pending[later].builds_on(&pending[earlier]));
        if orphan {
            verdicts[later] = Verdict::Lost;
        }
    }
}

/// Keeps every change of names that a kept one builds on.
pub(super) fn keep_foundations(pending: &[Change], verdicts: &mut [Verdict]) {
    for later in (0..pending.len()).rev().filter(|&later| matches!(pending[later], Change::Names(_))) {
        if verdicts[later] != Verdict::Kept {
            continue;
        }
        for earlier in 0..later {
            if pending[later].builds_on(&pending[earlier]) {
                verdicts[earlier] = Verdict::Kept;
            }
        }
    }
}

impl Change {
    pub(super) fn file(&self) -> FileId {
        match self {
            Self::Data { file, .. } | Self::Grow { file, .. } | Self::Cut { file, .. } => *file,
            Self::Names(names) => names.file,
        }
    }

    /// Whether it changes the content or the length of `file`.
    pub(super) fn is_in(&self, file: FileId) -> bool {
        !matches!(self, Self::Names(_)) && self.file() == file
    }

    /// Sectors that can survive one by one.
    pub(super) fn sector_count(&self) -> usize {
        match self {
            Self::Data { sectors, .. } => sectors.len() / SECTOR_BYTES as usize,
            _ => 1,
        }
    }

    /// Whether a file system orders it after `earlier`: two changes of the same name or of the same file's names.
    fn builds_on(&self, earlier: &Self) -> bool {
        let (Self::Names(later), Self::Names(earlier)) = (self, earlier) else { return false };
        let shares_name = later.effects.iter().any(|(path, _)| earlier.effects.iter().any(|(other, _)| path == other));
        shares_name || later.file == earlier.file
    }

    /// Does what `verdict` leaves of a change of content to `content`.
    pub(super) fn apply(&self, content: &mut Content, verdict: &Verdict) {
        match (self, verdict) {
            (_, Verdict::Lost) | (Self::Names(_), _) => {}
            (Self::Grow { len, .. }, _) => content.grow(*len),
            (Self::Cut { len, .. }, _) => content.set_len(content.len().min(*len)),
            (Self::Data { offset, sectors, data_end, .. }, Verdict::Kept) => {
                write_sectors(content, sectors, *offset, *data_end);
            }
            (Self::Data { offset, sectors, data_end, .. }, Verdict::Torn(survivors)) => {
                let pieces = sectors.chunks(SECTOR_BYTES as usize).zip(survivors).enumerate();
                for (index, (sector, _)) in pieces.filter(|(_, (_, survives))| **survives) {
                    write_sectors(content, sector, *offset + index as u64 * SECTOR_BYTES, *data_end);
                }
            }
        }
    }
}

/// Writes whole sectors; the zeros behind the end of the data do not make the file longer.
fn write_sectors(content: &mut Content, sectors: &[u8], offset: u64, data_end: u64) {
    let len = content.len().max((offset + sectors.len() as u64).min(data_end));
    content.write(sectors, offset);
    content.set_len(len);
}

impl NamesChange {
    pub(super) fn new(file: FileId, effects: Vec<(String, Option<FileId>)>) -> Self {
        let unsynced_directories = effects.iter().map(|(path, _)| directory_of(path).to_owned()).collect();
        Self { effects, file, unsynced_directories }
    }

    /// Notes that a directory was synced; true if no other one of the change's is left.
    pub(super) fn sync_directory(&mut self, directory: &str) -> bool {
        self.unsynced_directories.remove(directory);
        self.unsynced_directories.is_empty()
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        for (path, file) in &self.effects {
            match file {
                Some(file) => names.insert(path.clone(), *file),
                None => names.remove(path),
            };
        }
    }
}
