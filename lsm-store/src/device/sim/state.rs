//! What one simulated device knows at a moment: its disk, its room, its locks, its script of faults, its recording.
//!
//! Each operation is counted, may be struck by a fault, is checked, and only then applied to the disk.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;

use super::change::SECTOR_BYTES;
use super::disk::{Disk, FileId, Operation, directory_of};
use super::fault::{Fault, Faults, OperationKind};
use crate::device::{LockMode, Space};
use crate::rng::SeededRng;

/// What files take room in.
const ROOM_UNIT_BYTES: u64 = 4096;

/// What a device without bound says its size is: 1 EiB.
const UNBOUNDED_BYTES: u64 = 1 << 60;

pub(super) struct State {
    pub(super) disk: Disk,
    pub(super) faults: Faults,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) locks: Locks,
    recording: Option<(Disk, Vec<Operation>)>,
    open_counts: BTreeMap<FileId, usize>,
    operation_counts: BTreeMap<OperationKind, u64>,
}

/// What a read has to do beside reading.
pub(super) enum ReadFault {
    Short,
    Slow(std::time::Duration),
}

#[derive(Default)]
pub(super) struct Locks {
    shared_count: usize,
    exclusive: bool,
}

impl Locks {
    pub(super) fn take(&mut self, mode: LockMode) -> io::Result<()> {
        match mode {
            _ if self.exclusive => return Err(io::ErrorKind::WouldBlock.into()),
            LockMode::Shared => self.shared_count += 1,
            LockMode::Exclusive if self.shared_count > 0 => return Err(io::ErrorKind::WouldBlock.into()),
            LockMode::Exclusive => self.exclusive = true,
        }
        Ok(())
    }

    pub(super) fn release(&mut self, mode: LockMode) {
        match mode {
            LockMode::Shared => self.shared_count -= 1,
            LockMode::Exclusive => self.exclusive = false,
        }
    }
}

impl State {
    pub(super) fn new(disk: Disk, faults: Faults, capacity_bytes: Option<u64>) -> Self {
        Self {
            disk,
            faults,
            capacity_bytes,
            locks: Locks::default(),
            recording: None,
            open_counts: BTreeMap::new(),
            operation_counts: BTreeMap::new(),
        }
    }

    pub(super) fn operation_count(&self) -> u64 {
        self.operation_counts.values().sum()
    }

    pub(super) fn operation_count_of(&self, kind: OperationKind) -> u64 {
        self.operation_counts.get(&kind).copied().unwrap_or(0)
    }

    pub(super) fn start_recording(&mut self) {
        self.recording = Some((self.disk.clone(), Vec::new()));
    }

    pub(super) fn recording(&self) -> (Disk, Vec<Operation>) {
        self.recording.clone().expect("a recording was started")
    }

    /// Does what has been checked, and records it.
    pub(super) fn apply(&mut self, operation: Operation) {
        self.disk.apply(&operation);
        if let Some((_, log)) = &mut self.recording {
            log.push(operation);
        }
    }

    fn strike(&mut self, kind: OperationKind, path: &str) -> Option<Fault> {
        *self.operation_counts.entry(kind).or_default() += 1;
        self.faults.strike(kind, path)
    }

    /// Counts an operation that fails as a whole if it is struck by an error.
    fn begin(&mut self, kind: OperationKind, path: &str) -> io::Result<Option<Fault>> {
        match self.strike(kind, path) {
            Some(Fault::Io) => Err(Errno::IO.into()),
            Some(Fault::NoSpace) => Err(Errno::NOSPC.into()),
            Some(Fault::NoDescriptor) => Err(Errno::MFILE.into()),
            other => Ok(other),
        }
    }

