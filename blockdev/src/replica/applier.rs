//! The thread that gives the store what every member has synced.

use std::sync::Arc;
use std::time::Duration;

use lsm_store::ErrorKind;
use lsm_store::id::{BlockIndex, VolumeId as StoreVolumeId};
use lsm_store::packed::PackedBlocks;
use lsm_store::request::Write;
use lsm_store::store::Volume;
use net::replication::{Event, Lsn, VolumeId};
use parking_lot::{Condvar, Mutex};

use super::inbox::{Inbox, Input};
use super::operation::Operation;
use super::pending::{Operations, Pending};
use crate::node::{HeldSnapshots, NamedSnapshot, Node, NodeError};

/// Bytes given to the store at once, about.
const BATCH_BYTES: u64 = 4 << 20;

/// The log is told what the store has durably after so many bytes.
const CHECKPOINT_BYTES: u64 = 32 << 20;

/// The same after so long without anything to apply.
const CHECKPOINT_IDLE: Duration = Duration::from_secs(2);

/// Between two attempts while the store has no room.
const RETRY: Duration = Duration::from_millis(200);

/// How long the store may lack room for what is to be applied until that counts as a failure of this node. Collection may need
/// some seconds to make some.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// How long a snapshot without a name is waited for.
const PIN_WAIT: Duration = Duration::from_secs(30);

/// What the applier is asked for.
#[derive(Default)]
struct Wanted {
    flushable: Lsn,
    /// A snapshot without a name of what the store has by then; with it goes up to where that is.
    pin: Option<Lsn>,
    pinned: Option<Result<Pinned, ()>>,
    /// What the store maps, once it has everything up to here.
    count: Option<Lsn>,
    /// The log knows that the store has everything up to here durably.
    noted: Lsn,
    /// Nothing more is applied before the log knows that the store has everything up to here.
    awaited: Lsn,
    /// The store may have a part of what is to be applied next.
    is_amid: bool,
    is_paused: bool,
    is_working: bool,
    is_stopping: bool,
    /// The store has no room for what is to be applied, since then, by the store's clock.
    without_room: Option<Duration>,
}

/// What the store has at one moment, frozen.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The snapshot, which has no name.
    pub snapshot: StoreVolumeId,
    /// It goes up to here.
    pub at: Lsn,
    /// The snapshots with names that the replica has at that moment, from the oldest.
    pub older: Vec<NamedSnapshot>,
    /// Keeps what they hold.
    _held: Arc<HeldSnapshots>,
}

/// What others tell the applier, and it them.
#[derive(Default)]
pub struct Applying {
    wanted: Mutex<Wanted>,
    changed: Condvar,
    /// One pin at a time.
    pinning: Mutex<()>,
}

impl Applying {
    /// Every member has synced everything up to here.
    pub fn raise(&self, flushable: Lsn) {
        let mut wanted = self.wanted.lock();
        if flushable > wanted.flushable {
            wanted.flushable = flushable;
            self.changed.notify_all();
        }
    }

    /// More may be visible than before.
    pub fn wake(&self) {
        // Under the lock, so that the applier is not just between looking and waiting.
        drop(self.wanted.lock());
        self.changed.notify_all();
    }

    /// A snapshot without a name of the store's content, once that has everything up to `at_least`; and up to where it goes.
    /// `None` if it cannot be had.
    pub fn pin(&self, at_least: Lsn) -> Option<Pinned> {
        let _turn = self.pinning.lock();
        self.ask_pin(at_least);
        let mut wanted = self.wanted.lock();
        self.changed.wait_while_for(&mut wanted, |wanted| wanted.pinned.is_none() && !wanted.is_stopping, PIN_WAIT);
        wanted.pin = None;
        wanted.pinned.take()?.ok()
    }

    /// Asks for what [`Self::pin`] waits for.
    pub(super) fn ask_pin(&self, at_least: Lsn) {
        let mut wanted = self.wanted.lock();
        (wanted.pin, wanted.pinned) = (Some(at_least), None);
        self.changed.notify_all();
    }

    /// Has what the store maps counted, once it has everything up to `at_least`. What was asked for before stands, unless that waits
    /// for more: the end of the log may have been cut off since.
    pub(super) fn ask_count(&self, at_least: Lsn) {
        let mut wanted = self.wanted.lock();
        if wanted.count.is_none_or(|asked| asked > at_least) {
            wanted.count = Some(at_least);
            self.changed.notify_all();
        }
    }

    /// True while what was asked for is not there.
    pub(super) fn awaits_pin(&self) -> bool {
        self.wanted.lock().pinned.is_none()
    }

