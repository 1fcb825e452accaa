//! The state of a simulated disk as a value: what programs see, what is stable, and the changes in between.
//!
//! A [`Disk`] changes by [`Operation`]s only, which depend on nothing else, so a log of them can be played again. Changes
//! that were not synced wait in one list in the order they were made; a crash is a choice of those that survive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::change::{Change, NamesChange, SECTOR_BYTES, Verdict, keep_foundations};
use super::content::Content;

/// A file, whatever its names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub(super) struct FileId(u64);

/// A step of a disk's history.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    CreateDirectory { path: String },
    Create { path: String },
    Rename { from: String, to: String },
    Remove { path: String },
    SyncDirectory { path: String },
    Write { file: FileId, offset: u64, data: Arc<[u8]> },
    Misdirected { file: FileId, offset: u64, data: Arc<[u8]> },
    SetLen { file: FileId, len: u64 },
    Grow { file: FileId, len: u64 },
    Sync { file: FileId },
    DropDirty { file: FileId },
    FlipBit { file: FileId, offset: u64, bit: u8 },
    Note(u64),
}

#[derive(Clone, Default)]
struct FileState {
    /// What a power cut leaves.
    stable: Content,
    /// `stable` with all pending changes.
    written: Content,
    /// What buffered reads see, if that is not `written`: after a failed sync.
    cached: Option<Content>,
}

#[derive(Clone, Default)]
pub(super) struct Disk {
    files: BTreeMap<FileId, FileState>,
    directories: BTreeSet<String>,
    names: BTreeMap<String, FileId>,
    stable_names: BTreeMap<String, FileId>,
    pending: Vec<Change>,
    next_file: u64,
}

/// The directory of a path; `""` is the top.
pub(super) fn directory_of(path: &str) -> &str {
    path.split_once('/').map_or("", |(directory, _)| directory)
}

impl Disk {
    pub(super) fn lookup(&self, path: &str) -> Option<FileId> {
        self.names.get(path).copied()
    }

    pub(super) fn has_directory(&self, path: &str) -> bool {
        path.is_empty() || self.directories.contains(path)
    }

