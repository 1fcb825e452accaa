//! Room on disk: what a write may still count on when it is accepted.
//!
//! An accepted write must be flushable whatever it holds, so it is refused unless there is room for it in the worst case
//! (unique and incompressible), after everything accepted before it, and after what the store needs to go on when it is
//! full: a segment under construction, the map, the manifest, and a part for collection.
//!
//! With a capacity, a file called the ballast holds the room that the store does not use yet, so that nobody else takes
//! it. It is cut before a file of the store grows and filled up again afterwards.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::background::READY_FILES;
use super::front::held_bytes_max;
use super::inner::Inner;
use super::meta::Meta;
use crate::device::{Access, Device, File};
use crate::error::{Error, Result};
use crate::id::{BLOCK_BYTES, VolumeId};
use crate::manifest::{Edit, State};
use crate::segment::SEGMENT_BYTES_MAX;
use crate::superblock::SUPERBLOCK_BYTES;

/// Name of the file that holds free room.
pub(crate) const BALLAST_FILE: &str = "ballast";

/// Accepted bytes between two looks at the device.
const GRANT_BYTES: i64 = 16 << 20;

/// The smallest part of the disk that writes leave alone.
const RESERVE_BYTES_MIN: u64 = 8 << 20;

/// The room a merge of runs may take.
const MERGE_BYTES: u64 = 16 << 20;

/// Segments under construction at once, and a merge of runs meanwhile.
const WORK_BYTES: u64 = 2 * SEGMENT_BYTES_MAX + MERGE_BYTES;

/// Below so much room, files of the journal that nobody needs now are given up.
const SCARCE_BYTES: u64 = 4 << 20;

/// Bytes a block may take at most in a segment and in the map, as parts of 64 of its length.
const WORST_CASE_64THS: u64 = 66;

/// What others lay claim to of the room that there is.
pub(super) struct Claims {
    /// Room that journal files for all that is accepted have still to take.
    pub(super) journal: u64,
    /// What is reserved for other volumes, and for the one that writes.
    pub(super) reserved: (u64, u64),
}

/// What writes may still count on.
pub(super) struct SpaceLedger {
    /// Bytes that may be accepted before the device is asked again.
    granted: AtomicI64,
    /// Held by whoever asks the device: two who ask at once must not be told of the same room.
    asking: Mutex<()>,
    /// What was left when the device was asked last.
    left: AtomicU64,
    /// What a batch of collection has still to write, and what it has written.
    claimed: AtomicU64,
    taken: AtomicU64,
    ballast: Mutex<Ballast>,
}

struct Ballast {
    capacity_bytes: Option<u64>,
    file: Option<Arc<dyn File>>,
    len: u64,
    /// What was cut for the work that is under way.
    lent: u64,
    /// Of that, what a batch of collection has written, and no commit names yet.
    written: u64,
}

impl SpaceLedger {
    pub(super) fn new(capacity_bytes: Option<u64>) -> Self {
        let ballast = Ballast { capacity_bytes, file: None, len: 0, lent: 0, written: 0 };
        Self {
            granted: AtomicI64::new(0),
            asking: Mutex::new(()),
            left: AtomicU64::new(u64::MAX),
            claimed: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            ballast: Mutex::new(ballast),
        }
    }

    /// The capacity, if there is one.
    pub(super) fn capacity_bytes(&self) -> Option<u64> {
        self.ballast.lock().capacity_bytes
    }

    /// True if `bytes` more are within what the device was last found to have plenty of.
    pub(super) fn take_grant(&self, bytes: u64) -> bool {
        self.granted.fetch_sub(bytes as i64, Ordering::Relaxed) > bytes as i64
    }