    /// What was asked for, if it is there, and asks no more.
    pub(super) fn take_pin(&self) -> Option<Pinned> {
        let mut wanted = self.wanted.lock();
        wanted.pin = None;
        wanted.pinned.take()?.ok()
    }

    /// The log knows that the store has everything up to here durably.
    pub fn note_floor(&self, floor: Lsn) {
        let mut wanted = self.wanted.lock();
        wanted.noted = wanted.noted.max(floor);
        self.changed.notify_all();
    }

    /// True while the store has no room for what is to be applied.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        self.wanted.lock().without_room.is_some()
    }

    /// True if that has been so for long, at this time of the store's clock.
    #[must_use]
    pub fn is_stuck(&self, now: Duration) -> bool {
        self.wanted.lock().without_room.is_some_and(|since| now.saturating_sub(since) >= STUCK_AFTER)
    }

    /// Nothing is applied from the return of this call until [`Self::resume`].
    pub fn pause(&self) {
        let mut wanted = self.wanted.lock();
        wanted.is_paused = true;
        self.changed.notify_all();
        self.changed.wait_while(&mut wanted, |wanted| wanted.is_working && !wanted.is_stopping);
    }

    /// Goes on with a store that has everything up to `flushable`.
    pub fn resume(&self, flushable: Lsn) {
        let mut wanted = self.wanted.lock();
        (wanted.is_paused, wanted.is_amid, wanted.flushable, wanted.without_room) = (false, false, flushable, None);
        // It may be older than what there was.
        (wanted.noted, wanted.awaited, wanted.count) = (flushable, Lsn(0), None);
        self.changed.notify_all();
    }

    /// Ends.
    pub fn stop(&self) {
        self.wanted.lock().is_stopping = true;
        self.changed.notify_all();
    }

    /// Nothing more is applied before the log knows that the store has everything up to here.
    fn await_note(&self, lsn: Lsn) {
        self.wanted.lock().awaited = lsn;
    }

    /// True if the log does not know that the store has everything up to `lsn`; nothing more is applied before it does.
    fn is_behind(&self, lsn: Lsn) -> bool {
        let mut wanted = self.wanted.lock();
        wanted.awaited = wanted.awaited.max(lsn);
        wanted.noted < lsn
    }

    fn note_amid(&self, is_amid: bool) {
        self.wanted.lock().is_amid = is_amid;
    }

    /// A piece of work is done.
    fn rest(&self) {
        let mut wanted = self.wanted.lock();
        wanted.is_working = false;
        if wanted.is_paused {
            self.changed.notify_all();
        }
    }

    /// Waits until the store may have got room, unless nothing is to be applied any more.
    fn wait_for_room(&self) {
        let mut wanted = self.wanted.lock();
        if !wanted.is_stopping && !wanted.is_paused {
            self.changed.wait_for(&mut wanted, RETRY);
        }
    }
}

/// What the applier works on.
pub(super) struct Applier {
    /// The cluster's volume.
    pub id: VolumeId,
    /// The store's.
    pub volume: Volume,
    /// The node, for what is more than bytes.
    pub node: Arc<Node>,
    /// What there is to apply.
    pub pending: Arc<Pending>,
    /// What is wanted.
    pub applying: Arc<Applying>,
    /// Where checkpoints go.
    pub inbox: Arc<Inbox>,
    /// Bytes applied since the last checkpoint.
    pub unsaved: u64,
}

/// What to do next.
enum Next {
    Apply(Lsn),
    Pin,
    Count,
    Checkpoint,
    Nothing,
    Stop,
}

/// What the applier does while there is nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    /// It waits.
    Waits,
    /// It says so.
    None {
        /// There has been nothing to do for [`CHECKPOINT_IDLE`].
        was_idle: bool,
    },
}

/// What the applier has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It has done something.
    Worked,
    /// There is nothing to do.
    Idle,
    /// The store has no room, and the same is to be tried again.
    NoRoom,
    /// It has ended.
    Ended,
}

/// A replica to whose store nothing is applied any more is of no use, also if that came by a panic.
struct End(Arc<Applying>, Arc<Inbox>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.stop();
        self.1.tell(Event::JournalFailed);
    }
}

