//! The front of the store: where accepted writes get their place.
//!
//! Submission is one short critical section in which a batch gets its sequence, LSNs, file offset and place in the
//! checksum chain, and becomes visible; so writes become visible in LSN order. The bytes go to the file outside it, and
//! a submission is answered only when everything placed before it has been written too.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::allowance::Charge;
use super::early;
use super::inner::{FrozenFile, Inner};
use super::payload;
use super::view::View;
use super::volume::VolumeState;
use crate::checksum::{Seal, crc32c};
use crate::device::DIRECT_ALIGNMENT;
use crate::error::Result;
use crate::id::{BLOCK_BYTES, BlockIndex, Epoch, FamilyId, Lsn, Sequence};
use crate::journal::batch::{self, BatchMarks, Record, RecordKind};
use crate::journal::generation::{self, GENERATION_HEADER_BYTES, GenerationFile, GenerationHeader};
use crate::layers::Lineage;
use crate::memtable::{self, Memtable};
use crate::packed::{self, Packed};

/// One change to submit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    pub(super) first: BlockIndex,
    pub(super) count: u64,
    pub(super) kind: RecordKind,
    /// Whole blocks or what they were packed into; empty if the change brings no content.
    pub(super) payload: &'a [u8],
    /// The change was computed from what the blocks held before this sequence: refuse it if they changed since.
    pub(super) based_before: Option<Sequence>,
}

/// What a submission came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Submitted {
    /// Placed and written; this is the sequence of its last record.
    Written(Sequence),
    /// A block that the change was computed from has changed meanwhile: compute it again.
    Outdated,
}

/// What came of a change's attempt to get its place.
enum Placing {
    Placed(Placed),
    Outdated,
    /// Others have taken what the volume's quota left: what it does has to be looked up.
    OverQuota,
}

/// Where the next batch goes.
pub(super) struct Front {
    pub(super) file: GenerationFile,
    seal: Seal,
    offset: u64,
    /// Up to here the device was told to begin writing, or has not been told for want of anybody who syncs.
    begun: u64,
    previous: u32,
    /// Sequence of the next record.
    pub(super) next: Sequence,
    pub(super) memtable: Arc<Memtable>,
}

/// A batch that has its place and has still to be written there.
struct Placed {
    file: GenerationFile,
    offset: u64,
    head: Vec<u8>,
    payload: Bytes,
    first: Sequence,
    last: Sequence,
    /// What the device is to begin with when this batch has been written: offset and length.
    begin: Option<(u64, u64)>,
}

impl Front {
    /// The front at the start of a generation whose header is already in the file.
    pub(super) fn new(
        inner_seal: Seal,
        file: GenerationFile,
        header: &GenerationHeader,
        memtable: Arc<Memtable>,
    ) -> Self {
        Self {
            file,
            seal: inner_seal,
            offset: GENERATION_HEADER_BYTES as u64,
            begun: 0,
            previous: header.previous,
            next: header.first,
            memtable,
        }
    }

    fn place(&mut self, marks: &BatchMarks, records: &[Record], payload: Bytes) -> Placed {
        let offset = self.offset;
        let mut head = Vec::with_capacity(batch::HEADER_BYTES + records.len() * batch::RECORD_BYTES);
        self.previous = batch::encode(&self.seal, offset, self.previous, marks, records, &mut head);
        self.offset += batch::batch_bytes(records.len(), payload.len());
        self.next = Sequence(marks.first.0 + records.len() as u64);
        let last = Sequence(self.next.0 - 1);
        Placed { file: self.file.clone(), offset, head, payload, first: marks.first, last, begin: None }
    }

    /// What was placed since the last time, if it is enough for the device to begin with.
    fn take_piece(&mut self) -> Option<(u64, u64)> {
        let (offset, len) = (self.begun, self.offset - self.begun);
        (len >= early::PIECE_BYTES).then(|| {
            self.begun = self.offset;
            (offset, len)
        })
    }

    /// A mark outside the chain. It must not be where the next batch would be, which does not name it.
    fn mark_at(&self, offset: u64, marks: &BatchMarks) -> Placed {
        let mut head = Vec::with_capacity(batch::HEADER_BYTES);
        batch::encode(&self.seal, offset, self.previous, marks, &[], &mut head);
        let last = Sequence(marks.first.0 - 1);
        let file = self.file.clone();
        Placed { file, offset, head, payload: Bytes::new(), first: marks.first, last, begin: None }
    }