    /// Asks the device, one after the other.
    pub(super) fn ask(&self) -> MutexGuard<'_, ()> {
        self.asking.lock()
    }

    /// Accepts `held` bytes, which are all that have been accepted and not flushed, when `claims` were made.
    pub(super) fn admit(
        &self,
        _asking: &MutexGuard<'_, ()>,
        device: &dyn Device,
        held: u64,
        claims: impl FnOnce() -> Claims,
    ) -> Result<()> {
        let room = self.room(device)?;
        let Claims { journal, reserved: (others, own) } = claims();
        let left = room.saturating_sub(worst_case(held) + journal).saturating_sub(worst_case(others));
        self.left.store(left, Ordering::Relaxed);
        if left == 0 {
            self.granted.store(0, Ordering::Relaxed);
            return Err(Error::OutOfSpace);
        }
        // Near the end every write looks for itself. Others may use what is granted.
        let left = left.saturating_sub(worst_case(own));
        let grant = if left > 8 * GRANT_BYTES as u64 { GRANT_BYTES } else { 0 };
        self.granted.store(grant, Ordering::Relaxed);
        Ok(())
    }

    /// Bytes that could still be accepted when a write asked last.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// What was granted may be too much now: the next write looks for itself.
    pub(super) fn forget_grant(&self) {
        self.granted.store(0, Ordering::Relaxed);
    }

    /// Bytes for new data on the device now, without what is reserved.
    pub(super) fn room(&self, device: &dyn Device) -> Result<u64> {
        let (total, available) = self.total_and_available(device)?;
        let (taken, claimed) = (self.taken.load(Ordering::Relaxed), self.claimed.load(Ordering::Relaxed));
        // Collection writes into the reserve first, and only what it claims beyond that is missing elsewhere.
        let kept = reserve(total).saturating_sub(taken).max(claimed);
        Ok(available.saturating_sub(kept + WORK_BYTES))
    }

    /// A batch of collection is going to write `bytes`: writes do not count on them.
    pub(super) fn claim(&self, bytes: u64) {
        self.claimed.store(bytes, Ordering::Relaxed);
        self.taken.store(0, Ordering::Relaxed);
    }

    /// The batch has made a file of `bytes`.
    pub(super) fn take_claimed(&self, bytes: u64) {
        let less = |claimed: u64| Some(claimed.saturating_sub(bytes));
        let _ = self.claimed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        self.ballast.lock().written += bytes;
    }

    /// The batch writes no more. What it has written is committed, or removed.
    pub(super) fn settle_claim(&self) {
        self.claimed.store(0, Ordering::Relaxed);
        self.ballast.lock().written = 0;
    }

    /// The batch has ended: what it collected has come back.
    pub(super) fn end_claim(&self) {
        self.taken.store(0, Ordering::Relaxed);
    }

    /// Bytes that the store may fill, and those of them that nobody has taken.
    pub(super) fn total_and_available(&self, device: &dyn Device) -> Result<(u64, u64)> {
        let space = device.space().map_err(|error| Error::io("asking for", "free space", error))?;
        let ballast = self.ballast.lock();
        Ok(match ballast.capacity_bytes {
            Some(capacity) => (capacity, ballast.len + ballast.lent.saturating_sub(ballast.written)),
            None => (space.total_bytes, space.available_bytes),
        })
    }

    /// Cuts the ballast so that files of the store can grow by `bytes`, until [`SpaceLedger::give_back`] of what is returned.
    fn lend(&self, bytes: u64) -> Result<u64> {
        let mut ballast = self.ballast.lock();
        let len = ballast.len.saturating_sub(bytes);
        let cut = ballast.len - len;
        ballast.resize(len)?;
        ballast.lent += cut;
        Ok(cut)
    }

    /// A piece of work for which `cut` bytes were cut has ended.
    fn give_back(&self, cut: u64) {
        self.ballast.lock().lent -= cut;
    }

    /// Fills the ballast up to the capacity, when the files of the store take `used` bytes and work under way may take what was
    /// cut for it.
    fn refill(&self, used: u64) -> Result<()> {
        let mut ballast = self.ballast.lock();
        let Some(capacity) = ballast.capacity_bytes else { return Ok(()) };
        let lent = ballast.lent;
        ballast.resize(capacity.saturating_sub(used + lent))
    }

    fn open(&self, device: &dyn Device, capacity_bytes: Option<u64>) -> Result<()> {
        let fail = |error| Error::io("opening", BALLAST_FILE, error);
        let mut ballast = self.ballast.lock();
        ballast.capacity_bytes = capacity_bytes;
        let exists = device.list("").map_err(fail)?.iter().any(|name| name == BALLAST_FILE);
        if capacity_bytes.is_none() {
            (ballast.file, ballast.len) = (None, 0);
            return if exists { device.remove(BALLAST_FILE).map_err(fail) } else { Ok(()) };
        }
        let file = match exists {
            true => device.open(BALLAST_FILE, Access::Buffered),
            false => device.create(BALLAST_FILE, Access::Buffered),
        };
        let file = file.map_err(fail)?;
        ballast.len = file.len().map_err(fail)?;
        ballast.file = Some(file);
        Ok(())
    }
}