    pub(super) fn create_directory(&mut self, path: &str) -> io::Result<()> {
        self.begin(OperationKind::Create, path)?;
        self.apply(Operation::CreateDirectory { path: path.to_owned() });
        Ok(())
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<FileId> {
        self.begin(OperationKind::Create, path)?;
        self.check_directory(directory_of(path))?;
        if self.disk.lookup(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.apply(Operation::Create { path: path.to_owned() });
        self.opened(path)
    }

    pub(super) fn open(&mut self, path: &str) -> io::Result<FileId> {
        self.begin(OperationKind::Open, path)?;
        self.opened(path)
    }

    fn opened(&mut self, path: &str) -> io::Result<FileId> {
        let file = self.disk.lookup(path).ok_or(io::ErrorKind::NotFound)?;
        *self.open_counts.entry(file).or_default() += 1;
        Ok(file)
    }

    /// A handle is gone.
    pub(super) fn close(&mut self, file: FileId) {
        let count = self.open_counts.get_mut(&file).expect("an open file is counted");
        *count -= 1;
        if *count == 0 {
            self.open_counts.remove(&file);
            self.collect();
        }
    }

    fn collect(&mut self) {
        let open_counts = &self.open_counts;
        self.disk.collect(|file| open_counts.contains_key(&file));
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.begin(OperationKind::Rename, from)?;
        self.check_directory(directory_of(to))?;
        self.disk.lookup(from).ok_or(io::ErrorKind::NotFound)?;
        self.apply(Operation::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        self.begin(OperationKind::Remove, path)?;
        self.disk.lookup(path).ok_or(io::ErrorKind::NotFound)?;
        self.apply(Operation::Remove { path: path.to_owned() });
        Ok(())
    }

    pub(super) fn list(&mut self, directory: &str) -> io::Result<Vec<String>> {
        self.begin(OperationKind::List, directory)?;
        self.check_directory(directory)?;
        Ok(self.disk.list(directory))
    }

    pub(super) fn sync_directory(&mut self, path: &str) -> io::Result<()> {
        let fault = self.begin(OperationKind::SyncDirectory, path)?;
        self.check_directory(path)?;
        if fault != Some(Fault::Lost) {
            self.apply(Operation::SyncDirectory { path: path.to_owned() });
            self.collect();
        }
        Ok(())
    }

    fn check_directory(&self, path: &str) -> io::Result<()> {
        if self.disk.has_directory(path) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    pub(super) fn begin_read(&mut self, path: &str) -> io::Result<Option<ReadFault>> {
        Ok(match self.begin(OperationKind::Read, path)? {
            Some(Fault::ShortRead) => Some(ReadFault::Short),
            Some(Fault::Slow(delay)) => Some(ReadFault::Slow(delay)),
            _ => None,
        })
    }

    pub(super) fn write(
        &mut self,
        (file, path): (FileId, &str),
        data: &[u8],
        offset: u64,
        rng: &SeededRng,
    ) -> io::Result<()> {
        let end = offset + data.len() as u64;
        match self.strike(OperationKind::Write, path) {
            Some(Fault::Io) => self.fail_write(file, data, offset, rng, Errno::IO),
            Some(Fault::NoSpace) => self.fail_write(file, data, offset, rng, Errno::NOSPC),
            Some(Fault::Lost) => {
                self.apply(Operation::Grow { file, len: end });
                Ok(())
            }
            Some(Fault::Misdirected { path, offset }) => {
                self.apply(Operation::Grow { file, len: end });
                let victim = path.map(|path| self.disk.lookup(&path).expect("the file it lands in exists"));
                self.apply(Operation::Misdirected { file: victim.unwrap_or(file), offset, data: data.into() });
                Ok(())
            }
            _ => {
                let fitting = usize::try_from(self.room_end(file, end).saturating_sub(offset)).unwrap_or(usize::MAX);
                self.write_some(file, &data[..data.len().min(fitting)], offset);
                if fitting < data.len() { Err(Errno::NOSPC.into()) } else { Ok(()) }
            }
        }
    }

    fn write_some(&mut self, file: FileId, data: &[u8], offset: u64) {
        if !data.is_empty() {
            self.apply(Operation::Write { file, offset, data: data.into() });
        }
    }

    /// Leaves some of the sectors, as a call that was interrupted half way does.
    fn fail_write(&mut self, file: FileId, data: &[u8], offset: u64, rng: &SeededRng, error: Errno) -> io::Result<()> {
        let sectors = rng.below(data.len() as u64 / SECTOR_BYTES + 1);
        let done = usize::try_from(sectors * SECTOR_BYTES).expect("no more than was to be written");
        self.write_some(file, &data[..done], offset);
        Err(error.into())
    }

    pub(super) fn sync(&mut self, file: FileId, path: &str) -> io::Result<()> {
        match self.begin(OperationKind::Sync, path)? {
            Some(Fault::DropDirty) => {
                self.apply(Operation::DropDirty { file });
                Err(Errno::IO.into())
            }
            Some(Fault::Lost) => Ok(()),
            _ => {
                self.apply(Operation::Sync { file });
                Ok(())
            }
        }
    }

    pub(super) fn set_len(&mut self, file: FileId, path: &str, len: u64) -> io::Result<()> {
        self.begin(OperationKind::SetLen, path)?;
        self.check_room(file, len)?;
        self.apply(Operation::SetLen { file, len });
        Ok(())
    }

    pub(super) fn allocate(&mut self, file: FileId, path: &str, end: u64) -> io::Result<()> {
        self.begin(OperationKind::Allocate, path)?;
        self.check_room(file, end)?;
        self.apply(Operation::Grow { file, len: end });
        Ok(())
    }

    fn check_room(&self, file: FileId, end: u64) -> io::Result<()> {
        if self.room_end(file, end) < end { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    /// How far towards `end` the file may reach.
    fn room_end(&self, file: FileId, end: u64) -> u64 {
        let owned = room(self.disk.len(file));
        if end <= owned {
            return end;
        }
        let available = self.space().available_bytes;
        end.min(owned + available / ROOM_UNIT_BYTES * ROOM_UNIT_BYTES)
    }

    /// Files with a name or a handle take room.
    pub(super) fn space(&self) -> Space {
        let mut files = self.disk.named();
        files.extend(self.open_counts.keys());
        let used: u64 = files.iter().map(|&file| room(self.disk.len(file))).sum();
        let total_bytes = self.capacity_bytes.unwrap_or(UNBOUNDED_BYTES);
        Space { total_bytes, available_bytes: total_bytes.saturating_sub(used) }
    }
}

fn room(len: u64) -> u64 {
    len.next_multiple_of(ROOM_UNIT_BYTES)
}