    /// Makes the records visible; those of packed blocks have `packed`.
    fn insert(
        &self,
        records: &[Record],
        family_of: impl Fn(&Record) -> FamilyId,
        first: Sequence,
        payload: &Bytes,
        packed: Option<&Arc<Packed>>,
    ) {
        let mut at = 0;
        for (index, record) in records.iter().enumerate() {
            let sequence = Sequence(first.0 + index as u64);
            let of = (family_of(record), record.layer);
            match record.kind {
                RecordKind::Data => {
                    let len = record.payload_bytes as usize;
                    self.memtable.insert_data(of, record.first, sequence, &payload.slice(at..at + len));
                    at += len;
                }
                RecordKind::Packed => {
                    let packed = packed.expect("packed blocks come with what they were packed into");
                    self.memtable.insert_packed(of, record.first, sequence, packed);
                }
                RecordKind::Zero | RecordKind::Hole => {
                    let hole = record.kind == RecordKind::Hole;
                    self.memtable.insert_zeroed(of, record.first, record.count, sequence, hole);
                }
            }
        }
    }
}

impl Inner {
    /// Submits changes of one volume as one batch; answered when it and all before it have been handed to the kernel.
    pub(super) fn submit(&self, volume: &VolumeState, changes: &[Change<'_>]) -> Result<Submitted> {
        let payload_bytes: usize = changes.iter().map(|change| change.payload.len()).sum();
        assert!(payload_bytes <= self.budget.batch_bytes, "the caller cuts large writes");
        let held = held_bytes(changes.len(), payload_bytes);
        self.admit(volume, payload_bytes as u64, held)?;
        let payload = self.payloads.gather(payload_bytes, changes.iter().map(|change| change.payload));
        self.place_and_write(volume, changes, payload, None, held)
    }

    /// Packs whole blocks and submits them as one record.
    pub(super) fn submit_packed(&self, volume: &VolumeState, first: BlockIndex, data: &[u8]) -> Result<Submitted> {
        self.submit_prepacked(volume, first, Arc::new(self.packers.pack(data, &self.payloads)))
    }

    /// Submits packed blocks as one record.
    pub(super) fn submit_prepacked(
        &self,
        volume: &VolumeState,
        first: BlockIndex,
        packed: Arc<Packed>,
    ) -> Result<Submitted> {
        let payload = packed.payload().clone();
        let overhead = packed.len() * (memtable::ENTRY_BYTES + packed::BLOCK_OVERHEAD_BYTES);
        let held = held_bytes(1, payload.len()) + overhead as u64;
        self.admit(volume, payload.len() as u64, held)?;
        let count = packed.len() as u64;
        let change = Change { first, count, kind: RecordKind::Packed, payload: &payload, based_before: None };
        self.place_and_write(volume, &[change], payload.clone(), Some(&packed), held)
    }

    fn place_and_write(
        &self,
        volume: &VolumeState,
        changes: &[Change<'_>],
        payload: Bytes,
        packed: Option<&Arc<Packed>>,
        held: u64,
    ) -> Result<Submitted> {
        let submitted = match self.place_charged(volume, changes, payload, packed, held) {
            Ok(Some(placed)) => {
                let last = placed.last;
                self.write_placed(placed).map(|()| Submitted::Written(last))
            }
            Ok(None) => Ok(Submitted::Outdated),
            Err(error) => Err(error),
        };
        if !matches!(submitted, Ok(Submitted::Written(_))) {
            self.pace.give_back(held);
        }
        submitted
    }

    /// Gives the changes their place, if the volume's quota has room for them; `None` if they are outdated.
    fn place_charged(
        &self,
        volume: &VolumeState,
        changes: &[Change<'_>],
        payload: Bytes,
        packed: Option<&Arc<Packed>>,
        held: u64,
    ) -> Result<Option<Placed>> {
        loop {
            let charge = self.charge(volume, changes, packed.map(|packed| &**packed))?;
            match self.place(volume, changes, &payload, packed, held, &charge)? {
                Placing::Placed(placed) => return Ok(Some(placed)),
                Placing::Outdated => return Ok(None),
                Placing::OverQuota => {}
            }
        }
    }

    /// Gives the changes their place and makes them visible.
    fn place(
        &self,
        volume: &VolumeState,
        changes: &[Change<'_>],
        payload: &Bytes,
        packed: Option<&Arc<Packed>>,
        held: u64,
        charge: &Charge<'_>,
    ) -> Result<Placing> {
        let checksums: Vec<u32> = changes.iter().map(|change| crc32c(change.payload)).collect();
        let mut front = self.front.lock();
        self.make_room(&mut front, changes.len(), payload.len())?;
        let lineage = volume.lineage()?;
        if self.is_outdated(&front, &lineage, changes) {
            return Ok(Placing::Outdated);
        }
        if !volume.allowance().pay(charge) {
            return Ok(Placing::OverQuota);
        }
        let records = assign(volume, changes, &checksums);
        let marks = self.marks(front.next);
        front.memtable.hold(held);
        front.insert(&records, |_| lineage.family(), marks.first, payload, packed);
        let mut placed = front.place(&marks, &records, payload.clone());
        placed.begin = front.take_piece().filter(|_| self.early_writeback.is_wanted(self.clock.monotonic()));
        Ok(Placing::Placed(placed))
    }

    /// Submits records that recovery has replayed, as one batch.
    pub(super) fn append_records(&self, batch: &[(Record, &[u8])]) -> Result<()> {
        let payload_bytes: usize = batch.iter().map(|(_, payload)| payload.len()).sum();
        let held = held_bytes(batch.len(), payload_bytes);
        self.hold_replayed(held)?;
        let records: Vec<_> = batch.iter().map(|(record, _)| *record).collect();
        let payload = self.payloads.gather(payload_bytes, batch.iter().map(|(_, part)| *part));
        let placed = {
            let mut front = self.front.lock();
            self.make_room(&mut front, records.len(), payload_bytes)?;
            let marks = self.marks(front.next);
            front.memtable.hold(held);
            front.insert(&records, |record| self.family_of(record), marks.first, &payload, None);
            front.place(&marks, &records, payload)
        };
        self.write_placed(placed)
    }

    /// Writes a batch without records, so that the newest synced batch is named by another one: on the next page, which
    /// may rot by itself, apart from the chain. What comes later is written over it.
    pub(super) fn append_mark(&self) -> Result<()> {
        let mut front = self.front.lock();
        self.make_room(&mut front, 0, 0)?;
        let marks = self.marks(front.next);
        let next_page = front.offset.next_multiple_of(DIRECT_ALIGNMENT as u64);
        let placed = if front.offset < next_page && next_page < front.file.bytes {
            front.mark_at(next_page, &marks)
        } else {
            front.place(&marks, &[], Bytes::new())
        };
        // No watermark waits for a mark, so it is written before anything can be placed behind it: a batch whose
        // predecessor is missing is lost, however well it was synced.
        placed.file.write(&[IoSlice::new(&placed.head)], placed.offset).map_err(|error| self.poison(error))
    }

    pub(super) fn marks(&self, first: Sequence) -> BatchMarks {
        BatchMarks {
            first,
            synced: Sequence(self.synced.load(Ordering::Acquire)),
            manifest: self.manifest_sequence.load(Ordering::Acquire),
            wall_ms: self.wall_ms(),
        }
    }

    fn write_placed(&self, placed: Placed) -> Result<()> {
        let parts = [IoSlice::new(&placed.head), IoSlice::new(&placed.payload)];
        placed.file.write(&parts, placed.offset).map_err(|error| self.poison(error))?;
        if !self.written.complete_and_wait(placed.first, placed.last) {
            return Err(self.poisoned());
        }
        if let Some((offset, len)) = placed.begin {
            placed.file.start_writeback(offset, len);
        }
        Ok(())
    }

    fn make_room(&self, front: &mut Front, record_count: usize, payload_bytes: usize) -> Result<()> {
        self.refuse_if_poisoned()?;
        if front.offset + batch::batch_bytes(record_count, payload_bytes) > front.file.bytes {
            self.rotate(front)?;
        }
        Ok(())
    }

    /// Freezes the memtable and goes on in the next generation.
    pub(super) fn rotate(&self, front: &mut Front) -> Result<()> {
        let file = self.generations.take().map_err(|error| self.poison_unless_full(error))?;
        let header = self.begin_generation(&file, front.next, front.previous)?;
        let seal = generation::seal(self.store, file.generation);
        let memtable = Arc::new(Memtable::new(file.generation, front.next));
        let last = Sequence(front.next.0 - 1);
        self.frozen_files.lock().insert(front.file.generation, FrozenFile { file: front.file.clone(), last });
        self.unsynced.lock().push(file.clone());
        self.publish_rotated(&memtable);
        *front = Front::new(seal, file, &header, memtable);
        self.background.wake();
        Ok(())
    }

    /// Writes the header of a generation that starts with record `first`.
    pub(super) fn begin_generation(
        &self,
        file: &GenerationFile,
        first: Sequence,
        previous: u32,
    ) -> Result<GenerationHeader> {
        let marks = self.marks(first);
        let header = GenerationHeader {
            generation: file.generation,
            incarnation: self.incarnation,
            first,
            previous,
            synced: marks.synced,
            manifest: marks.manifest,
            file_bytes: file.bytes,
        };
        file.write(&[IoSlice::new(&header.encode(self.store))], 0).map_err(|error| self.poison(error))?;
        if self.is_recovering() {
            // What an unfinished recovery leaves behind must be known by its incarnation, or its batches would be taken
            // for lost ones of the journal that it copied.
            file.sync().map_err(|error| self.poison(error))?;
        }
        Ok(header)
    }

    fn is_outdated(&self, front: &Front, lineage: &Lineage, changes: &[Change<'_>]) -> bool {
        // One view for both questions: between two views a flush job may take the answer out of memory.
        let view = self.view();
        changes.iter().any(|change| {
            change.based_before.is_some_and(|before| {
                // What a flush job took out of memory since can no longer be compared.
                before <= view.flushed
                    || (change.first.0..change.first.0 + change.count)
                        .any(|block| changed_since(front, &view, lineage, BlockIndex(block), before))
            })
        })
    }
}

fn changed_since(front: &Front, view: &View, lineage: &Lineage, block: BlockIndex, before: Sequence) -> bool {
    let newest = front
        .memtable
        .lookup_with_sequence(lineage, block)
        .or_else(|| view.frozen().find_map(|memtable| memtable.lookup_with_sequence(lineage, block)));
    newest.is_some_and(|(_, sequence)| sequence >= before)
}

/// Memory a batch holds until its memtable has been flushed.
fn held_bytes(change_count: usize, payload_bytes: usize) -> u64 {
    (payload::capacity(payload_bytes) + (change_count + payload_bytes / BLOCK_BYTES) * memtable::ENTRY_BYTES) as u64
}

/// Bytes that a write may hold at most, however it is cut, packed, and put together with others. A buffer of several
/// writes may be nearly twice as long as what is in it.
pub(super) fn held_bytes_max(offset: u64, len: u64) -> u64 {
    if len == 0 {
        return 0;
    }
    let block = BLOCK_BYTES as u64;
    let blocks = (offset % block).saturating_add(len).div_ceil(block);
    let overhead = memtable::ENTRY_BYTES + packed::BLOCK_OVERHEAD_BYTES;
    blocks.saturating_mul(2 * block + overhead as u64).saturating_add(2 * memtable::ENTRY_BYTES as u64)
}

/// Gives the changes their LSNs. The caller holds the front's lock.
fn assign(volume: &VolumeState, changes: &[Change<'_>], checksums: &[u32]) -> Vec<Record> {
    let (lsn, layer) = (volume.advance_lsn(changes.len() as u64), volume.layer());
    changes
        .iter()
        .zip(checksums)
        .enumerate()
        .map(|(index, (change, checksum))| Record {
            volume: volume.id(),
            layer,
            first: change.first,
            count: change.count,
            lsn: Lsn(lsn.0 + index as u64),
            epoch: Epoch(0),
            kind: change.kind,
            payload_bytes: change.payload.len() as u32,
            payload_checksum: *checksum,
        })
        .collect()
}
