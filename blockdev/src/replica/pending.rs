//! What a volume's log has and the store has not: in memory, for reads to see over the store's content, and for the applier to
//! take.
//!
//! Invariants: records are consecutive; what is applied is visible, and what is visible is in the log; only the newest
//! records are ever cut off.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use lsm_store::read::{Piece, ReadData};
use net::replication::Lsn;
use parking_lot::{Condvar, Mutex};

use super::mapped::{Growth, Mapped};
use super::memory::Memory;
use super::operation::{self, Operation};

/// Changes are found by the pieces of the volume that they touch, of this many bytes.
const CHUNK_SHIFT: u32 = 16;

/// A change of more chunks is not entered under each of them.
const CHUNKS_MAX: u64 = 32;

/// What a record costs in memory besides its data.
const RECORD_OVERHEAD_BYTES: u64 = 256;

/// A record's operations.
pub type Operations = Arc<[Operation]>;

struct Entry {
    operations: Operations,
    bytes: u64,
    room_bytes: u64,
    growth: Growth,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    /// The store has everything up to here; the first entry is the next.
    applied: Lsn,
    /// The store may have everything up to here.
    applying: Lsn,
    /// Reads see everything up to here.
    visible: Lsn,
    /// The LSNs that touch a chunk, ascending.
    chunks: HashMap<u64, VecDeque<Lsn>>,
    /// The LSNs that touch too many chunks.
    wide: BTreeSet<Lsn>,
    bytes: u64,
    room_bytes: u64,
    /// What the volume maps with all of them.
    mapped: Mapped,
}

/// What is in the log and not in the store yet.
#[derive(Default)]
pub struct Pending {
    state: Mutex<State>,
    /// What all replicas of the node hold together.
    memory: Arc<Memory>,
    /// The store has got further.
    advanced: Condvar,
}

/// What a read has to lay over the store's content.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// It sees everything up to here.
    pub visible: Lsn,
    /// Something that the store must have before it can be read.
    pub barrier: Option<Lsn>,
    changes: Vec<Operations>,
}

/// What the applier is to do.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The last record of it.
    pub last: Lsn,
    /// The records' operations, in order.
    pub records: Vec<Operations>,
}

impl Pending {
    /// Nothing, of a store that has everything up to `applied`.
    #[must_use]
    pub fn new(applied: Lsn, memory: Arc<Memory>) -> Self {
        let state = State { applied, applying: applied, visible: applied, ..State::default() };
        Self { state: Mutex::new(state), memory, advanced: Condvar::new() }
    }

