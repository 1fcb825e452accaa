//! The quota of a replicated volume: kept where writes are ordered, never where they are applied, since what was ordered has to
//! be applied by every replica alike.
//!
//! As in a store, what is known of the bytes mapped are bounds, which is enough up to 15/16 of the quota. From there on each
//! write looks up what it maps, behind all that was ordered before it: this is the replica's own thread, so nothing comes in
//! between. If it does not fit and what is known may be too much, the applier counts the store's content first, which has
//! the write wait. What maps no more than before is always let in.

use bytes::Bytes;
use lsm_store::id::BLOCK_BYTES;
use lsm_store::store::Volume;
use net::replication::{Action, Body, Event, Record, Refusal, Role};

use super::executor::Executor;
use super::mapped::{Growth, Mapped};
use super::operation::{self, Operation};
use super::pending::Overlay;

/// Up to the quota less this part of it, bounds are good enough.
const NEAR_PARTS: u64 = 16;

/// Of what is trimmed in one go, no more is looked up.
const LOOKED_UP_BYTES_MAX: u64 = 16 << 20;

/// What was looked up of a record, until that gets its place in the log.
pub(super) struct LookedUp {
    payload: Bytes,
    growth: Growth,
}

impl LookedUp {
    /// What it is, if these are the bytes of the record.
    pub(super) fn of(&self, payload: &Bytes) -> Option<Growth> {
        let is_same = self.payload.as_ptr() == payload.as_ptr() && self.payload.len() == payload.len();
        is_same.then_some(self.growth)
    }
}

impl Executor {
    /// Why the quota does not let a write in, if so. What was to be done before it may have been done.
    pub(super) fn over_quota(&mut self, payload: &Bytes, room: u64, actions: &mut Vec<Action>) -> Option<Refusal> {
        let quota = self.shared.quota_bytes()?;
        if self.replica.role() != Role::Primary {
            return None;
        }
        // Of the room that a record needs, half is for what it maps at most.
        let most = room / 2;
        let near = quota - quota / NEAR_PARTS;
        if is_within(&self.shared.pending.mapped(), (self.unplaced + most) as i64, near) {
            self.unplaced += most;
            return None;
        }
        self.carry_out(std::mem::take(actions));
        self.unplaced = 0;
        let Ok(operations) = operation::decode_again(payload) else { return None };
        let growth = match self.look_up(&operations) {
            Some(growth) => growth,
            None if self.shared.applying.lacks_room() => Growth::bound(&operations),
            None => return Some(self.await_applied()),
        };
        let mapped = self.shared.pending.mapped();
        if growth.bytes <= 0 || is_within(&mapped, growth.bytes, quota) {
            self.looked_up = Some(LookedUp { payload: payload.clone(), growth });
            return None;
        }
        if mapped.is_exact() || self.shared.applying.lacks_room() {
            return Some(Refusal::OutOfSpace);
        }
        self.shared.applying.ask_count(self.shared.pending.end());
        Some(self.await_applied())
    }

    /// What a record does to the bytes mapped: as it was looked up, or at most.
    pub(super) fn growth_of(&self, record: &Record, operations: &[Operation]) -> Growth {
        let looked_up = match (&record.body, &self.looked_up) {
            (Body::Write(payload), Some(looked_up)) => looked_up.of(payload),
            _ => None,
        };
        looked_up.unwrap_or_else(|| Growth::bound(operations))
    }

    /// Has what the volume maps counted, if nothing is known of it. A quota that is near is kept from the first write on then.
    pub(super) fn keep_count(&self) {
        if self.shared.quota_bytes().is_none() {
            return;
        }
        let mapped = self.shared.pending.mapped();
        if mapped.most().is_none() && !mapped.is_uncountable() {
            self.shared.applying.ask_count(self.shared.pending.end());
        }
    }

    /// The client is to ask again when the store has what was ordered.
    fn await_applied(&self) -> Refusal {
        self.shared.inbox.tell(Event::NeedSync);
        Refusal::Busy
    }

