//! The log of a replica: what the primary ordered, in files of its own (`docs/disk-format.md`, "Replica logs").
//!
//! - A file begins with all the log says by then; headers and frames are one chain, each naming the one before.
//! - Nothing is ever written over: every opening begins a new file. So whoever reads sees what was there, and bytes that a
//!   power cut left behind are never taken for what was written later.
//! - A file gets a name only when all before it have durable ones.
//! - After a failed write or sync nothing more is taken.

mod error;
mod frame;
mod header;
mod index;
mod opening;
mod place;
mod reader;
mod recovery;
mod scan;
mod shared;
#[cfg(test)]
mod specified;
mod state;
mod syncer;
mod tail;

use std::fmt;
use std::sync::Arc;

use lsm_store::device::{DIRECT_ALIGNMENT, Device};
use net::id::{Epoch, Lsn, VolumeId};
use net::replication::{History, Record, Standing};

pub use self::error::LogError;
use self::error::Result;
use self::frame::{Content, first_frame};
use self::header::{HEADER_BYTES, remembered};
use self::place::Place;
pub use self::reader::LogReader;
use self::shared::{Contents, Held, Shared};
use self::state::State;
pub use self::syncer::Syncer;
use self::tail::{Batch, Tail, make_spare};

/// The longest payload of a record.
pub const RECORD_BYTES_MAX: u64 = 48 << 20;

/// The longest file is this part of the disk.
const FILES_OF_DISK: u64 = 32;

/// The longest file on the smallest disk: it holds two of the longest records that replicas make, and more.
const FILE_BYTES_MIN: u64 = 8 << 20;

/// A start of the kernel, as `/proc/sys/kernel/random/boot_id` names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BootId(pub [u8; 16]);

/// How long files are, in whole pages.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The longest.
    pub file_bytes: u64,
    /// What is allocated at a time.
    pub step_bytes: u64,
    /// At the end of what is allocated, left to frames without records: on a full disk they are still written.
    pub reserve_bytes: u64,
}

impl Sizes {
    /// 64 MiB, 4 MiB at a time, and 64 KiB in reserve.
    const USUAL: Self = Self { file_bytes: 64 << 20, step_bytes: 4 << 20, reserve_bytes: 64 << 10 };

    /// Shorter files on a small disk, since only whole ones are given back.
    pub(super) fn of(device: &dyn Device) -> Self {
        let usual = Self::USUAL;
        // A device that does not say how large it is gets the usual ones.
        let total_bytes = device.space().map_or(u64::MAX, |space| space.total_bytes);
        let file_bytes = (total_bytes / FILES_OF_DISK).clamp(FILE_BYTES_MIN, usual.file_bytes);
        let file_bytes = 1 << file_bytes.ilog2();
        Self { file_bytes, step_bytes: usual.step_bytes.min(file_bytes / 8), ..usual }
    }

    /// Length of the file that is kept for a full disk: a header, and the reserve.
    fn spare_bytes(self) -> u64 {
        (HEADER_BYTES as u64 + self.reserve_bytes).next_multiple_of(DIRECT_ALIGNMENT as u64)
    }

    /// The longest body of a frame with more than one record.
    fn body_bytes_max(self) -> u64 {
        (1 << 20).min(self.file_bytes / 4)
    }
}

/// What a log had when it was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// The standing noted last; [`Standing::Outside`] if the content is torn.
    pub standing: Standing,
    /// Everything that was ever handed to the kernel is still there. False if in doubt, and from then on until a standing
    /// is noted.
    pub intact: bool,
    /// The records.
    pub history: History,
    /// Up to here they are durable: all of them.
    pub synced: Lsn,
    /// Up to here the content below has them.
    pub floor: Lsn,
    /// The first that can be read.
    pub start: Lsn,
    /// The content below was being replaced: nothing here is to be relied on.
    pub is_torn: bool,
}

/// The log of one replicated volume. It has one owner, and handles of it that sync and read.
pub struct ReplicaLog {
    shared: Arc<Shared>,
    boot: BootId,
    sizes: Sizes,
    state: State,
    tail: Tail,
    /// There is a file for a full disk.
    has_spare: bool,
    /// There is a trimmed file for the next one to be made of.
    has_recycled: bool,
}

