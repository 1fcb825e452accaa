//! The journal's files: one per generation, prepared ahead, recycled afterwards.
//!
//! A prepared file is allocated and has its final name, both durable, before the first batch goes into it. A recycled one
//! still holds old batches: their checksums are seeded with the old generation.
//!
//! A new file is *blank*: what is written to it first makes a sync take longer, as the file system has to note that it holds
//! something now. So the next files are filled with zeros while somebody syncs, and only then: it writes all of the file once
//! more. What an earlier opening left is not taken for blank, though some of it may be.
//!
//! There is always a file to spare for each that is given out: the next opening copies the journal, and must be able to
//! on a disk that others have filled. Spare files are renamed and never given back to the file system in between, so
//! nobody can take their room.

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

/// Files of an earlier opening that are at least this long are of use to one whose own are longer: any batch fits.
const USABLE_BYTES: u64 = 2 << 20;

/// What a clean stop leaves of a file, for the next opening to begin with.
const STOPPED_BYTES: u64 = 4 << 20;

/// Files that a clean stop leaves: one to write, one to spare.
const STOPPED_FILES: usize = 2;

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
    /// Its length; that of another opening's files if there was no room for a new one.
    pub(crate) bytes: u64,
}

impl GenerationFile {
    /// Opens the file of a generation.
    pub(crate) fn open(device: &dyn Device, generation: Generation) -> Result<Self> {
        let path = path(generation);
        let fail = |error| Error::io("opening", &path, error);
        let file = device.open(&path, Access::Buffered).map_err(fail)?;
        let bytes = file.len().map_err(fail)?;
        Ok(Self { generation, file, bytes })
    }

    /// Waits until everything written to the file is on stable storage.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io("syncing", path(self.generation), error))
    }

    /// Has the device begin to write what was written there. A hint.
    pub(crate) fn start_writeback(&self, offset: u64, len: u64) {
        self.file.start_writeback(offset, len);
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
    /// Held while zeros are written to a file that is ready, and by whoever gives it out or away. Taken before the pool.
    filling: Mutex<()>,
    pool: Mutex<Pool>,
}

struct Pool {
    next: Generation,
    ready: VecDeque<GenerationFile>,
    /// Which of those are blank.
    blank: Vec<Generation>,
    retired: Vec<GenerationFile>,
    given_out_bytes: u64,
    /// The most that all files together had to come to since the last [`Generations::give_up_surplus`].
    peak_bytes: u64,
    /// The old journal is still there, and what is given out is the copy of it.
    copying: bool,
}

impl Pool {
    fn count(&self) -> usize {
        self.ready.len() + self.retired.len()
    }

    fn spare_bytes(&self) -> u64 {
        self.ready.iter().chain(&self.retired).map(|file| file.bytes).sum()
    }

    /// True if the next file can be given out, and what is left then takes a copy of all that is given out.
    fn can_give(&self) -> bool {
        let Some(first) = self.ready.front() else { return false };
        self.copying || self.spare_bytes() >= self.given_out_bytes + 2 * first.bytes
    }

    /// Bytes of spare files that it takes to give out another one of `file_bytes`.
    fn spare_bytes_wanted(&self, file_bytes: u64) -> u64 {
        self.given_out_bytes + 2 * file_bytes
    }

    /// True if there are fewer than that.
    fn is_short(&self, file_bytes: u64) -> bool {
        self.spare_bytes() < self.spare_bytes_wanted(file_bytes)
    }

    fn take_retired(&mut self, is_wanted: impl Fn(&GenerationFile) -> bool) -> Option<GenerationFile> {
        let at = self.retired.iter().rposition(is_wanted)?;
        Some(self.retired.remove(at))
    }
}

