//! A disk in memory for tests. It forgets what was not synced when it crashes, or keeps any part of it, cut at sectors; who
//! had it open before the crash can do no more with it. It can be told to fail a sync.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
struct Contents {
    synced: Vec<u8>,
    written: Vec<u8>,
    pending: Vec<Write>,
    incarnation: u64,
    syncs: u64,
    fail_sync: Option<u64>,
    is_losing_power: bool,
}

#[derive(Clone, Debug)]
enum Write {
    Length(u64),
    Data(u64, Vec<u8>),
}

/// The disk. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<Contents>>);

/// The disk as one process has it open.
#[derive(Debug)]
pub(super) struct Opened {
    disk: Disk,
    incarnation: u64,
}

impl Disk {
    /// Opens it; whoever had it open before has it no more.
    pub(super) fn open(&self) -> Opened {
        let mut contents = self.lock();
        contents.incarnation += 1;
        Opened { disk: self.clone(), incarnation: contents.incarnation }
    }

    /// Cuts the power. What was synced stays; of what was not, `keep` decides sector by sector.
    pub(super) fn crash(&self, mut keep: impl FnMut() -> bool) {
        let mut contents = self.lock();
        let pending = std::mem::take(&mut contents.pending);
        for write in pending {
            apply(&mut contents.synced, &write, &mut keep);
        }
        contents.written = contents.synced.clone();
        contents.incarnation += 1;
        contents.is_losing_power = false;
    }

    /// How many syncs there were.
    pub(super) fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// The sync after `more` others fails, and keeps nothing.
    pub(super) fn fail_sync_after(&self, more: u64) {
        let mut contents = self.lock();
        contents.fail_sync = Some(contents.syncs + more + 1);
    }

    /// The next sync is the last thing that happens, and does not end: what it was to sync may be kept or not.
    pub(super) fn lose_power_at_sync(&self) {
        self.lock().is_losing_power = true;
    }

    /// Changes bytes where `old` is found, behind everybody's back. The lengths are the same.
    pub(super) fn rot(&self, old: &[u8], new: &[u8]) {
        let mut contents = self.lock();
        let at: Vec<usize> = (0..contents.synced.len()).filter(|&at| contents.synced[at..].starts_with(old)).collect();
        assert!(!at.is_empty(), "there is something to rot");
        for at in at {
            contents.synced[at..at + new.len()].copy_from_slice(new);
        }
        contents.written = contents.synced.clone();
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }
}

fn apply(bytes: &mut Vec<u8>, write: &Write, keep: &mut impl FnMut() -> bool) {
    match write {
        Write::Length(length) => {
            if keep() {
                bytes.resize(*length as usize, 0);
            }
        }
        Write::Data(offset, data) => {
            let mut at = *offset as usize;
            let mut data = data.as_slice();
            while !data.is_empty() {
                let (sector, rest) = data.split_at(data.len().min(SECTOR_BYTES - at % SECTOR_BYTES));
                if keep() {
                    bytes.resize(bytes.len().max(at + sector.len()), 0);
                    bytes[at..at + sector.len()].copy_from_slice(sector);
                }
                at += sector.len();
                data = rest;
            }
        }
    }
}

impl Opened {
    fn contents(&self) -> io::Result<MutexGuard<'_, Contents>> {
        let contents = self.disk.lock();
        if contents.incarnation == self.incarnation {
            Ok(contents)
        } else {
            Err(io::Error::other("the machine is off"))
        }
    }

    fn make(&self, write: Write) -> io::Result<()> {
        let mut contents = self.contents()?;
        apply(&mut contents.written, &write, &mut || true);
        contents.pending.push(write);
        Ok(())
    }
}

impl StorageBackend for Opened {
    fn len(&self) -> io::Result<u64> {
        Ok(self.contents()?.written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.contents()?;
        let range = offset as usize..offset as usize + out.len();
        let found = contents.written.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.make(Write::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut contents = self.contents()?;
        contents.syncs += 1;
        if contents.is_losing_power {
            contents.incarnation += 1;
            return Err(io::Error::other("the power is gone"));
        }
        contents.pending.clear();
        if contents.fail_sync == Some(contents.syncs) {
            // As Linux does: what was not written is forgotten, and the next sync has nothing to complain about.
            contents.written = contents.synced.clone();
            return Err(io::Error::other("the sync failed"));
        }
        contents.synced = contents.written.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.make(Write::Data(offset, data.to_vec()))
    }
}
