//! A volume of an open store: reads, writes, zeroing and flushes by byte offset.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;

use super::allowance::Allowance;
use super::decode::Keep;
use super::front::{Change, Submitted};
use super::inner::Inner;
use super::reads::{CACHED_BLOCKS_MAX, VolumeReads};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::id::{BLOCK_BYTES, BLOCK_SHIFT, BlockIndex, LayerId, Lsn, Sequence, VolumeId};
use crate::journal::batch::{RECORDS_MAX, RecordKind};
use crate::layers::{LayerTree, Lineage};
use crate::manifest::VolumeRecord;
use crate::read::ReadData;
use crate::request::{BlockIdentity, ChangedExtent, StatusExtent, Write, Zeroing};

/// The most that one [`Volume::prefetch`] reads.
pub const PREFETCH_BYTES_MAX: u64 = 4 << 20;

/// Whole blocks of this many bytes that come together are packed at once. Smaller writes are often overwritten before
/// they are flushed, which saves packing them at all.
const PACKED_BYTES_MIN: usize = 64 << 10;

/// What the store keeps in memory of a volume.
#[derive(Debug)]
pub(super) struct VolumeState {
    id: VolumeId,
    snapshot_of: Option<VolumeId>,
    /// The layer that takes its writes, or that it is a snapshot of; changed under the front's lock only.
    layer: AtomicU64,
    /// What its readers see. A snapshot's is found when it is first opened: there may be thousands of them, and each
    /// names all layers before it.
    lineage: RwLock<Option<Lineage>>,
    /// Nobody reads it any more, and what it held may be dropped.
    removed: AtomicBool,
    codec: Codec,
    created_ms: u64,
    size_bytes: AtomicU64,
    /// The last LSN given out; changed under the front's lock only.
    lsn: AtomicU64,
    /// Sequence of the newest answered change.
    answered: AtomicU64,
    allowance: Allowance,
    /// Whoever writes to it has seen to it that there is room.
    is_foreseen: AtomicBool,
}

impl VolumeState {
    pub(super) fn new(id: VolumeId, record: &VolumeRecord) -> Self {
        Self {
            id,
            snapshot_of: record.snapshot_of,
            layer: AtomicU64::new(record.layer.0),
            lineage: RwLock::new(None),
            removed: AtomicBool::new(false),
            codec: record.codec,
            created_ms: record.created_ms,
            size_bytes: AtomicU64::new(record.size_bytes),
            lsn: AtomicU64::new(record.lsn.0),
            answered: AtomicU64::new(0),
            allowance: Allowance::default(),
            is_foreseen: AtomicBool::new(false),
        }
    }

    pub(super) fn id(&self) -> VolumeId {
        self.id
    }

    /// The volume of which this is a snapshot.
    pub(super) fn snapshot_of(&self) -> Option<VolumeId> {
        self.snapshot_of
    }

    /// The layers that its readers see. Whoever reads takes the view first: what an older lineage names may be gone from a
    /// newer view.
    ///
    /// # Errors
    /// `NotFound` once it has been removed.
    pub(super) fn lineage(&self) -> Result<Lineage> {
        if self.removed.load(Ordering::Acquire) {
            return Err(Error::NoSuchVolume(self.id));
        }
        Ok(self.lineage.read().clone().expect("a volume that is open has a lineage"))
    }

    /// Finds its lineage among the layers there are, unless it is known.
    pub(super) fn settle(&self, layers: &LayerTree) {
        let mut lineage = self.lineage.write();
        if lineage.is_none() {
            *lineage = layers.lineage_of(self.layer());
        }
    }

    /// Moves to another layer. The caller holds the front's lock.
    pub(super) fn move_to(&self, lineage: Lineage) {
        self.layer.store(lineage.newest().0, Ordering::Release);
        *self.lineage.write() = Some(lineage);
    }

    /// From now on nobody may read it.
    pub(super) fn set_removed(&self, removed: bool) {
        self.removed.store(removed, Ordering::Release);
    }