impl Generations {
    /// A pool whose first prepared file will be generation `next`. At most `files_max` files are kept for use, and more
    /// if it takes more to copy what is given out.
    pub(crate) fn new(device: Arc<dyn Device>, file_bytes: u64, files_max: usize, next: Generation) -> Self {
        let pool = Pool {
            next,
            ready: VecDeque::new(),
            blank: Vec::new(),
            retired: Vec::new(),
            given_out_bytes: 0,
            peak_bytes: 0,
            copying: true,
        };
        let (preparing, filling, pool) = (Mutex::new(()), Mutex::new(()), Mutex::new(pool));
        Self { device, file_bytes, files_max, preparing, filling, pool }
    }

    /// Length of a new file in bytes.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Bytes of all files of the journal: prepared, recyclable, and given out.
    pub(crate) fn total_bytes(&self) -> u64 {
        let pool = self.pool.lock();
        pool.spare_bytes() + pool.given_out_bytes
    }

    /// Bytes of files that have still to be made so that `held` bytes of accepted writes have a journal, and a spare one.
    pub(crate) fn missing_bytes(&self, held: u64) -> u64 {
        (2 * (held + 2 * self.file_bytes)).saturating_sub(self.total_bytes())
    }

    /// Files prepared and not taken.
    pub(crate) fn ready_count(&self) -> usize {
        self.pool.lock().ready.len()
    }

    /// True if another file should be prepared before one is needed: `ready_min` are to be ready.
    pub(crate) fn is_short(&self, ready_min: usize) -> bool {
        let pool = self.pool.lock();
        pool.ready.len() < ready_min || pool.is_short(self.file_bytes)
    }

    /// The next generation's file, prepared now if none is ready.
    ///
    /// # Errors
    /// `OutOfSpace` also if there is one, and not enough besides to copy what would then be given out.
    pub(crate) fn take(&self) -> Result<GenerationFile> {
        loop {
            {
                let _filling = self.filling.lock();
                let mut pool = self.pool.lock();
                if pool.can_give() {
                    let ready = pool.ready.pop_front().expect("what can be given is there");
                    pool.blank.retain(|blank| *blank != ready.generation);
                    pool.given_out_bytes += ready.bytes;
                    let wanted = pool.given_out_bytes + pool.spare_bytes_wanted(self.file_bytes);
                    pool.peak_bytes = pool.peak_bytes.max(wanted);
                    return Ok(ready);
                }
            }
            let preparing = self.preparing.lock();
            if !self.pool.lock().can_give() {
                self.prepare_next(&preparing)?;
            }
        }
    }

    /// Prepares one more file.
    pub(crate) fn prepare(&self) -> Result<()> {
        self.prepare_next(&self.preparing.lock())?;
        self.remove_surplus()
    }

    /// Fills one of the next `count` files with zeros, if one is blank, until it is given out or `goes_on` says no; `false` if
    /// none is blank. Takes long: zeros are written through to the disk.
    pub(crate) fn fill_next(&self, count: usize, goes_on: impl Fn() -> bool) -> Result<bool> {
        let found = {
            let pool = self.pool.lock();
            pool.ready.iter().take(count).find(|file| pool.blank.contains(&file.generation)).cloned()
        };
        let Some(found) = found else { return Ok(false) };
        let filled = self.fill(&found, goes_on);
        if let Ok(true) | Err(Error::OutOfSpace) = filled {
            self.pool.lock().blank.retain(|blank| *blank != found.generation);
        }
        match filled {
            // The file system wants room to write to what is allocated. That is left to those who have to write.
            Err(Error::OutOfSpace) => {
                tracing::debug!(generation = found.generation.0, "a journal file is not filled for want of space");
                Ok(true)
            }
            filled => filled.map(|_| true),
        }
    }

