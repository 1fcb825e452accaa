//! The journal's files: one per generation, prepared ahead, recycled afterwards.
//!
//! A prepared file is allocated, written with zeros, synced and has its final name, all durable, before the first
//! batch goes into it. A recycled one still holds old batches: their checksums are seeded with the old generation.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::JOURNAL_DIRECTORY;
use crate::checksum::{Kind, Seal};
use crate::device::{Access, Device, File};
use crate::error::{Error, Result};
use crate::id::{Generation, Sequence, StoreId};

/// Where the first batch starts.
pub(crate) const GENERATION_HEADER_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"SILTJNLG";
const VERSION: u32 = 1;
const INCOMPAT_KNOWN: u64 = 0;
const ZERO_CHUNK_BYTES: usize = 1 << 20;

/// What the first page of a generation says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GenerationHeader {
    pub(crate) generation: Generation,
    /// The opening of the store that wrote it.
    pub(crate) incarnation: u64,
    /// Sequence of its first record.
    pub(crate) first: Sequence,
    /// Checksum of the last batch of the generation before, which the first batch names.
    pub(crate) previous: u32,
    /// Every record up to here was on stable storage when the generation began.
    pub(crate) synced: Sequence,
    /// The manifest's sequence at that moment.
    pub(crate) manifest: u64,
    /// Length of the file, which no crash makes shorter.
    pub(crate) file_bytes: u64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct HeaderV1 {
    magic: [u8; 8],
    version: U32,
    previous: U32,
    compat: U64,
    ro_compat: U64,
    incompat: U64,
    store: [u8; 16],
    generation: U64,
    incarnation: U64,
    first: U64,
    synced: U64,
    manifest: U64,
    file_bytes: U64,
    reserved: [u8; GENERATION_HEADER_BYTES - 108],
    checksum: U32,
}

const _: () = assert!(size_of::<HeaderV1>() == GENERATION_HEADER_BYTES);

/// Path of a generation's file.
pub(crate) fn path(generation: Generation) -> String {
    format!("{JOURNAL_DIRECTORY}/{:016x}", generation.0)
}

/// The seal of everything in a generation's file.
pub(crate) fn seal(store: StoreId, generation: Generation) -> Seal {
    Seal::new(store, Kind(*b"JRNL"), generation.0)
}

impl GenerationHeader {
    /// The first page of the generation's file.
    pub(crate) fn encode(&self, store: StoreId) -> Vec<u8> {
        let mut header = HeaderV1 {
            magic: MAGIC,
            version: VERSION.into(),
            previous: self.previous.into(),
            compat: 0.into(),
            ro_compat: 0.into(),
            incompat: INCOMPAT_KNOWN.into(),
            store: store.0,
            generation: self.generation.0.into(),
            incarnation: self.incarnation.into(),
            first: self.first.0.into(),
            synced: self.synced.0.into(),
            manifest: self.manifest.into(),
            file_bytes: self.file_bytes.into(),
            reserved: [0; GENERATION_HEADER_BYTES - 108],
            checksum: 0.into(),
        };
        let covered = GENERATION_HEADER_BYTES - 4;
        header.checksum = seal(store, self.generation).checksum(0, &[&header.as_bytes()[..covered]]).into();
        header.as_bytes().to_vec()
    }

    /// `Ok(None)` if the page is not this generation's header: prepared and never begun, or damaged.
    pub(crate) fn decode(store: StoreId, generation: Generation, page: &[u8]) -> Result<Option<Self>> {
        let Ok((header, _)) = HeaderV1::ref_from_prefix(page) else { return Ok(None) };
        let covered = &header.as_bytes()[..GENERATION_HEADER_BYTES - 4];
        let valid = header.magic == MAGIC
            && header.checksum.get() == seal(store, generation).checksum(0, &[covered])
            && header.generation.get() == generation.0;
        if !valid {
            return Ok(None);
        }
        if header.version.get() > VERSION {
            return Err(Error::Unsupported { what: "journal version", found: header.version.get().into() });
        }
        let unknown = header.incompat.get() & !INCOMPAT_KNOWN;
        if unknown != 0 {
            return Err(Error::Unsupported { what: "journal feature", found: unknown });
        }
        Ok(Some(Self {
            generation,
            incarnation: header.incarnation.get(),
            first: Sequence(header.first.get()),
            previous: header.previous.get(),
            synced: Sequence(header.synced.get()),
            manifest: header.manifest.get(),
            file_bytes: header.file_bytes.get(),
        }))
    }
}

/// A generation's file, open for writing.
#[derive(Clone)]
pub(crate) struct GenerationFile {
    pub(crate) generation: Generation,
    pub(crate) file: Arc<dyn File>,
}

impl GenerationFile {
    /// Waits until everything written to the file is on stable storage.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io("syncing", path(self.generation), error))
    }

    /// Writes `parts` one after the other at `offset`.
    pub(crate) fn write(&self, parts: &[IoSlice<'_>], offset: u64) -> Result<()> {
        self.file.write_at(parts, offset).map_err(|error| Error::io("writing", path(self.generation), error))
    }
}

/// The files of generations that are prepared or free for another use.
pub(crate) struct Generations {
    device: Arc<dyn Device>,
    file_bytes: u64,
    files_max: usize,
    /// Held by whoever prepares a file; the pool itself is never locked during I/O that takes long.
    preparing: Mutex<()>,
    pool: Mutex<Pool>,
}