    /// The layer that takes its writes, or that it is a snapshot of.
    pub(super) fn layer(&self) -> LayerId {
        LayerId(self.layer.load(Ordering::Acquire))
    }

    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Its limits, and how much it maps if it has any.
    pub(super) fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// True if its writes are let in whatever is reserved for others.
    pub(super) fn is_foreseen(&self) -> bool {
        self.is_foreseen.load(Ordering::Relaxed)
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    pub(super) fn resize(&self, size_bytes: u64) {
        self.size_bytes.store(size_bytes, Ordering::Release);
    }

    /// What the manifest keeps of the volume now.
    pub(super) fn record(&self) -> VolumeRecord {
        VolumeRecord {
            size_bytes: self.size_bytes(),
            codec: self.codec,
            layer: self.layer(),
            lsn: Lsn(self.lsn.load(Ordering::Acquire)),
            created_ms: self.created_ms,
            snapshot_of: self.snapshot_of,
        }
    }

    /// Gives out `count` LSNs and returns the first. The caller holds the front's lock.
    pub(super) fn advance_lsn(&self, count: u64) -> Lsn {
        Lsn(self.lsn.fetch_add(count, Ordering::AcqRel) + 1)
    }

    /// Recovery has seen this LSN.
    pub(super) fn raise_lsn(&self, lsn: Lsn) {
        self.lsn.fetch_max(lsn.0, Ordering::AcqRel);
    }
}

/// A volume to read and write. Cheap to clone; usable from many threads.
#[derive(Clone)]
pub struct Volume {
    inner: Arc<Inner>,
    state: Arc<VolumeState>,
}

impl Volume {
    pub(super) fn new(inner: Arc<Inner>, state: Arc<VolumeState>) -> Self {
        Self { inner, state }
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(super) fn state(&self) -> &VolumeState {
        &self.state
    }

    /// The volume's id.
    #[must_use]
    pub fn id(&self) -> VolumeId {
        self.state.id()
    }

    /// Size in bytes now.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.state.size_bytes()
    }

    /// How new blocks are compressed.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.state.codec()
    }