    /// True if all of it was filled.
    fn fill(&self, blank: &GenerationFile, goes_on: impl Fn() -> bool) -> Result<bool> {
        let fail = |error| Error::io("preparing", path(blank.generation), error);
        // Opened anew: a failed write is reported once for each opening of the file, and a FLUSH must not miss it because it was
        // reported here.
        let own = match GenerationFile::open(&*self.device, blank.generation) {
            // It was given out, used, and has another name by now.
            Err(_) if !self.is_blank(blank.generation) => return Ok(false),
            opened => opened?,
        };
        for offset in (0..blank.bytes).step_by(ZERO_CHUNK_BYTES) {
            {
                let _filling = self.filling.lock();
                if !self.is_blank(blank.generation) || !goes_on() {
                    return Ok(false);
                }
                write_zeros(&*own.file, offset, blank.bytes).map_err(fail)?;
            }
            // Piece by piece: a FLUSH of the file has to wait for what is still on its way.
            own.file.sync_data().map_err(fail)?;
        }
        Ok(true)
    }

    /// Takes back a generation that is needed no more; the manifest says so durably.
    pub(crate) fn retire(&self, file: GenerationFile) -> Result<()> {
        self.pool.lock().given_out_bytes -= file.bytes;
        self.adopt(file)
    }

    /// Takes a file of an earlier opening, needed no more, for another use.
    pub(crate) fn adopt(&self, file: GenerationFile) -> Result<()> {
        if file.bytes < self.file_bytes.min(USABLE_BYTES) {
            return remove(&*self.device, file.generation);
        }
        self.pool.lock().retired.push(file);
        self.remove_surplus()
    }

    /// True as long as nobody has written to the file, or may.
    fn is_blank(&self, generation: Generation) -> bool {
        self.pool.lock().blank.contains(&generation)
    }

