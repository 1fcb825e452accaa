//! What the owner of a log shares with those who sync and read it in other threads.
//!
//! Syncs are one at a time: a failure of one is told once, and nobody may take the next one's success for its own.

use std::collections::VecDeque;
use std::sync::Arc;

use lsm_store::device::{Device, File};
use net::id::Lsn;
use parking_lot::Mutex;

use super::error::{LogError, Result};
use super::frame::Sequence;
use super::index::{Index, Indexed};
use super::place::{FileNumber, Place};

/// An open file of a log.
pub(super) struct LogFile {
    pub(super) number: FileNumber,
    pub(super) path: String,
    pub(super) file: Arc<dyn File>,
}

/// A file that a log has, with its length.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) file: Arc<LogFile>,
    pub(super) bytes: u64,
}

/// What a log has, as seen by all its handles.
pub(super) struct Contents {
    is_failed: bool,
    /// Up to here frames were handed to the kernel.
    handed: Sequence,
    /// Up to here they are durable.
    synced: Sequence,
    /// Files up to here have durable names.
    named: FileNumber,
    /// Files below are durable as a whole.
    whole: FileNumber,
    /// Ascending, never empty: frames go into the last one.
    pub(super) files: VecDeque<Held>,
    pub(super) index: Index,
}

impl Contents {
    /// What is there is all durable.
    pub(super) fn new(files: VecDeque<Held>, index: Index, synced: Sequence) -> Self {
        let last = files.back().expect("a log has a file").file.number;
        Self { is_failed: false, handed: synced, synced, named: last, whole: last, files, index }
    }

    /// The file that frames go into.
    pub(super) fn last(&self) -> &Arc<LogFile> {
        &self.files.back().expect("a log has a file").file
    }

    /// The open file of this number, if the log has it.
    pub(super) fn file(&self, number: FileNumber) -> Option<&Arc<LogFile>> {
        let first = self.files.front().expect("a log has a file").file.number;
        let index = usize::try_from(number.0.checked_sub(first.0)?).ok()?;
        self.files.get(index).map(|held| &held.file)
    }

    /// Notes that frames up to `last` were handed to the kernel, what they do, and how long their file is.
    pub(super) fn hand(&mut self, last: Sequence, file_bytes: u64, changes: &[Indexed]) {
        self.handed = last;
        self.files.back_mut().expect("a log has a file").bytes = file_bytes;
        changes.iter().for_each(|change| self.index.apply(change));
    }

    /// Adds the file that frames go into from now on.
    pub(super) fn begin(&mut self, file: Held) {
        self.files.push_back(file);
    }

    /// Adds the file that frames go into from now on, and which is durable with all before it.
    pub(super) fn begin_anew(&mut self, file: Held, end: Lsn) {
        (self.named, self.whole) = (file.file.number, file.file.number);
        self.files.push_back(file);
        self.index = Index::new(end);
    }

    /// The path of the first file, if it is so long and nobody else has it open.
    pub(super) fn recyclable(&self, file_bytes: u64) -> Option<String> {
        let first = self.files.front().expect("a log has a file");
        (first.bytes == file_bytes && Arc::strong_count(&first.file) == 1).then(|| first.file.path.clone())
    }

    /// Forgets the first file, which was removed.
    pub(super) fn drop_first(&mut self) {
        assert!(self.files.len() > 1, "the file that frames go into stays");
        self.files.pop_front();
        let first = self.files[0].file.number;
        self.index.forget_before(first);
    }

    /// Up to here frames are durable.
    pub(super) fn synced(&self) -> Sequence {
        self.synced
    }

    /// True if the name of every file is durable.
    pub(super) fn is_named(&self) -> bool {
        self.named >= self.last().number
    }

    /// Notes that the files up to `last` have durable names, and those before it are durable as a whole; with frames up
    /// to `synced`.
    fn note_synced(&mut self, last: FileNumber, synced: Sequence) {
        self.named = self.named.max(last);
        self.whole = self.whole.max(last);
        self.synced = self.synced.max(synced);
    }
}

/// A log as all its handles have it.
pub(super) struct Shared {
    pub(super) device: Arc<dyn Device>,
    pub(super) place: Place,
    contents: Mutex<Contents>,
    syncing: Mutex<()>,
}

impl Shared {
    pub(super) fn new(device: Arc<dyn Device>, place: Place, contents: Contents) -> Self {
        Self { device, place, contents: Mutex::new(contents), syncing: Mutex::new(()) }
    }

    /// Looks at or changes what the log has, unless the log has failed.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Contents) -> T) -> Result<T> {
        let mut contents = self.contents.lock();
        if contents.is_failed { Err(LogError::Failed) } else { Ok(change(&mut contents)) }
    }

    /// Looks at what the log has, even if it has failed.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Contents) -> T) -> T {
        look(&self.contents.lock())
    }

    /// The result of a write or a sync, after which the log has failed if it is not `Ok`, except for want of room.
    pub(super) fn settle<T>(&self, result: Result<T>) -> Result<T> {
        if result.as_ref().is_err_and(|error| !error.is_full()) {
            self.contents.lock().is_failed = true;
        }
        result
    }

    /// Makes durable what was handed to the kernel before the call.
    pub(super) fn sync(&self) -> Result<()> {
        let _one = self.syncing.lock();
        let (files, is_named, target) = self.with(|contents| {
            let is_synced = contents.synced >= contents.handed && contents.is_named();
            let unsynced = contents.files.iter().map(|held| &held.file).filter(|file| file.number >= contents.whole);
            let files: Vec<_> = if is_synced { Vec::new() } else { unsynced.map(Arc::clone).collect() };
            (files, contents.is_named(), contents.handed)
        })?;
        let Some(last) = files.last() else { return Ok(()) };
        self.settle(self.sync_files(&files, is_named))?;
        self.with(|contents| contents.note_synced(last.number, target))
    }

    /// Makes the names of files durable, before there is another one.
    pub(super) fn sync_names(&self) -> Result<()> {
        let (last, is_named) = self.with(|contents| (contents.last().number, contents.is_named()))?;
        if !is_named {
            self.settle(self.place.sync(&*self.device))?;
            self.with(|contents| contents.named = contents.named.max(last))?;
        }
        Ok(())
    }

    fn sync_files(&self, files: &[Arc<LogFile>], is_named: bool) -> Result<()> {
        for file in files {
            file.file.sync_data().map_err(|error| LogError::io("syncing", &file.path, error))?;
        }
        if is_named { Ok(()) } else { self.place.sync(&*self.device) }
    }
}