impl Applier {
    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        let _end = End(Arc::clone(&self.applying), Arc::clone(&self.inbox));
        loop {
            match self.work(Patience::Waits) {
                Turn::Worked | Turn::Idle => {}
                Turn::NoRoom => self.applying.wait_for_room(),
                Turn::Ended => return,
            }
        }
    }

    /// Does a piece of work.
    pub(super) fn work(&mut self, patience: Patience) -> Turn {
        let done = match self.next(patience) {
            Next::Stop => return Turn::Ended,
            Next::Nothing => return Turn::Idle,
            Next::Apply(flushable) => self.apply_batch(flushable),
            Next::Pin => {
                self.pin();
                Ok(Turn::Worked)
            }
            Next::Count => {
                self.count();
                Ok(Turn::Worked)
            }
            Next::Checkpoint => self.checkpoint().map(|()| Turn::Worked),
        };
        self.applying.rest();
        done.unwrap_or_else(|error| {
            tracing::error!(volume = %self.id, error = &error as &dyn std::error::Error, "a replica ends");
            self.inbox.tell(Event::JournalFailed);
            self.applying.stop();
            Turn::Ended
        })
    }

    fn next(&self, patience: Patience) -> Next {
        let mut wanted = self.applying.wanted.lock();
        loop {
            let next = self.wanted(&wanted);
            if !matches!(next, Next::Nothing) {
                wanted.is_working = true;
                return next;
            }
            let was_idle = match patience {
                Patience::None { was_idle } => was_idle,
                Patience::Waits if wanted.is_paused => {
                    self.applying.changed.wait(&mut wanted);
                    continue;
                }
                Patience::Waits => self.applying.changed.wait_for(&mut wanted, CHECKPOINT_IDLE).timed_out(),
            };
            if was_idle && self.unsaved > 0 && !wanted.is_paused {
                wanted.is_working = true;
                return Next::Checkpoint;
            }
            if matches!(patience, Patience::None { .. }) {
                return Next::Nothing;
            }
        }
    }

    /// What there is to do at once.
    fn wanted(&self, wanted: &Wanted) -> Next {
        let applied = self.pending.applied();
        if wanted.is_stopping {
            return Next::Stop;
        }
        if wanted.is_paused {
            return Next::Nothing;
        }
        if !wanted.is_amid && wanted.pinned.is_none() && wanted.pin.is_some_and(|at_least| at_least <= applied) {
            return Next::Pin;
        }
        if !wanted.is_amid && wanted.count.is_some_and(|at_least| at_least <= applied) {
            return Next::Count;
        }
        let is_awaited = wanted.noted < wanted.awaited;
        if !is_awaited && wanted.flushable > applied && self.pending.visible() > applied {
            return Next::Apply(wanted.flushable);
        }
        Next::Nothing
    }

    fn pin(&self) {
        let applied = self.pending.applied();
        let held = self.node.hold_snapshots(self.id);
        let frozen = held.and_then(|(older, held)| {
            let snapshot = self.node.pin_replica(self.id)?;
            Ok(Pinned { snapshot, at: applied, older, _held: Arc::new(held) })
        });
        let pinned = frozen.map_err(|error| {
            tracing::warn!(volume = %self.id, %error, "a snapshot to bring a node up to date cannot be had");
        });
        self.applying.wanted.lock().pinned = Some(pinned);
        self.applying.changed.notify_all();
    }

    /// Counts what the store maps. Nothing is applied meanwhile, so that it is what records up to a certain one have made of it.
    /// Whoever has the applier pause or end does not wait for it.
    fn count(&self) {
        let go_on = || {
            let wanted = self.applying.wanted.lock();
            !wanted.is_paused && !wanted.is_stopping
        };
        match self.volume.mapped_bytes(go_on) {
            Ok(None) => return,
            Ok(counted) => self.pending.note_count(counted),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(volume = %self.id, error, "a volume's quota is not kept: run silt check");
                self.pending.note_count(None);
            }
        }
        self.applying.wanted.lock().count = None;
    }

    fn apply_batch(&mut self, flushable: Lsn) -> Result<Turn, NodeError> {
        let Some(batch) = self.pending.next_batch(flushable, BATCH_BYTES) else { return Ok(Turn::Idle) };
        let is_barrier = batch.records.iter().flat_map(|it| it.iter()).any(Operation::is_barrier);
        // What comes before it is known to be done too: done again behind a change of the size, a write could do more than
        // it did.
        if is_barrier && self.applying.is_behind(self.pending.applied()) {
            self.checkpoint()?;
            return Ok(Turn::Worked);
        }
        for part in parts(&batch.records) {
            match self.apply(&part) {
                // All of the batch is applied again, which does no harm.
                Err(error) if error.kind() == ErrorKind::OutOfSpace => {
                    self.lacks_room();
                    self.applying.note_amid(true);
                    return Ok(Turn::NoRoom);
                }
                // It was ordered, and makes no sense; it makes none on any replica.
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    tracing::error!(volume = %self.id, error = &error as &dyn std::error::Error, "an operation is left out");
                }
                done => done?,
            }
        }
        self.unsaved += batch.records.iter().flat_map(|it| it.iter()).map(|it| it.encoded_bytes() as u64).sum::<u64>();
        self.pending.batch_applied();
        self.applying.note_amid(false);
        self.has_room();
        if is_barrier || self.unsaved >= CHECKPOINT_BYTES {
            self.checkpoint()?;
        }
        // What must not be done again behind something later is known to be done before anything later is.
        if is_barrier {
            self.applying.await_note(batch.last);
        }
        Ok(Turn::Worked)
    }

    fn lacks_room(&self) {
        let mut wanted = self.applying.wanted.lock();
        if wanted.without_room.is_none() {
            wanted.without_room = Some(self.node.store().clock().monotonic());
            tracing::warn!(volume = %self.id, "a replica waits for room in the store");
        }
    }

    fn has_room(&self) {
        if self.applying.wanted.lock().without_room.take().is_some() {
            tracing::info!(volume = %self.id, "there is room in the store again");
        }
    }

    fn apply(&self, part: &Part<'_>) -> Result<(), NodeError> {
        match part {
            Part::Writes(writes) => {
                let size = self.volume.size_bytes();
                let within: Vec<_> = writes.iter().filter_map(|write| clip(*write, size)).collect();
                Ok(self.volume.write(&within)?)
            }
            Part::Blocks(first, blocks) => {
                let (offset, size) = (first.byte_offset(), self.volume.size_bytes());
                if offset + blocks.content_bytes() as u64 <= size {
                    return Ok(self.volume.write_packed(*first, blocks)?);
                }
                let within =
                    clip(Write { offset, data: &blocks.content() }, size).map(|write| self.volume.write(&[write]));
                Ok(within.unwrap_or(Ok(()))?)
            }
            Part::Other(operation) => self.apply_other(operation),
        }
    }

    fn apply_other(&self, operation: &Operation) -> Result<(), NodeError> {
        match operation {
            Operation::Write { offset, data } => self.apply(&Part::Writes(vec![Write { offset: *offset, data }])),
            Operation::WriteBlocks { first, blocks } => self.apply(&Part::Blocks(*first, blocks)),
            Operation::Zero { offset, len, zeroing } => {
                let len = (*len).min(self.volume.size_bytes().saturating_sub(*offset));
                Ok(self.volume.zero(*offset.min(&self.volume.size_bytes()), len, *zeroing)?)
            }
            Operation::Resize { size_bytes } => self.node.resize_replica(self.id, *size_bytes),
            Operation::Snapshot { name } => self.node.snapshot_replica(self.id, name),
            Operation::RemoveSnapshot { name } => self.node.remove_replica_snapshot(self.id, name),
            Operation::RollBack { to } => self.node.roll_back_replica(self.id, to),
            Operation::RenameSnapshot { name, to } => self.node.rename_replica_snapshot(self.id, name, to),
            Operation::Seed { clone, of } => self.node.make_seed(self.id, *clone, of.as_ref()),
        }
    }

    fn checkpoint(&mut self) -> Result<(), NodeError> {
        let applied = self.pending.applied();
        self.volume.flush()?;
        self.unsaved = 0;
        self.inbox.push(Input::Checkpoint(applied));
        Ok(())
    }
}