    /// Makes a short file to spare if there is none, filled with zeros: a store that has just been made has none yet. Best
    /// effort: the disk may be full.
    pub(crate) fn ensure_spare(&self) -> Result<()> {
        let _preparing = self.preparing.lock();
        let mut pool = self.pool.lock();
        if pool.count() > 0 {
            return Ok(());
        }
        let (generation, bytes) = (pool.next, self.file_bytes.min(STOPPED_BYTES));
        match self.create(generation, bytes, true) {
            Ok(file) => {
                pool.next = generation.next();
                pool.ready.push_back(GenerationFile { generation, file, bytes });
                Ok(())
            }
            Err(Error::OutOfSpace) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The old journal has been given up: from now on there is a spare file for each that is given out.
    pub(crate) fn end_copying(&self) -> Result<()> {
        self.pool.lock().copying = false;
        self.remove_surplus()
    }

    /// Removes the files that were needed once and are not now, for want of room; true if there were any.
    pub(crate) fn give_up_surplus(&self) -> Result<bool> {
        self.pool.lock().peak_bytes = 0;
        let before = self.total_bytes();
        self.remove_surplus()?;
        Ok(self.total_bytes() < before)
    }

    /// Removes retired files that are not needed for a copy of what is given out: more than are kept and than were
    /// needed before (a new one is blank), or of a length that new ones do not have.
    fn remove_surplus(&self) -> Result<()> {
        loop {
            let mut pool = self.pool.lock();
            let is_full = pool.count() > self.files_max;
            let spare = pool.spare_bytes();
            let (wanted, given_out, peak) =
                (pool.spare_bytes_wanted(self.file_bytes), pool.given_out_bytes, pool.peak_bytes);
            if pool.copying {
                return Ok(());
            }
            let is_surplus = |file: &GenerationFile| {
                let left = spare - file.bytes;
                let is_odd = file.bytes != self.file_bytes;
                left >= wanted && (is_odd || (is_full && left + given_out >= peak))
            };
            let Some(surplus) = pool.take_retired(is_surplus) else { return Ok(()) };
            drop(pool);
            remove(&*self.device, surplus.generation)?;
        }
    }

    /// Removes every file of the pool but a few, cut short, which the next opening begins with. `last` is the one that
    /// was written last.
    pub(crate) fn stop(&self, last: GenerationFile) -> Result<()> {
        let _filling = self.filling.lock();
        let mut pool = self.pool.lock();
        pool.given_out_bytes = 0;
        pool.blank.clear();
        let Pool { ready, retired, .. } = &mut *pool;
        let mut files: Vec<_> = std::iter::once(last).chain(ready.drain(..)).chain(retired.drain(..)).collect();
        for file in files.drain(STOPPED_FILES.min(files.len())..) {
            remove(&*self.device, file.generation)?;
        }
        for file in &mut files {
            if file.bytes > STOPPED_BYTES {
                let fail = |error| Error::io("cutting", path(file.generation), error);
                file.file.set_len(STOPPED_BYTES).map_err(fail)?;
                file.bytes = STOPPED_BYTES;
            }
        }
        pool.retired = files;
        Ok(())
    }

    /// A generation's number is used up only when its file is ready: a gap would end the chain.
    fn prepare_next(&self, _preparing: &MutexGuard<'_, ()>) -> Result<()> {
        let (generation, whole, copying) = {
            let mut pool = self.pool.lock();
            (pool.next, pool.take_retired(|file| file.bytes == self.file_bytes), pool.copying)
        };
        let mut is_blank = false;
        let (file, bytes) = match whole {
            Some(old) => self.recycle(old, generation)?,
            // The first file of an opening is used at once: nothing could fill it later.
            None => match self.create(generation, self.file_bytes, copying) {
                Ok(file) => {
                    is_blank = !copying;
                    (file, self.file_bytes)
                }
                Err(error) if matches!(error, Error::OutOfSpace) || error.is_shortage() => {
                    let any = self.pool.lock().take_retired(|_| true).ok_or(error)?;
                    self.recycle(any, generation)?
                }
                Err(error) => return Err(error),
            },
        };
        let mut pool = self.pool.lock();
        pool.next = generation.next();
        pool.blank.extend(is_blank.then_some(generation));
        pool.ready.push_back(GenerationFile { generation, file, bytes });
        Ok(())
    }

    fn recycle(&self, old: GenerationFile, generation: Generation) -> Result<(Arc<dyn File>, u64)> {
        let (from, to) = (path(old.generation), path(generation));
        self.device.rename(&from, &to).map_err(|error| Error::io("renaming", from, error))?;
        self.sync_names()?;
        Ok((old.file, old.bytes))
    }

    /// A new file of `bytes`, filled with zeros or blank.
    fn create(&self, generation: Generation, bytes: u64, filled: bool) -> Result<Arc<dyn File>> {
        let path = path(generation);
        let fail = |error| Error::io("preparing", &path, error);
        match self.device.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let created = self.device.create(&path, Access::Buffered);
        let file = created.map_err(|error| Error::io("creating", &path, error))?;
        let fill = || (0..bytes).step_by(ZERO_CHUNK_BYTES).try_for_each(|offset| write_zeros(&*file, offset, bytes));
        let allocated = file.allocate(0, bytes);
        let written = if filled { allocated.and_then(|()| fill()) } else { allocated };
        written.and_then(|()| file.sync_data()).map_err(|error| {
            // Half a file is of no use to anybody; what matters is the error that made it so.
            if let Err(error) = self.device.remove(&path) {
                tracing::warn!(path, %error, "a half prepared journal file cannot be removed");
            }
            fail(error)
        })?;
        self.sync_names()?;
        Ok(file)
    }

    fn sync_names(&self) -> Result<()> {
        self.device.sync_directory(JOURNAL_DIRECTORY).map_err(|error| Error::io("syncing", JOURNAL_DIRECTORY, error))
    }
}

/// Writes the chunk of zeros at `offset` of a file of `bytes`.
fn write_zeros(file: &dyn File, offset: u64, bytes: u64) -> io::Result<()> {
    static ZEROS: [u8; ZERO_CHUNK_BYTES] = [0; ZERO_CHUNK_BYTES];
    let len = ZEROS.len().min((bytes - offset) as usize);
    file.write_at(&[IoSlice::new(&ZEROS[..len])], offset)
}

/// Removes a generation's file.
pub(crate) fn remove(device: &dyn Device, generation: Generation) -> Result<()> {
    let path = path(generation);
    device.remove(&path).map_err(|error| Error::io("removing", path, error))
}

#[cfg(test)]
mod tests;
