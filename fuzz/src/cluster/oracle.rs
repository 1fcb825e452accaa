//! What must hold whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use net::replication::{Epoch, Lsn, Record};

use super::disk::{BLOCKS, Image, Log, write_of};
use super::linear::{self, Op};
use crate::model::Violation;

/// A client's operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Write { block: usize, value: u64 },
    Read { block: usize },
    Flush,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) kind: Kind,
    pub(super) called: u64,
    pub(super) answered: u64,
}

#[derive(Debug, Default)]
pub(super) struct Oracle {
    initial: Image,
    /// Histories of the blocks since the last loss.
    blocks: [Vec<Op>; BLOCKS],
    /// Where each value was put first, in which epoch.
    placed: BTreeMap<u64, BTreeSet<(Lsn, Epoch)>>,
    /// When each answered write was answered.
    acknowledged: BTreeMap<u64, u64>,
    /// Values that must survive anything.
    flushed: BTreeSet<u64>,
    /// What is in runs, at each LSN: the same on all nodes for ever.
    truth: BTreeMap<Lsn, Record>,
    /// Who acknowledged in which epoch.
    acknowledgers: BTreeMap<Epoch, (usize, u64)>,
    pub(super) writes: u64,
    pub(super) reads: u64,
    pub(super) flushes: u64,
}

impl Oracle {
    pub(super) fn place(&mut self, first: Lsn, records: &[Record]) {
        for (index, record) in records.iter().enumerate() {
            if let Some((_, value)) = write_of(record) {
                let at = (Lsn(first.0 + index as u64), record.epoch);
                self.placed.entry(value).or_default().insert(at);
            }
        }
    }

    /// Node `slot`, in its start `generation`, acknowledged something as primary of `epoch`.
    pub(super) fn acknowledges(&mut self, epoch: Epoch, slot: usize, generation: u64) -> Result<(), Violation> {
        let first = *self.acknowledgers.entry(epoch).or_insert((slot, generation));
        if first == (slot, generation) {
            return Ok(());
        }
        Err(Violation(format!("{first:?} and {:?} both acknowledge in {epoch:?}", (slot, generation))))
    }

    pub(super) fn done(&mut self, done: Done, read: Option<u64>) {
        let Done { kind, called, answered } = done;
        let answered_at = Some(answered);
        match kind {
            Kind::Write { block, value } => {
                self.writes += 1;
                self.acknowledged.insert(value, answered);
                self.blocks[block].push(Op { is_write: true, value, called, answered: answered_at });
            }
            Kind::Read { block } => {
                self.reads += 1;
                let value = read.unwrap_or(0);
                self.blocks[block].push(Op { is_write: false, value, called, answered: answered_at });
            }
            Kind::Flush => {
                self.flushes += 1;
                let before = self.acknowledged.iter().filter(|(_, at)| **at < called).map(|(value, _)| *value);
                self.flushed.extend(before);
            }
        }
    }

    /// An operation whose end is not known.
    pub(super) fn lost(&mut self, kind: Kind, called: u64) {
        if let Kind::Write { block, value } = kind {
            self.blocks[block].push(Op { is_write: true, value, called, answered: None });
        }
    }

    /// Runs of a node took these records.
    pub(super) fn flushed_to_runs(&mut self, log: &Log, from: Lsn, to: Lsn) -> Result<(), Violation> {
        for (lsn, record) in log.records.range(from.next()..to.next()) {
            let first = self.truth.entry(*lsn).or_insert_with(|| record.clone());
            if first != record {
                return Err(Violation(format!("runs disagree about {lsn:?}: {first:?}, {record:?}")));
            }
        }
        Ok(())
    }

    /// What runs hold, up to an LSN, must be what all records up to there make.
    pub(super) fn content_is_right(&self, at: Lsn, image: &Image) -> Result<(), Violation> {
        let mut expected = [0; BLOCKS];
        for (block, value) in self.truth.range(..=at).filter_map(|(_, record)| write_of(record)) {
            expected[block] = value;
        }
        let complete = self.truth.range(..=at).count() as u64 == at.0;
        if complete && expected != *image {
            return Err(Violation(format!("content at {at:?} is {image:?} and should be {expected:?}")));
        }
        Ok(())
    }

    fn has(&self, log: &Log, value: u64) -> bool {
        let Some(places) = self.placed.get(&value) else { return false };
        let is_it = |record: Option<&Record>| record.and_then(write_of).is_some_and(|(_, other)| other == value);
        places.iter().any(
            |(lsn, _)| {
                if *lsn <= log.floor { is_it(self.truth.get(lsn)) } else { is_it(log.records.get(lsn)) }
            },
        )
    }

    /// A primary goes on after every member lost its tail: flushed writes are there, and so is everything before the
    /// newest write that is.
    pub(super) fn survived_loss(&mut self, log: &Log, pending: &[(Kind, u64)]) -> Result<(), Violation> {
        if let Some(value) = self.flushed.iter().find(|value| !self.has(log, **value)) {
            return Err(Violation(format!("write {value} was flushed and is lost")));
        }
        let first_place = |value: &u64| self.placed.get(value).and_then(BTreeSet::first).map(|(lsn, _)| *lsn);
        let newest = self.acknowledged.keys().filter(|value| self.has(log, **value)).filter_map(first_place).max();
        let missing = self
            .acknowledged
            .keys()
            .find(|value| !self.has(log, **value) && first_place(value).is_some_and(|lsn| Some(lsn) < newest));
        if let Some(value) = missing {
            return Err(Violation(format!("write {value} is lost, and a later one is not")));
        }
        let lost: Vec<u64> = self.acknowledged.keys().copied().filter(|value| !self.has(log, *value)).collect();
        self.end_era(log.image_at(log.end()), pending)?;
        lost.iter().for_each(|value| _ = self.acknowledged.remove(value));
        Ok(())
    }

    /// Ends what must be linearizable together; what is not answered yet may count after this too.
    fn end_era(&mut self, image: Image, pending: &[(Kind, u64)]) -> Result<(), Violation> {
        pending.iter().for_each(|(kind, called)| self.lost(*kind, *called));
        self.check()?;
        let blocks = std::mem::take(&mut self.blocks);
        for (block, ops) in blocks.iter().enumerate() {
            let still = ops.iter().filter(|op| op.is_write && op.answered.is_none() && op.value != image[block]);
            self.blocks[block].extend(still.copied());
        }
        for (kind, _) in pending {
            if let Kind::Write { block, value } = kind {
                self.blocks[*block].retain(|op| op.value != *value);
            }
        }
        self.initial = image;
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), Violation> {
        for (block, ops) in self.blocks.iter().enumerate() {
            linear::check(self.initial[block], ops)
                .map_err(|why| Violation(format!("block {block} is not linearizable: {why}")))?;
        }
        Ok(())
    }
}