    /// Changes the state, and says what that does to the memory held.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let before = state.bytes;
        let done = change(&mut state);
        self.memory.note(before, state.bytes);
        done
    }

    /// Adds records from `first` on, which follow those that are there.
    pub fn append(&self, first: Lsn, records: impl IntoIterator<Item = Operations>) {
        let bounded = |operations: Operations| {
            let growth = Growth::bound(&operations);
            (operations, growth)
        };
        self.append_grown(first, records.into_iter().map(bounded));
    }

    /// As [`Self::append`], of records of which somebody knows what they do to the bytes mapped.
    pub fn append_grown(&self, first: Lsn, records: impl IntoIterator<Item = (Operations, Growth)>) {
        self.change(|state| {
            assert_eq!(first, state.end().next(), "records come in order");
            records.into_iter().for_each(|(operations, growth)| state.push(operations, growth));
        });
    }

    /// Takes the records behind `beyond` away.
    pub fn truncate(&self, beyond: Lsn) {
        self.change(|state| {
            assert!(beyond >= state.applying, "what the store has is never cut off");
            while state.end() > beyond {
                state.pop_last();
            }
            state.visible = state.visible.min(beyond);
        });
    }

    /// Starts again with a store that has everything up to `applied`.
    pub fn replace(&self, applied: Lsn) {
        let anew = State { applied, applying: applied, visible: applied, ..State::default() };
        self.change(|state| *state = anew);
        self.advanced.notify_all();
    }

    /// Reads see everything up to here.
    pub fn show(&self, visible: Lsn) {
        let mut state = self.state.lock();
        state.visible = state.visible.max(visible.min(state.end()));
    }

    /// Reads see everything up to here.
    #[must_use]
    pub fn visible(&self) -> Lsn {
        self.state.lock().visible
    }

    /// The store has everything up to here.
    #[must_use]
    pub fn applied(&self) -> Lsn {
        self.state.lock().applied
    }

    /// The last record that it has.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.state.lock().end()
    }

    /// What the volume maps with all of it.
    pub(super) fn mapped(&self) -> Mapped {
        self.state.lock().mapped
    }

    /// The store's content maps so much; `None` if it cannot be counted. Nothing was applied since it was looked at.
    pub(super) fn note_count(&self, bytes: Option<u64>) {
        let mut state = self.state.lock();
        match bytes {
            Some(bytes) => state.mapped.count(bytes),
            None => state.mapped.give_up_counting(),
        }
    }

    /// Memory held, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state.lock().bytes
    }

    /// Room that the store needs for all of it, at most.
    #[must_use]
    pub fn room_bytes(&self) -> u64 {
        self.state.lock().room_bytes
    }

    /// True if it takes nothing more: it holds its own part of the memory and there is none left for all.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.memory.is_over(self.bytes())
    }

    /// True if clients should wait for the store to get further.
    #[must_use]
    pub fn is_half_full(&self) -> bool {
        self.memory.is_half_full(self.bytes())
    }

    /// True if it is time to get rid of some of it.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        self.memory.is_filling(self.bytes())
    }

    /// What a read of `[offset, offset + len)` that begins now has to lay over what the store gives.
    #[must_use]
    pub fn overlay(&self, offset: u64, len: u64) -> Overlay {
        let state = self.state.lock();
        state.overlay(state.visible, offset, len)
    }

    /// The same of all that was ordered, whether reads see it or not.
    #[must_use]
    pub(super) fn ordered(&self, offset: u64, len: u64) -> Overlay {
        let state = self.state.lock();
        state.overlay(state.end(), offset, len)
    }

    /// True if the store may have held more, when it was read, than the overlay knows of: the read has to begin anew.
    #[must_use]
    pub fn is_outdated(&self, overlay: &Overlay) -> bool {
        self.state.lock().applying > overlay.visible
    }

    /// The next records for the store, none beyond `upto`, of about `bytes_max` at most. One with a barrier comes alone.
    #[must_use]
    pub fn next_batch(&self, upto: Lsn, bytes_max: u64) -> Option<Batch> {
        let mut state = self.state.lock();
        let last = upto.min(state.end()).min(state.visible);
        let (mut bytes, mut records) = (0, Vec::new());
        for entry in state.entries.iter().take(last.0.saturating_sub(state.applied.0) as usize) {
            let is_barrier = entry.operations.iter().any(Operation::is_barrier);
            if !records.is_empty() && (is_barrier || bytes + entry.bytes > bytes_max) {
                break;
            }
            bytes += entry.bytes;
            records.push(Arc::clone(&entry.operations));
            if is_barrier {
                break;
            }
        }
        let last = Lsn(state.applied.0 + records.len() as u64);
        (!records.is_empty()).then(|| {
            state.applying = last;
            Batch { last, records }
        })
    }

    /// The store has the batch that was given last.
    pub fn batch_applied(&self) {
        self.change(|state| {
            while state.applied < state.applying {
                state.pop_first();
            }
        });
        self.advanced.notify_all();
    }

    /// Waits until the store has everything up to `lsn`; false after `timeout`.
    pub fn wait_applied(&self, lsn: Lsn, timeout: std::time::Duration) -> bool {
        let mut state = self.state.lock();
        if state.applied < lsn {
            self.advanced.wait_while_for(&mut state, |state| state.applied < lsn, timeout);
        }
        state.applied >= lsn
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.memory.note(self.state.get_mut().bytes, 0);
    }
}

impl State {
    fn end(&self) -> Lsn {
        Lsn(self.applied.0 + self.entries.len() as u64)
    }

    fn entry(&self, lsn: Lsn) -> &Entry {
        &self.entries[(lsn.0 - self.applied.0 - 1) as usize]
    }

    /// What a read of a range that sees everything up to `visible` has to lay over what the store gives.
    fn overlay(&self, visible: Lsn, offset: u64, len: u64) -> Overlay {
        if self.entries.is_empty() || len == 0 {
            return Overlay { visible, ..Overlay::default() };
        }
        let mut touching: BTreeSet<Lsn> = self.wide.range(..=visible).copied().collect();
        for chunk in offset >> CHUNK_SHIFT..=(offset + len - 1) >> CHUNK_SHIFT {
            touching.extend(self.chunks.get(&chunk).into_iter().flatten().take_while(|lsn| **lsn <= visible));
        }
        let operations = |lsn: &Lsn| Arc::clone(&self.entry(*lsn).operations);
        let is_barrier = |lsn: &&Lsn| self.entry(**lsn).operations.iter().any(Operation::is_barrier);
        let barrier = touching.iter().rev().find(is_barrier).copied();
        let is_touched = |operations: &Operations| operations.iter().any(|operation| touches(operation, offset, len));
        let changes = touching.iter().map(operations).filter(is_touched).collect();
        Overlay { visible, barrier, changes }
    }