impl Ballast {
    fn resize(&mut self, len: u64) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if len < self.len {
            file.set_len(len).map_err(|error| Error::io("cutting", BALLAST_FILE, error))?;
        } else if len > self.len {
            file.allocate(self.len, len - self.len).map_err(|error| {
                // File systems may have extended it in part, and what is not counted would be missing elsewhere.
                if let Err(error) = file.set_len(self.len) {
                    tracing::warn!(%error, "the ballast is longer than it should be until the next start");
                }
                Error::io("extending", BALLAST_FILE, error)
            })?;
        }
        self.len = len;
        Ok(())
    }
}

/// Makes room for recovery in a store whose ballast holds all the room there is: a new manifest file, `journal_bytes` of
/// new journal, and flush jobs. It is filled up again when the store is open.
pub(super) fn cut_ballast(device: &dyn Device, journal_bytes: u64) -> Result<()> {
    let fail = |error| Error::io("cutting", BALLAST_FILE, error);
    let file = match device.open(BALLAST_FILE, Access::Buffered) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    let len = file.len().map_err(fail)?;
    file.set_len(len.saturating_sub(WORK_BYTES + journal_bytes)).map_err(fail)
}

/// Bytes that writes leave alone.
pub(super) fn kept_bytes(total_bytes: u64) -> u64 {
    reserve(total_bytes) + WORK_BYTES
}

/// Kept from user data: for collection, deletion and the manifest.
fn reserve(total_bytes: u64) -> u64 {
    (total_bytes / 50).clamp(RESERVE_BYTES_MIN, 4 << 30)
}

/// What `held` bytes of accepted writes can come to in segments and runs.
fn worst_case(held: u64) -> u64 {
    (held / 64).saturating_mul(WORST_CASE_64THS)
}

/// Bytes of all files that the state names.
pub(super) fn used_bytes(state: &State) -> u64 {
    let segments: u64 = state.segments.values().map(|segment| u64::from(segment.geometry.file_bytes())).sum();
    segments + state.runs.values().map(|run| run.bytes).sum::<u64>()
}

/// Room that is not held for the time being, because a piece of work takes some of it.
pub(super) struct Lent<'a> {
    by: &'a Inner,
    cut: u64,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.by.space.give_back(self.cut);
        self.by.refill_ballast();
    }
}

impl Inner {
    /// Holds the capacity that the manifest names, or lets go of a ballast that is there without one.
    pub(super) fn open_ballast(&self) -> Result<()> {
        let meta = self.meta.lock();
        self.space.open(&*self.device, meta.state.capacity_bytes)?;
        drop(meta);
        // A store that cannot hold all of its capacity still opens: what is in it can be read and deleted.
        self.refill_ballast();
        Ok(())
    }

    /// Bytes the store takes, journal, manifest, superblock and segments that are still being read included.
    fn used_bytes(&self, meta: &Meta) -> u64 {
        let fixed = meta.manifest_allocated_bytes() + SUPERBLOCK_BYTES + self.collector.exits.doomed_bytes();
        used_bytes(&meta.state) + self.generations.total_bytes() + fixed
    }