struct Pool {
    next: Generation,
    ready: VecDeque<GenerationFile>,
    retired: Vec<GenerationFile>,
    given_out: usize,
}

impl Generations {
    /// A pool whose first prepared file will be generation `next`. `retired` are files of generations that are needed no
    /// more. At most `files_max` files are kept for use.
    pub(crate) fn new(device: Arc<dyn Device>, file_bytes: u64, files_max: usize, next: Generation) -> Self {
        let pool = Pool { next, ready: VecDeque::new(), retired: Vec::new(), given_out: 0 };
        Self { device, file_bytes, files_max, preparing: Mutex::new(()), pool: Mutex::new(pool) }
    }

    /// Length of each file in bytes.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Bytes of all files of the journal: prepared, recyclable, and given out.
    pub(crate) fn total_bytes(&self) -> u64 {
        let pool = self.pool.lock();
        (pool.ready.len() + pool.retired.len() + pool.given_out) as u64 * self.file_bytes
    }

    /// Files prepared and not taken.
    pub(crate) fn ready_count(&self) -> usize {
        self.pool.lock().ready.len()
    }

    /// The next generation's file, prepared now if none is ready.
    pub(crate) fn take(&self) -> Result<GenerationFile> {
        loop {
            {
                let mut pool = self.pool.lock();
                if let Some(ready) = pool.ready.pop_front() {
                    pool.given_out += 1;
                    return Ok(ready);
                }
            }
            let preparing = self.preparing.lock();
            if self.ready_count() == 0 {
                self.prepare_next(&preparing)?;
            }
        }
    }

    /// Prepares one more file. Takes long: zeros are written through to the disk, unless a retired file is recycled.
    pub(crate) fn prepare(&self) -> Result<()> {
        self.prepare_next(&self.preparing.lock())
    }

    /// Takes back a generation that is needed no more; the manifest says so durably.
    pub(crate) fn retire(&self, file: GenerationFile) -> Result<()> {
        self.pool.lock().given_out -= 1;
        self.adopt(file)
    }

    /// Takes a file of an earlier opening, needed no more, for another use.
    pub(crate) fn adopt(&self, file: GenerationFile) -> Result<()> {
        let mut pool = self.pool.lock();
        let whole = file.file.len().is_ok_and(|len| len == self.file_bytes);
        if whole && pool.retired.len() + pool.ready.len() < self.files_max {
            pool.retired.push(file);
            return Ok(());
        }
        drop(pool);
        remove(&*self.device, file.generation)
    }

    /// Removes every file of the pool, for a clean stop.
    pub(crate) fn remove_all(&self) -> Result<()> {
        let mut pool = self.pool.lock();
        let Pool { ready, retired, .. } = &mut *pool;
        ready.drain(..).chain(retired.drain(..)).try_for_each(|file| remove(&*self.device, file.generation))
    }

    /// A generation's number is used up only when its file is ready: a gap would end the chain.
    fn prepare_next(&self, _preparing: &MutexGuard<'_, ()>) -> Result<()> {
        let (generation, retired) = {
            let mut pool = self.pool.lock();
            (pool.next, pool.retired.pop())
        };
        let file = match retired {
            Some(old) => self.recycle(old, generation)?,
            None => self.create(generation)?,
        };
        let mut pool = self.pool.lock();
        pool.next = generation.next();
        pool.ready.push_back(GenerationFile { generation, file });
        Ok(())
    }

    fn recycle(&self, old: GenerationFile, generation: Generation) -> Result<Arc<dyn File>> {
        let (from, to) = (path(old.generation), path(generation));
        self.device.rename(&from, &to).map_err(|error| Error::io("renaming", from, error))?;
        self.sync_names()?;
        Ok(old.file)
    }

    fn create(&self, generation: Generation) -> Result<Arc<dyn File>> {
        let path = path(generation);
        let fail = |error| Error::io("preparing", &path, error);
        match self.device.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let file = self.device.create(&path, Access::Buffered).map_err(fail)?;
        self.fill_with_zeros(&file).map_err(|error| {
            // Half a file is of no use to anybody; what matters is the error that made it so.
            if let Err(error) = self.device.remove(&path) {
                tracing::warn!(path, %error, "a half prepared journal file cannot be removed");
            }
            fail(error)
        })?;
        self.sync_names()?;
        Ok(file)
    }

    fn fill_with_zeros(&self, file: &Arc<dyn File>) -> io::Result<()> {
        file.allocate(0, self.file_bytes)?;
        let zeros = vec![0; ZERO_CHUNK_BYTES];
        let mut offset = 0;
        while offset < self.file_bytes {
            let len = zeros.len().min((self.file_bytes - offset) as usize);
            file.write_at(&[IoSlice::new(&zeros[..len])], offset)?;
            offset += len as u64;
        }
        file.sync_data()
    }

    fn sync_names(&self) -> Result<()> {
        self.device.sync_directory(JOURNAL_DIRECTORY).map_err(|error| Error::io("syncing", JOURNAL_DIRECTORY, error))
    }
}

/// Removes a generation's file.
pub(crate) fn remove(device: &dyn Device, generation: Generation) -> Result<()> {
    let path = path(generation);
    device.remove(&path).map_err(|error| Error::io("removing", path, error))
}

#[cfg(test)]
mod tests;