    fn push(&mut self, operations: Operations, growth: Growth) {
        let lsn = self.end().next();
        match chunks(&operations) {
            Some(chunks) => chunks.for_each(|chunk| {
                let lsns = self.chunks.entry(chunk).or_default();
                if lsns.back() != Some(&lsn) {
                    lsns.push_back(lsn);
                }
            }),
            None => _ = self.wide.insert(lsn),
        }
        let data: usize = operations.iter().map(Operation::encoded_bytes).sum();
        let (bytes, room_bytes) = (data as u64 + RECORD_OVERHEAD_BYTES, operation::room_of_all(&operations));
        self.bytes += bytes;
        self.room_bytes += room_bytes;
        self.mapped.push(growth);
        self.entries.push_back(Entry { operations, bytes, room_bytes, growth });
    }

    fn pop_first(&mut self) {
        let lsn = self.applied.next();
        let entry = self.entries.pop_front().expect("what is applied was there");
        self.applied = lsn;
        self.mapped.apply(entry.growth);
        self.forget(lsn, &entry, VecDeque::pop_front);
    }

    fn pop_last(&mut self) {
        let lsn = self.end();
        let entry = self.entries.pop_back().expect("the end is that of the last record");
        self.mapped.remove(entry.growth);
        self.forget(lsn, &entry, VecDeque::pop_back);
    }

    fn forget(&mut self, lsn: Lsn, entry: &Entry, pop: impl Fn(&mut VecDeque<Lsn>) -> Option<Lsn>) {
        self.bytes -= entry.bytes;
        self.room_bytes -= entry.room_bytes;
        let Some(chunks) = chunks(&entry.operations) else {
            self.wide.remove(&lsn);
            return;
        };
        for chunk in chunks {
            // Two operations of one record may touch the same chunk, which has the record once.
            let Some(lsns) = self.chunks.get_mut(&chunk) else { continue };
            if lsns.front() == Some(&lsn) || lsns.back() == Some(&lsn) {
                pop(lsns);
            }
            if lsns.is_empty() {
                self.chunks.remove(&chunk);
            }
        }
    }
}

/// The chunks that a record touches; `None` if they are too many.
fn chunks(operations: &Operations) -> Option<impl Iterator<Item = u64>> {
    let spans = |operation: &Operation| {
        let (first, end) = operation.range();
        first >> CHUNK_SHIFT..((end.max(first + 1) - 1) >> CHUNK_SHIFT) + 1
    };
    let is_narrow = |operation: &Operation| {
        let span = spans(operation);
        !operation.is_barrier() && span.end - span.start <= CHUNKS_MAX
    };
    let operations = Arc::clone(operations);
    operations.iter().all(is_narrow).then(move || {
        let all: BTreeSet<u64> = operations.iter().flat_map(spans).collect();
        all.into_iter()
    })
}

fn touches(operation: &Operation, offset: u64, len: u64) -> bool {
    let (first, end) = operation.range();
    first < offset + len && offset < end
}

impl Overlay {
    /// True if the store's content is what there is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The ranges that the changes touch, as first and end.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.operations().map(Operation::range)
    }

    /// The operations of the changes, in order.
    pub(super) fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.changes.iter().flat_map(|operations| operations.iter())
    }

    /// What the store gave for `[offset, ...)`, with the changes over it.
    #[must_use]
    pub fn lay_over(&self, data: ReadData, offset: u64) -> ReadData {
        if self.changes.is_empty() {
            return data;
        }
        let mut bytes = vec![0; data.len()];
        data.copy_to(&mut bytes);
        self.operations().for_each(|change| apply(change, &mut bytes, offset));
        let mut laid = ReadData::default();
        laid.push(Piece::Bytes(bytes.into()));
        laid
    }
}

/// What a change does to the bytes at `offset`.
fn apply(change: &Operation, bytes: &mut [u8], offset: u64) {
    let (first, end) = change.range();
    let (from, to) = (first.max(offset), end.min(offset + bytes.len() as u64));
    if from >= to {
        return;
    }
    let target = &mut bytes[(from - offset) as usize..(to - offset) as usize];
    match change {
        Operation::Write { data, .. } => target.copy_from_slice(&data[(from - first) as usize..(to - first) as usize]),
        Operation::WriteBlocks { blocks, .. } => blocks.copy_to((from - first) as usize, target),
        Operation::Zero { .. } => target.fill(0),
        // Whoever reads has waited until the store has them.
        _ => {}
    }
}

#[cfg(test)]
mod tests;