    /// Bytes that survivors and rewritten runs may take: `beside_flushes` what is left when everything accepted is flushed
    /// meanwhile, and two thirds of what writes could then still count on, so that they go on too; otherwise what is left while no
    /// flush job runs. What is reserved for collection is part of both.
    pub(super) fn room_to_collect(&self, beside_flushes: bool) -> Result<u64> {
        let (total, available) = self.space.total_and_available(&*self.device)?;
        let held = self.pace.held();
        let flushes = if beside_flushes { worst_case(held) + WORK_BYTES } else { MERGE_BYTES };
        let left = available.saturating_sub(flushes + self.generations.missing_bytes(held));
        let for_writes = if beside_flushes { left.saturating_sub(reserve(total)) / 3 * 2 } else { 0 };
        Ok(left - for_writes)
    }

    /// True if `bytes` can be written beside all that flush jobs may have to.
    pub(super) fn has_room_beside_flushes(&self, bytes: u64) -> Result<bool> {
        let (_, available) = self.space.total_and_available(&*self.device)?;
        let held = self.pace.held();
        Ok(available >= bytes + worst_case(held) + WORK_BYTES + self.generations.missing_bytes(held))
    }

    /// Bytes of data that can be reserved, when so many are reserved already.
    pub(super) fn room_to_reserve(&self, reserved: u64) -> Result<u64> {
        let held = self.pace.held();
        let taken = (worst_case(held) + self.generations.missing_bytes(held)).saturating_add(worst_case(reserved));
        Ok(self.space.room(&*self.device)?.saturating_sub(taken) / WORST_CASE_64THS * 64)
    }

    /// Bytes that writes may still hold, one after the other, before one is refused: whatever they bring, and however little of
    /// it has been flushed by then. What is reserved for `own` counts. `beside_64ths` is what others take of the same disk for every 64 of them.
    pub(super) fn room_to_write(&self, own: Option<VolumeId>, beside_64ths: u64) -> Result<u64> {
        self.refuse_if_unwritable()?;
        loop {
            let room = self.find_room(own, beside_64ths)?;
            if room >= SCARCE_BYTES {
                return Ok(room);
            }
            if !self.give_up_surplus()? {
                if self.awaits_collection() {
                    self.background.wake();
                }
                return Ok(room);
            }
        }
    }

    fn find_room(&self, own: Option<VolumeId>, beside_64ths: u64) -> Result<u64> {
        let held = self.pace.held();
        let (others, _) = self.unfilled_bytes(own);
        let reserved = worst_case(others);
        // What is allocated ahead is taken by nobody else.
        let beside_64ths = if self.space.capacity_bytes().is_some() { 0 } else { beside_64ths };
        let room = self.space.room(&*self.device)?.saturating_sub(reserved);
        // What does not fit in memory has been flushed, and its journal is used again; a batch is looked at before it waits for that.
        let journalled_max = self.pace.limit().max(held) + held_bytes_max(0, self.budget.batch_bytes as u64);
        let takes = |more: u64| {
            let journalled = (held + more).min(journalled_max);
            worst_case(held + more) + self.generations.missing_bytes(journalled) + more.div_ceil(64) * beside_64ths
        };
        let (mut fits, mut over) = (0, room + 1);
        if takes(0) >= room {
            return Ok(0);
        }
        while over - fits > BLOCK_BYTES as u64 {
            let middle = fits + (over - fits) / 2;
            if takes(middle) < room { fits = middle } else { over = middle }
        }
        Ok(fits)
    }

    /// True if there is room for a flush job or a merge.
    pub(super) fn has_room_to_work(&self) -> Result<bool> {
        let space = self.device.space().map_err(|error| Error::io("asking for", "free space", error))?;
        Ok(space.available_bytes >= WORK_BYTES)
    }

    /// True if a flush job finds room, that which is held for the store included.
    pub(super) fn has_room_to_flush(&self) -> Result<bool> {
        Ok(self.space.total_and_available(&*self.device)?.1 >= WORK_BYTES)
    }

    /// Prepares a journal file.
    pub(super) fn prepare_generation(&self) -> Result<()> {
        let _lent = self.lend(self.generations.file_bytes())?;
        self.generations.prepare()
    }