    /// What operations do that come behind all that was ordered; `None` if the store must have some of that first.
    fn look_up(&self, operations: &[Operation]) -> Option<Growth> {
        let mut growth = Growth::default();
        for (index, operation) in operations.iter().enumerate() {
            let (first, end) = operation.range();
            if operation.is_barrier() || end - first > LOOKED_UP_BYTES_MAX {
                growth = sum(growth, Growth::bound(std::slice::from_ref(operation)));
                continue;
            }
            let ordered = self.shared.pending.ordered(first, end - first);
            if ordered.barrier.is_some() {
                return None;
            }
            let Some(mut blocks) = Blocks::read(&self.shared.volume, &ordered, (first, end)) else {
                growth = sum(growth, Growth::bound(std::slice::from_ref(operation)));
                continue;
            };
            operations[..index].iter().for_each(|earlier| blocks.lay(earlier));
            let before = blocks.mapped_bytes();
            blocks.is_vague = false;
            blocks.lay(operation);
            growth.bytes += blocks.mapped_bytes() - before;
            growth.is_vague |= blocks.is_vague;
        }
        Some(growth)
    }
}

/// True if so much more stays within a quota, or nobody can say.
fn is_within(mapped: &Mapped, more: i64, quota: u64) -> bool {
    let fits = |most: i64| most.saturating_add(more) <= i64::try_from(quota).unwrap_or(i64::MAX);
    mapped.most().map_or(mapped.is_uncountable(), |most| mapped.is_uncountable() || fits(most))
}

fn sum(one: Growth, other: Growth) -> Growth {
    Growth {
        bytes: one.bytes.saturating_add(other.bytes),
        is_vague: one.is_vague || other.is_vague,
        is_reset: one.is_reset || other.is_reset,
    }
}

/// Which blocks of a stretch have data.
struct Blocks {
    /// The first.
    first: u64,
    is_mapped: Vec<bool>,
    /// A part of one of them became zeros, and the rest of it may be.
    is_vague: bool,
}

impl Blocks {
    /// Those that lie in a range, as they are behind what was ordered; `None` if the store cannot say what it has.
    fn read(volume: &Volume, ordered: &Overlay, (first, end): (u64, u64)) -> Option<Self> {
        let block = BLOCK_BYTES as u64;
        let (first, end) = (first / block, end.div_ceil(block));
        let within = end.min(volume.block_count()).max(first);
        let mut is_mapped = if within > first { volume.are_mapped(first..within).ok()? } else { Vec::new() };
        is_mapped.resize((end - first) as usize, false);
        let mut blocks = Self { first, is_mapped, is_vague: false };
        // What the store has got meanwhile is laid over itself, which changes nothing.
        ordered.operations().for_each(|operation| blocks.lay(operation));
        Some(blocks)
    }

    /// What an operation makes of them.
    fn lay(&mut self, operation: &Operation) {
        match operation {
            Operation::Write { offset, data } => self.lay_data(*offset, data),
            Operation::WriteBlocks { first, blocks } => {
                for index in 0..blocks.len() {
                    self.set(first.0 + index as u64, !blocks.is_zero(index));
                }
            }
            Operation::Zero { offset, len, .. } => {
                let block = BLOCK_BYTES as u64;
                let (first, end) = (offset.div_ceil(block).max(self.first), offset.saturating_add(*len) / block);
                (first..end.min(self.first + self.is_mapped.len() as u64)).for_each(|block| self.set(block, false));
                let borders = [*offset, offset.saturating_add(*len)].into_iter().filter(|border| border % block != 0);
                borders.for_each(|border| self.note_zeroed_part(border / block));
            }
            _ => {}
        }
    }

    fn lay_data(&mut self, offset: u64, data: &[u8]) {
        let block = BLOCK_BYTES as u64;
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let len = (block - at % block).min(rest.len() as u64) as usize;
            let (part, behind) = rest.split_at(len);
            let is_data = part.iter().any(|byte| *byte != 0);
            if is_data || len == BLOCK_BYTES {
                self.set(at / block, is_data);
            } else {
                self.note_zeroed_part(at / block);
            }
            (at, rest) = (at + len as u64, behind);
        }
    }

    /// What zeros in a part of a block leave of it is not known: it counts until the volume is counted again.
    fn note_zeroed_part(&mut self, block: u64) {
        let index = block.checked_sub(self.first).map(|index| index as usize);
        self.is_vague |= index.and_then(|index| self.is_mapped.get(index)).copied().unwrap_or(false);
    }

    fn set(&mut self, block: u64, is_mapped: bool) {
        let place = block.checked_sub(self.first).and_then(|index| self.is_mapped.get_mut(index as usize));
        if let Some(place) = place {
            *place = is_mapped;
        }
    }

    fn mapped_bytes(&self) -> i64 {
        (self.is_mapped.iter().filter(|is_mapped| **is_mapped).count() * BLOCK_BYTES) as i64
    }
}

#[cfg(test)]
mod tests;