impl fmt::Debug for ReplicaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaLog")
            .field("place", &self.shared.place)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl ReplicaLog {
    /// Makes the log of a volume, empty and durable.
    ///
    /// # Errors
    /// [`LogError::Exists`], [`LogError::Full`], [`LogError::Io`].
    pub fn create(
        device: Arc<dyn Device>,
        volume: VolumeId,
        boot: BootId,
        standing: Standing,
    ) -> std::result::Result<Self, LogError> {
        let sizes = Sizes::of(&*device);
        Self::create_sized(device, volume, boot, standing, sizes)
    }

    /// True if there is a log of the volume, whatever its condition.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn exists(device: &dyn Device, volume: VolumeId) -> std::result::Result<bool, LogError> {
        Ok(!Place::new(volume).numbers(device)?.is_empty())
    }

    /// Opens the log of a volume. All of it is durable on return, and so is the note of which start of the kernel this is.
    ///
    /// # Errors
    /// [`LogError::Missing`]; [`LogError::Corrupt`] if something that was synced is not there; [`LogError::Unsupported`];
    /// [`LogError::Full`]; [`LogError::Io`]. Nothing was changed if it is one of the first three.
    pub fn open(
        device: Arc<dyn Device>,
        volume: VolumeId,
        boot: BootId,
    ) -> std::result::Result<(Self, Recovered), LogError> {
        let sizes = Sizes::of(&*device);
        Self::open_sized(device, volume, boot, sizes)
    }

    /// Removes the log of a volume, if there is one, whatever its condition. Durable on return.
    ///
    /// # Errors
    /// [`LogError::Io`]: call it again.
    pub fn remove(device: &dyn Device, volume: VolumeId) -> std::result::Result<(), LogError> {
        let place = Place::new(volume);
        let numbers = place.numbers(device)?;
        place.remove(device, &place.new_path())?;
        place.remove(device, &place.spare_path())?;
        place.remove(device, &place.recycled_path())?;
        let Some((last, older)) = numbers.split_last() else { return Ok(()) };
        // What a power cut leaves begins with all the log says, or with a gap: never is it an older state of the log.
        for number in older {
            place.remove(device, &place.path(*number))?;
        }
        place.sync(device)?;
        place.remove(device, &place.path(*last))?;
        place.sync(device)
    }

    /// Adds records, which are handed to the kernel on return.
    ///
    /// # Errors
    /// [`LogError::Invalid`] if there is a record of an older epoch, or a too long one; [`LogError::Full`], and then the
    /// records up to [`Self::end`] were added; [`LogError::Io`] and [`LogError::Failed`].
    ///
    /// # Panics
    /// If `first` is not the LSN behind the end.
    pub fn append(&mut self, first: Lsn, records: &[Record]) -> std::result::Result<(), LogError> {
        assert!(first == self.end().next(), "records from {first} do not follow {}", self.end());
        self.check(records)?;
        let mut batch = Batch::default();
        let (mut first, mut rest) = (first, records);
        while !rest.is_empty() {
            let (count, bytes) = first_frame(rest, self.sizes.body_bytes_max());
            let (records, behind) = rest.split_at(count);
            if let Err(error) = self.make_room(&mut batch, bytes, self.sizes.reserve_bytes) {
                // What is in the batch is of the log already.
                self.write(batch)?;
                return Err(error);
            }
            self.add(&mut batch, Content::Records { first, records })?;
            (first, rest) = (Lsn(first.0 + count as u64), behind);
        }
        self.write(batch)
    }

    /// Forgets the records beyond an LSN; handed to the kernel on return.
    ///
    /// # Errors
    /// [`LogError::Full`], [`LogError::Io`], [`LogError::Failed`].
    ///
    /// # Panics
    /// If `beyond` is below the floor.
    pub fn truncate(&mut self, beyond: Lsn) -> std::result::Result<(), LogError> {
        assert!(beyond >= self.state.floor, "what is beyond {beyond} is in the content below");
        self.log(Content::Truncate { beyond: beyond.min(self.end()) })
    }

    /// Notes a standing; handed to the kernel on return.
    ///
    /// # Errors
    /// [`LogError::Full`], [`LogError::Io`], [`LogError::Failed`].
    pub fn note(&mut self, standing: Standing) -> std::result::Result<(), LogError> {
        self.log(Content::Note(standing))
    }

    /// A handle that makes the log durable.
    #[must_use]
    pub fn syncer(&self) -> Syncer {
        Syncer::new(Arc::clone(&self.shared))
    }

    /// A handle that reads records back.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }

    /// Notes that the content below has everything up to `floor`, durably. Durable on return, with all before it.
    ///
    /// # Errors
    /// [`LogError::Full`], [`LogError::Io`], [`LogError::Failed`].
    ///
    /// # Panics
    /// If `floor` is beyond the end, or below the floor.
    pub fn checkpoint(&mut self, floor: Lsn) -> std::result::Result<(), LogError> {
        self.log(Content::Checkpoint { floor })?;
        self.shared.sync()
    }

    /// Removes the files whose records are all before `keep_from` and not beyond the floor, but for one that the next one is made
    /// of if `recycles`; the first LSN that can still be read.
    ///
    /// # Errors
    /// [`LogError::Io`], after which the log goes on unless a sync failed; [`LogError::Failed`].
    pub fn trim(&mut self, keep_from: Lsn, recycles: bool) -> std::result::Result<Lsn, LogError> {
        let floor = self.state.floor;
        let is_spare = |contents: &Contents, file: &Held| {
            let last = contents.index.last_of(file.file.number);
            last < keep_from && last <= floor
        };
        let spare = |log: &Self| {
            log.shared.with(|contents| {
                let older = contents.files.len() - 1;
                contents.files.iter().take(older).take_while(|file| is_spare(contents, file)).count()
            })
        };
        if !recycles {
            self.drop_recycled()?;
        } else if !self.has_recycled && spare(self)? > 0 {
            self.recycle_first()?;
        }
        self.drop_files(spare(self)?)?;
        Ok(self.start())
    }

    /// Notes that the content below is being replaced: until [`Self::install`] nothing here is to be relied on. Durable on
    /// return.
    ///
    /// # Errors
    /// [`LogError::Full`], [`LogError::Io`], [`LogError::Failed`].
    pub fn begin_install(&mut self) -> std::result::Result<(), LogError> {
        self.log(Content::Tear)?;
        self.shared.sync()
    }

    /// Replaces the log by an empty one that ends where `history` does, as the content below, which is durable. All or
    /// nothing, and durable on return. The standing stays.
    ///
    /// # Errors
    /// [`LogError::Full`], [`LogError::Io`], [`LogError::Failed`].
    pub fn install(&mut self, history: History) -> std::result::Result<(), LogError> {
        self.shared.sync()?;
        let end = history.end().lsn;
        let history = History::new(remembered(&history).to_vec(), end).expect("the newer part of a history is one");
        let state = State { history, floor: end, is_torn: false, ..self.state.clone() };
        let before = std::mem::replace(&mut self.state, state);
        let begun = self.begin(true, true);
        match self.shared.settle(begun) {
            Ok(tail) => self.tail = tail,
            Err(error) => {
                self.state = before;
                return Err(error);
            }
        }
        let older = self.shared.with(|contents| {
            contents.begin_anew(self.tail.held(), end);
            contents.files.len() - 1
        })?;
        self.note_origin()?;
        self.drop_files(older)
    }

    /// The last record's LSN.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.state.end()
    }

    /// The first LSN that can be read; the one behind the end if none can.
    #[must_use]
    pub fn start(&self) -> Lsn {
        self.shared.look(|contents| contents.index.start())
    }

    /// Makes the file again that is kept for a full disk, if it was used and there is room now.
    ///
    /// # Errors
    /// [`LogError::Io`], and the log goes on.
    pub fn keep_spare(&mut self) -> std::result::Result<(), LogError> {
        if self.has_spare {
            return Ok(());
        }
        self.has_spare = make_spare(&*self.shared.device, &self.shared.place, self.sizes)?;
        Ok(())
    }

    /// Bytes that are free on the disk below, for everybody.
    ///
    /// # Errors
    /// [`LogError::Io`], and the log goes on.
    pub fn free_bytes(&self) -> std::result::Result<u64, LogError> {
        let space = self.shared.device.space();
        let space =
            space.map_err(|error| LogError::io("asking for the space around", &self.shared.place.directory, error))?;
        Ok(space.available_bytes)
    }

    /// Bytes of its files, with what is allocated ahead and what the next one is made of.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let recycled = if self.has_recycled { self.sizes.file_bytes } else { 0 };
        self.shared.look(|contents| contents.files.iter().map(|held| held.bytes).sum::<u64>()) + recycled
    }

    /// Refuses records that cannot be of the log.
    fn check(&self, records: &[Record]) -> Result<()> {
        let longest = RECORD_BYTES_MAX.min(self.sizes.file_bytes / 2);
        if records.iter().any(|record| record.bytes() > longest) {
            return Err(LogError::Invalid { what: "a record", must: "at most 48 MiB long" });
        }
        let oldest = self.state.history.end().epoch.max(Epoch(1));
        let epochs = || records.iter().map(|record| record.epoch);
        if epochs().next().is_some_and(|epoch| epoch < oldest) || !epochs().is_sorted() {
            return Err(LogError::Invalid { what: "a record's epoch", must: "that of the record before it, or newer" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