    /// Fills one of the journal files that are next with zeros, in a series of syncs; true if there was one to fill.
    pub(super) fn fill_generation(&self) -> Result<bool> {
        let goes_on = || !self.background.is_stopping();
        Ok(self.early_writeback.is_series(self.clock.monotonic())
            && self.generations.fill_next(READY_FILES, goes_on)?)
    }

    /// Removes journal files that are not needed now; true if there were any.
    pub(super) fn give_up_surplus(&self) -> Result<bool> {
        let removed = self.generations.give_up_surplus().map_err(|error| self.poison_unless_full(error))?;
        if removed {
            self.refill_ballast();
        }
        Ok(removed)
    }

    /// Room for work that makes segments and runs, until what is returned is dropped.
    pub(super) fn lend_for_work(&self) -> Result<Lent<'_>> {
        self.lend(WORK_BYTES)
    }

    /// Room for files of `bytes`, until what is returned is dropped.
    pub(super) fn lend(&self, bytes: u64) -> Result<Lent<'_>> {
        Ok(Lent { by: self, cut: self.space.lend(bytes)? })
    }

    /// Fills the ballast up. That it cannot grow back is nobody's failure: somebody else took the room.
    pub(super) fn refill_ballast(&self) {
        let used = self.used_bytes(&self.meta.lock());
        // A store that runs keeps room for the journal files that it has still to make.
        let missing = if self.is_stopped() { 0 } else { self.generations.missing_bytes(0) };
        let used = used + missing;
        if let Err(error) = self.space.refill(used) {
            tracing::warn!(%error, "the store's capacity cannot be held in full");
        }
    }

    /// Changes the space that is held for the store.
    pub(super) fn set_capacity(&self, capacity_bytes: Option<u64>) -> Result<()> {
        self.refuse_if_unwritable()?;
        let mut meta = self.meta.lock();
        let used = self.used_bytes(&meta) + self.generations.missing_bytes(0);
        if capacity_bytes.is_some_and(|capacity| capacity < used + WORK_BYTES) {
            return Err(Error::Invalid { what: "the capacity", must: "at least what the store uses now and 80 MiB" });
        }
        let before = self.space.capacity_bytes();
        self.space.open(&*self.device, capacity_bytes)?;
        let held =
            self.space.refill(used).and_then(|()| self.commit(&mut meta, vec![Edit::SetCapacity(capacity_bytes)]));
        if held.is_err() {
            self.space.open(&*self.device, before)?;
            self.space.refill(used)?;
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::sim::{Faults, SimDevice};
    use crate::test_device::TestDevice;

    #[test]
    fn a_ballast_that_cannot_grow_is_as_long_as_it_was() {
        let device = TestDevice::new();
        device.is_full.store(true, Ordering::Relaxed);
        let file = device.create(BALLAST_FILE, Access::Buffered).expect("there is none yet");
        let mut ballast = Ballast { capacity_bytes: Some(1 << 20), file: Some(file), len: 0, lent: 0, written: 0 };
        assert!(matches!(ballast.resize(8192), Err(Error::OutOfSpace)));
        assert_eq!((ballast.len, device.file(BALLAST_FILE).bytes().len()), (0, 0));
    }

    #[test]
    fn a_batch_takes_the_reserve_first_and_from_writes_only_what_it_claims_beyond() {
        let device = SimDevice::new(1, Faults::none());
        let ledger = SpaceLedger::new(None);
        let room = || ledger.room(&device).expect("the device says how much there is");
        let total_bytes = device.space().expect("the device says how much there is").total_bytes;
        let (free, reserved) = (room(), reserve(total_bytes));
        ledger.claim(reserved);
        assert_eq!(room(), free);
        ledger.claim(reserved + 4096);
        assert_eq!(room(), free - 4096);
        // The device has not lost the bytes that were written here, so they show in what is left.
        ledger.take_claimed(8192);
        assert_eq!(room(), free - 4096 + 8192);
        ledger.settle_claim();
        assert_eq!(room(), free + 8192, "the reserve is still in use");
        ledger.end_claim();
        assert_eq!(room(), free);
    }
}