/// Operations that the store takes in one call.
enum Part<'a> {
    Writes(Vec<Write<'a>>),
    Blocks(BlockIndex, &'a PackedBlocks),
    Other(&'a Operation),
}

/// What of a write lies in a volume of this size. A request that was ordered behind a cut of the volume does nothing there, on
/// every replica alike.
fn clip(write: Write<'_>, size_bytes: u64) -> Option<Write<'_>> {
    let len = (write.data.len() as u64).min(size_bytes.saturating_sub(write.offset));
    (len > 0).then(|| Write { offset: write.offset, data: &write.data[..len as usize] })
}

/// The operations of records, in order, adjacent writes together.
fn parts(records: &[Operations]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for operation in records.iter().flat_map(|record| record.iter()) {
        match operation {
            Operation::Write { offset, data } => {
                let write = Write { offset: *offset, data };
                match parts.last_mut() {
                    Some(Part::Writes(writes)) => writes.push(write),
                    _ => parts.push(Part::Writes(vec![write])),
                }
            }
            Operation::WriteBlocks { first, blocks } => parts.push(Part::Blocks(*first, blocks)),
            other => parts.push(Part::Other(other)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_does_not_wait_for_what_was_cut_off() {
        let applying = Applying::default();
        let asked = |at_least| {
            applying.ask_count(Lsn(at_least));
            applying.wanted.lock().count
        };
        assert_eq!([asked(100), asked(120), asked(97), asked(98)], [100, 100, 97, 97].map(|lsn| Some(Lsn(lsn))));
    }
}