    /// Names in a directory, sorted.
    pub(super) fn list(&self, directory: &str) -> Vec<String> {
        let within = self.names.keys().filter(|path| directory_of(path) == directory);
        within.map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()).collect()
    }

    /// All paths, sorted.
    pub(super) fn paths(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn len(&self, file: FileId) -> u64 {
        self.file(file).seen(false).len()
    }

    /// Reads what buffered or direct reads see.
    pub(super) fn read(&self, file: FileId, direct: bool, buf: &mut [u8], offset: u64) {
        self.file(file).seen(direct).read(buf, offset);
    }

    pub(super) fn pending(&self) -> &[Change] {
        &self.pending
    }

    /// Files that have a name now.
    pub(super) fn named(&self) -> BTreeSet<FileId> {
        self.names.values().copied().collect()
    }

    /// Forgets files without a name now or after any crash, except those in `open`.
    pub(super) fn collect(&mut self, open: impl Fn(FileId) -> bool) {
        let mut kept: BTreeSet<FileId> = self.names.values().chain(self.stable_names.values()).copied().collect();
        kept.extend(self.pending.iter().filter_map(|change| match change {
            Change::Names(_) => Some(change.file()),
            _ => None,
        }));
        self.files.retain(|&file, _| kept.contains(&file) || open(file));
        let files = &self.files;
        self.pending.retain(|change| files.contains_key(&change.file()));
    }

    fn file(&self, file: FileId) -> &FileState {
        self.files.get(&file).expect("a file that is named or open exists")
    }

    fn file_mut(&mut self, file: FileId) -> &mut FileState {
        self.files.get_mut(&file).expect("a file that is named or open exists")
    }

    /// Carries out a step whose conditions (the names exist or do not, there is room) have been checked.
    pub(super) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::CreateDirectory { path } => {
                self.directories.insert(path.clone());
            }
            Operation::Create { path } => self.create(path),
            Operation::Rename { from, to } => self.rename(from, to),
            Operation::Remove { path } => {
                let file = self.names[path];
                self.change_names(file, vec![(path.clone(), None)]);
            }
            Operation::SyncDirectory { path } => self.sync_directory(path),
            Operation::Write { file, offset, data } => self.write(*file, *offset, data),
            Operation::Misdirected { file, offset, data } => self.misdirect(*file, *offset, data),
            Operation::SetLen { file, len } => self.set_len(*file, *len),
            Operation::Grow { file, len } => self.grow(*file, *len),
            Operation::Sync { file } => self.sync(*file),
            Operation::DropDirty { file } => self.drop_dirty(*file),
            Operation::FlipBit { file, offset, bit } => self.flip_bit(*file, *offset, *bit),
            Operation::Note(_) => {}
        }
    }

    fn create(&mut self, path: &str) {
        let file = FileId(self.next_file);
        self.next_file += 1;
        self.files.insert(file, FileState::default());
        self.change_names(file, vec![(path.to_owned(), Some(file))]);
    }

    fn rename(&mut self, from: &str, to: &str) {
        let file = self.names[from];
        if from != to {
            self.change_names(file, vec![(from.to_owned(), None), (to.to_owned(), Some(file))]);
        }
    }

    fn change_names(&mut self, file: FileId, effects: Vec<(String, Option<FileId>)>) {
        let change = NamesChange::new(file, effects);
        change.apply(&mut self.names);
        self.pending.push(Change::Names(change));
    }

    /// Makes the changes of names in a directory stable, and with them the earlier ones they build on.
    fn sync_directory(&mut self, directory: &str) {
        let mut durable = vec![Verdict::Lost; self.pending.len()];
        for (change, durable) in self.pending.iter_mut().zip(&mut durable) {
            if let Change::Names(names) = change
                && names.sync_directory(directory)
            {
                *durable = Verdict::Kept;
            }
        }
        keep_foundations(&self.pending, &mut durable);
        let mut durable = durable.into_iter();
        let stable_names = &mut self.stable_names;
        self.pending.retain(|change| match (durable.next(), change) {
            (Some(Verdict::Kept), Change::Names(names)) => {
                names.apply(stable_names);
                false
            }
            _ => true,
        });
    }

    fn write(&mut self, file: FileId, offset: u64, data: &Arc<[u8]>) {
        let data_end = offset + data.len() as u64;
        if data_end > self.len(file) {
            self.grow(file, data_end);
        }
        let start = offset / SECTOR_BYTES * SECTOR_BYTES;
        let sectors = self.file(file).sectors(start, offset, data);
        let change = Change::Data { file, offset: start, sectors, data_end };
        self.file_mut(file).see(&change);
        self.pending.push(change);
    }

    fn misdirect(&mut self, file: FileId, offset: u64, data: &[u8]) {
        for content in self.file_mut(file).views() {
            let room = usize::try_from(content.len().saturating_sub(offset)).unwrap_or(usize::MAX);
            content.write(&data[..data.len().min(room)], offset.min(content.len()));
        }
    }

    fn set_len(&mut self, file: FileId, len: u64) {
        if len < self.len(file) {
            self.push_seen(Change::Cut { file, len });
        } else {
            self.grow(file, len);
        }
    }

    fn grow(&mut self, file: FileId, len: u64) {
        if len > self.len(file) {
            self.push_seen(Change::Grow { file, len });
        }
    }

    fn push_seen(&mut self, change: Change) {
        self.file_mut(change.file()).see(&change);
        self.pending.push(change);
    }

    fn sync(&mut self, file: FileId) {
        let stable = &mut self.files.get_mut(&file).expect("a file that is named or open exists").stable;
        self.pending.retain(|change| {
            let synced = change.is_in(file);
            if synced {
                change.apply(stable, &Verdict::Kept);
            }
            !synced
        });
    }

    /// Data goes, the file's length stays: it is metadata, which the file system still has.
    fn drop_dirty(&mut self, file: FileId) {
        self.pending.retain(|change| !matches!(change, Change::Data { file: of, .. } if *of == file));
        let mut written = self.file(file).stable.clone();
        for change in self.pending.iter().filter(|change| change.is_in(file)) {
            change.apply(&mut written, &Verdict::Kept);
        }
        let state = self.file_mut(file);
        let seen = std::mem::replace(&mut state.written, written);
        state.cached.get_or_insert(seen);
    }

    /// A sector with a pending write is bad on the disk only, until the write reaches it.
    fn flip_bit(&mut self, file: FileId, offset: u64, bit: u8) {
        let covered = self.pending.iter().any(|change| match change {
            Change::Data { file: of, offset: start, sectors, .. } => {
                *of == file && (*start..*start + sectors.len() as u64).contains(&offset)
            }
            _ => false,
        });
        let state = self.file_mut(file);
        state.stable.flip_bit(offset, bit);
        if !covered {
            state.written.flip_bit(offset, bit);
            if let Some(cached) = &mut state.cached {
                cached.flip_bit(offset, bit);
            }
        }
    }

    /// The disk after a power cut that left of each pending change what its verdict says.
    pub(super) fn after_crash(&self, verdicts: &[Verdict]) -> Self {
        let mut disk = self.clone();
        for (change, verdict) in self.pending.iter().zip(verdicts) {
            match change {
                Change::Names(names) if *verdict == Verdict::Kept => names.apply(&mut disk.stable_names),
                Change::Names(_) => {}
                change => change.apply(&mut disk.file_mut(change.file()).stable, verdict),
            }
        }
        disk.pending.clear();
        disk.names.clone_from(&disk.stable_names);
        for state in disk.files.values_mut() {
            state.written.clone_from(&state.stable);
            state.cached = None;
        }
        disk.collect(|_| false);
        disk
    }
}

impl FileState {
    fn seen(&self, direct: bool) -> &Content {
        match &self.cached {
            Some(cached) if !direct => cached,
            _ => &self.written,
        }
    }

    /// Makes a change visible.
    fn see(&mut self, change: &Change) {
        change.apply(&mut self.written, &Verdict::Kept);
        if let Some(cached) = &mut self.cached {
            change.apply(cached, &Verdict::Kept);
        }
    }

    fn views(&mut self) -> impl Iterator<Item = &mut Content> {
        [&mut self.stable, &mut self.written].into_iter().chain(&mut self.cached)
    }

    /// The sectors from `start` that a write of `data` at `offset` leaves in memory.
    fn sectors(&self, start: u64, offset: u64, data: &Arc<[u8]>) -> Arc<[u8]> {
        let end = (offset + data.len() as u64).next_multiple_of(SECTOR_BYTES);
        if start == offset && end - start == data.len() as u64 {
            return Arc::clone(data);
        }
        let len = usize::try_from(end - start).expect("a write fits into memory");
        let mut sectors = vec![0; len];
        self.seen(false).read(&mut sectors, start);
        let within = usize::try_from(offset - start).expect("an offset within a sector");
        sectors[within..within + data.len()].copy_from_slice(data);
        sectors.into()
    }
}