    /// True if it is a snapshot, or the store was opened for reading only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.inner.read_only || self.state.snapshot_of().is_some()
    }

    /// From now on, until the store is closed, its writes are let in whatever is reserved for others: whoever writes has seen to
    /// it before, by [`super::Store::room_to_write`], and cannot take it back.
    pub fn foresee_room(&self) {
        self.state.is_foreseen.store(true, Ordering::Relaxed);
    }

    pub(super) fn refuse_if_unwritable(&self) -> Result<()> {
        if self.is_read_only() {
            return Err(Error::ReadOnly);
        }
        self.inner.refuse_if_poisoned()
    }

    /// Applies `writes` in order. On return they have been handed to the kernel: they survive the death of the process;
    /// [`Volume::flush`] makes them survive that of the machine.
    ///
    /// # Errors
    /// `OutOfSpace` if there is no room for new data, or the volume's quota is reached; writes before the one that met it
    /// have been applied. `Invalid`
    /// beyond the end, before anything was applied. `Poisoned` after an I/O error.
    pub fn write(&self, writes: &[Write<'_>]) -> Result<()> {
        self.refuse_if_unwritable()?;
        for write in writes {
            self.check_range(write.offset, write.data.len() as u64)?;
        }
        let mut group = Group { volume: self, changes: Vec::with_capacity(writes.len()), bytes: 0 };
        for write in writes {
            self.write_one(write, &mut group)?;
        }
        group.submit()
    }

    fn write_one<'a>(&self, write: &Write<'a>, group: &mut Group<'_, 'a>) -> Result<()> {
        let (mut offset, mut data) = (write.offset, write.data);
        let head = (offset.next_multiple_of(BLOCK_BYTES as u64) - offset).min(data.len() as u64) as usize;
        if head > 0 {
            group.submit()?;
            self.merge(offset, head, |part| part.copy_from_slice(&data[..head]))?;
            (offset, data) = (offset + head as u64, &data[head..]);
        }
        let (whole, tail) = data.split_at(data.len() / BLOCK_BYTES * BLOCK_BYTES);
        for piece in whole.chunks(self.inner.budget.batch_bytes) {
            if self.is_worth_packing(piece.len()) {
                group.submit()?;
                self.submitted(self.inner.submit_packed(&self.state, block_of(offset), piece)?);
            } else {
                group.push(block_of(offset), piece)?;
            }
            offset += piece.len() as u64;
        }
        if !tail.is_empty() {
            group.submit()?;
            self.merge(offset, tail.len(), |part| part.copy_from_slice(tail))?;
        }
        Ok(())
    }

    /// Changes part of one block: reads it, applies `change` to the part, writes it whole. If the block was written
    /// meanwhile, does it again: no lock is held while the base is read.
    fn merge(&self, offset: u64, len: usize, change: impl Fn(&mut [u8])) -> Result<()> {
        let first = block_of(offset);
        let start = (offset - first.byte_offset()) as usize;
        assert!(start + len <= BLOCK_BYTES, "a partial change lies in one block");
        loop {
            let before = self.inner.front.lock().next;
            let mut block = vec![0; BLOCK_BYTES];
            self.inner.read_blocks(&self.state, first, 1)?.copy_to(&mut block);
            change(&mut block[start..start + len]);
            let kind = RecordKind::Data;
            let change = Change { first, count: 1, kind, payload: &block, based_before: Some(before) };
            if self.submit(&[change])? {
                return Ok(());
            }
        }
    }

    /// Makes a range read as zeros. Costs the same whatever its length; needs no space for data.
    ///
    /// # Errors
    /// As [`Volume::write`].
    pub fn zero(&self, offset: u64, len: u64, zeroing: Zeroing) -> Result<()> {
        self.refuse_if_unwritable()?;
        self.check_range(offset, len)?;
        self.zero_range(offset, len, zeroing)
    }

    pub(super) fn zero_range(&self, offset: u64, len: u64, zeroing: Zeroing) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        let block = BLOCK_BYTES as u64;
        let end = offset + len;
        let (first, last) = (offset.next_multiple_of(block), end / block * block);
        if first > last {
            return self.merge(offset, len as usize, |part| part.fill(0));
        }
        if offset < first {
            self.merge(offset, (first - offset) as usize, |part| part.fill(0))?;
        }
        if first < last {
            let kind = match zeroing {
                Zeroing::Hole => RecordKind::Hole,
                Zeroing::Allocated => RecordKind::Zero,
            };
            let count = (last - first) >> BLOCK_SHIFT;
            let change = Change { first: block_of(first), count, kind, payload: &[], based_before: None };
            assert!(self.submit(&[change])?, "an unconditional change is never outdated");
        }
        if last < end {
            self.merge(last, (end - last) as usize, |part| part.fill(0))?;
        }
        Ok(())
    }

    /// Waits until every change of this volume that was answered before the call is on stable storage.
    ///
    /// # Errors
    /// `Poisoned` if the sync failed, now or before; what was not flushed before may be lost.
    pub fn flush(&self) -> Result<()> {
        if self.is_read_only() {
            return Ok(());
        }
        self.inner.sync_to(Sequence(self.state.answered.load(Ordering::Acquire)))
    }

    /// Reads `len` bytes, waiting for the disk as needed.
    ///
    /// # Errors
    /// `Corrupt` if what is on disk is not what was written; `Io` if it cannot be read; `Invalid` beyond the end.
    pub fn read(&self, offset: u64, len: usize) -> Result<ReadData> {
        self.check_range(offset, len as u64)?;
        self.inner.read_bytes(&self.state, offset, len, Keep::None)
    }

    /// Brings blocks into the cache, waiting for the disk: those of the first [`PREFETCH_BYTES_MAX`] of the range, because
    /// whatever else the thread has to do waits too.
    ///
    /// # Errors
    /// As [`Volume::read`]; blocks before the one that met it are in the cache.
    pub fn prefetch(&self, offset: u64, len: u64) -> Result<()> {
        self.check_range(offset, len)?;
        let end = offset + len.min(PREFETCH_BYTES_MAX);
        let mut at = offset;
        while at < end {
            // Pieces of aligned blocks, none so long that the cache takes it for a stream.
            let piece_end = (at + 1).next_multiple_of((CACHED_BLOCKS_MAX * BLOCK_BYTES) as u64).min(end);
            self.inner.read_bytes(&self.state, at, (piece_end - at) as usize, Keep::All)?;
            at = piece_end;
        }
        Ok(())
    }

    /// A place for one thread's reads that must not block it.
    ///
    /// # Errors
    /// `Io` if the machine gives no read queue.
    pub fn reads(&self) -> Result<VolumeReads> {
        VolumeReads::new(Arc::clone(&self.inner), Arc::clone(&self.state))
    }

    /// The states of `[offset, offset + len)` from its start: at least one extent, at most `extents_max`, covering the
    /// range from its start and perhaps not to its end. Adjacent extents differ in state.
    ///
    /// # Errors
    /// `Invalid` beyond the end or for an empty range; `Io` and `Corrupt` if the map cannot be read.
    pub fn block_status(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<StatusExtent>> {
        self.check_range(offset, len)?;
        if len == 0 || extents_max == 0 {
            return Err(Error::Invalid { what: "the range and the number of extents", must: "at least 1" });
        }
        self.inner.block_status(&self.state, offset, len, extents_max)
    }

    /// Where `[offset, offset + len)` differs from what `other` holds, another volume or snapshot of the same family (one is a
    /// snapshot or a clone of the other, or both are of a third): at least one extent, at most `extents_max`, covering the
    /// range from its start and perhaps not to its end. Adjacent extents differ in `changed`. Reads no data; costs what the
    /// two do not share.
    ///
    /// # Errors
    /// `Invalid` beyond the end, for an empty range, or if the two are not of one family; `Io` and `Corrupt` if the map cannot
    /// be read.
    pub fn changes_since(&self, other: &Self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<ChangedExtent>> {
        self.check_range(offset, len)?;
        if len == 0 || extents_max == 0 {
            return Err(Error::Invalid { what: "the range and the number of extents", must: "at least 1" });
        }
        self.inner.changes(&other.state, &self.state, offset, len, extents_max)
    }

    /// Bytes that it maps now: blocks with data, 4 KiB each. Reads its map, some seconds for each TiB mapped; `go_on` is asked now
    /// and then, and `None` comes of it if it says no.
    ///
    /// # Errors
    /// `Io` and `Corrupt` if the map cannot be read; `NotFound` once it has been removed.
    pub fn mapped_bytes(&self, go_on: impl Fn() -> bool) -> Result<Option<u64>> {
        self.inner.mapped_bytes(&self.state, go_on)
    }

    /// For each block of a range whether it is mapped, as [`Volume::mapped_bytes`] counts; looked up one by one.
    ///
    /// # Errors
    /// As [`Volume::mapped_bytes`]; `Invalid` beyond the end.
    pub fn are_mapped(&self, blocks: Range<u64>) -> Result<Vec<bool>> {
        if blocks.end > self.block_count() {
            return Err(Error::Invalid { what: "a range of blocks", must: "within the volume" });
        }
        self.inner.are_mapped(&self.state, blocks)
    }

    /// How many blocks it has; the volume's end may cut the last one.
    #[must_use]
    pub fn block_count(&self) -> u64 {
        self.size_bytes().div_ceil(BLOCK_BYTES as u64)
    }

    /// What `count` blocks from `first` on hold, by fingerprint: at least one entry, at most `entries_max`, covering the
    /// range from its start and perhaps not to its end. Adjacent entries are not both zeros. A last block that the volume's
    /// end cuts has the fingerprint of what is in the volume and zeros behind; of all others no content is read. Costs what
    /// is mapped, not how large the volume is. What is written meanwhile may be in the answer or not, as in a read.
    ///
    /// # Errors
    /// `Invalid` beyond the end or for an empty range; `Io` and `Corrupt` if the map or a fingerprint cannot be read.
    pub fn fingerprints(&self, first: BlockIndex, count: u64, entries_max: usize) -> Result<Vec<BlockIdentity>> {
        let blocks = self.check_blocks(first, count)?;
        if count == 0 || entries_max == 0 {
            return Err(Error::Invalid { what: "the range and the number of entries", must: "at least 1" });
        }
        self.inner.fingerprints(&self.state, blocks, entries_max)
    }

    pub(super) fn submit(&self, changes: &[Change<'_>]) -> Result<bool> {
        Ok(self.submitted(self.inner.submit(&self.state, changes)?))
    }

    pub(super) fn submitted(&self, submitted: Submitted) -> bool {
        match submitted {
            Submitted::Written(last) => {
                self.state.answered.fetch_max(last.0, Ordering::AcqRel);
                true
            }
            Submitted::Outdated => false,
        }
    }

    /// zstd would keep the client waiting, and gains from what only the flush job sees together.
    fn is_worth_packing(&self, len: usize) -> bool {
        self.state.codec() == Codec::Lz4 && len >= PACKED_BYTES_MIN.min(self.inner.budget.batch_bytes)
    }

    pub(super) fn check_blocks(&self, first: BlockIndex, count: u64) -> Result<Range<BlockIndex>> {
        match first.0.checked_add(count) {
            Some(end) if end <= self.block_count() => Ok(first..BlockIndex(end)),
            _ => {
                let (offset, len) =
                    (first.0.saturating_mul(BLOCK_BYTES as u64), count.saturating_mul(BLOCK_BYTES as u64));
                Err(Error::BeyondEnd { offset, len, size: self.size_bytes() })
            }
        }
    }

    pub(super) fn check_range(&self, offset: u64, len: u64) -> Result<()> {
        let size = self.size_bytes();
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(()),
            _ => Err(Error::BeyondEnd { offset, len, size }),
        }
    }
}

/// The block that the byte at `offset` belongs to.
pub(super) fn block_of(offset: u64) -> BlockIndex {
    BlockIndex(offset >> BLOCK_SHIFT)
}

/// Whole-block writes gathered into one submission.
struct Group<'v, 'a> {
    volume: &'v Volume,
    changes: Vec<Change<'a>>,
    bytes: usize,
}

impl<'a> Group<'_, 'a> {
    fn push(&mut self, first: BlockIndex, payload: &'a [u8]) -> Result<()> {
        if self.bytes + payload.len() > self.volume.inner.budget.batch_bytes || self.changes.len() == RECORDS_MAX {
            self.submit()?;
        }
        let count = (payload.len() / BLOCK_BYTES) as u64;
        self.changes.push(Change { first, count, kind: RecordKind::Data, payload, based_before: None });
        self.bytes += payload.len();
        Ok(())
    }

    fn submit(&mut self) -> Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        assert!(self.volume.submit(&self.changes)?, "an unconditional change is never outdated");
        self.changes.clear();
        self.bytes = 0;
        Ok(())
    }
}
