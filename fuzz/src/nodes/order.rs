//! The order of what clients did, as the logs have it, and what must hold of it whatever happened.
//!
//! A record that every member holds gets its place in the order for good, unless all members lose their tails. So what the
//! volume held after each record is known, and every answer can be held against that: a read saw one of the states between
//! the last that had been answered, or seen, when it was called, and the first that was called only when it had been answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use net::replication::{Epoch, History, Lsn, Record};

use super::content::{self, Change, Held};
use crate::model::Violation;

/// What a client learnt.
#[derive(Clone, Debug)]
pub(super) enum Learnt {
    /// These records were ordered.
    Ordered(Vec<u64>),
    /// The cells from one on hold this.
    Read { first: u64, values: Vec<u64> },
}

#[derive(Clone, Debug)]
struct Answer {
    learnt: Learnt,
    called: u64,
    answered: u64,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    change: Change,
    called: u64,
    answered: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Order {
    /// All that clients ever asked for.
    asked: BTreeMap<u64, Asked>,
    /// Which record each epoch put where.
    seen: BTreeMap<(Lsn, Epoch), Option<u64>>,
    /// The order, from LSN 1 on, with the epoch that each record is of.
    records: Vec<(Epoch, Option<u64>)>,
    /// What the volume holds after so many records.
    states: Vec<Arc<Held>>,
    places: BTreeMap<u64, Lsn>,
    /// Since the last loss.
    answers: Vec<Answer>,
    /// Up to here the order is settled since the last loss.
    base: Lsn,
    /// Up to here it must survive anything.
    flushed: Lsn,
    /// The last loss.
    loss: Epoch,
    pub(super) ordered: u64,
    pub(super) reads: u64,
    pub(super) flushes: u64,
}

impl Order {
    pub(super) fn new() -> Self {
        Self {
            asked: BTreeMap::new(),
            seen: BTreeMap::new(),
            records: Vec::new(),
            states: vec![Arc::new(Held::empty())],
            places: BTreeMap::new(),
            answers: Vec::new(),
            base: Lsn(0),
            flushed: Lsn(0),
            loss: Epoch(0),
            ordered: 0,
            reads: 0,
            flushes: 0,
        }
    }

    pub(super) fn end(&self) -> Lsn {
        Lsn(self.records.len() as u64)
    }

    pub(super) fn loss(&self) -> Epoch {
        self.loss
    }

    /// What the volume holds up to a record of the order.
    pub(super) fn state(&self, at: Lsn) -> Option<&Arc<Held>> {
        self.states.get(at.0 as usize)
    }

    pub(super) fn ask(&mut self, number: u64, change: Change, called: u64) {
        self.asked.insert(number, Asked { change, called, answered: None });
    }

    pub(super) fn change(&self, number: u64) -> Change {
        self.asked[&number].change
    }

    /// A log has a record: the same as every other that has one of this epoch there.
    pub(super) fn see(&mut self, lsn: Lsn, record: &Record) -> Result<(), Violation> {
        let number = content::number(record);
        let first = *self.seen.entry((lsn, record.epoch)).or_insert(number);
        if first == number {
            return Ok(());
        }
        Err(Violation(format!("{lsn:?} of {:?} is both {first:?} and {number:?}", record.epoch)))
    }

    /// Every member holds the records of a log with this history up to `committed`.
    pub(super) fn commit(&mut self, history: &History, committed: Lsn) -> Result<(), Violation> {
        let common = committed.min(self.end());
        if let (Some(epoch), Some((known, _))) =
            (history.epoch_of(common), (common.0 as usize).checked_sub(1).and_then(|index| self.records.get(index)))
            && epoch != *known
        {
            return Err(Violation(format!(
                "{common:?} is held by all members as of {epoch:?}, and was as of {known:?}"
            )));
        }
        for lsn in self.end().0 + 1..=committed.0 {
            let epoch = history.epoch_of(Lsn(lsn)).ok_or_else(|| Violation(format!("a log does not know {lsn}")))?;
            let number = *self
                .seen
                .get(&(Lsn(lsn), epoch))
                .ok_or_else(|| Violation(format!("all members hold {lsn} of {epoch:?}, and no log has it")))?;
            self.push(epoch, number)?;
        }
        Ok(())
    }

    fn push(&mut self, epoch: Epoch, number: Option<u64>) -> Result<(), Violation> {
        self.records.push((epoch, number));
        let mut state = Arc::clone(self.states.last().expect("there is a first state"));
        if let Some(number) = number {
            let place = self.end();
            if let Some(before) = self.places.insert(number, place) {
                return Err(Violation(format!("record {number} was ordered twice, at {before:?} and {place:?}")));
            }
            Arc::make_mut(&mut state).apply(number, self.change(number));
        }
        self.states.push(state);
        Ok(())
    }

    /// Records were answered: all members hold them.
    pub(super) fn answer(&mut self, numbers: &[u64], called: u64, answered: u64) -> Result<(), Violation> {
        for number in numbers {
            if !self.places.contains_key(number) {
                return Err(Violation(format!("record {number} was answered, and not all members hold it")));
            }
            self.asked.entry(*number).and_modify(|asked| asked.answered = Some(answered));
        }
        self.ordered += numbers.len() as u64;
        self.answers.push(Answer { learnt: Learnt::Ordered(numbers.to_vec()), called, answered });
        Ok(())
    }

    pub(super) fn read(&mut self, first: u64, values: Vec<u64>, called: u64, answered: u64) {
        self.reads += 1;
        self.answers.push(Answer { learnt: Learnt::Read { first, values }, called, answered });
    }

    /// A flush was answered that was called then.
    pub(super) fn flush(&mut self, called: u64) {
        self.flushes += 1;
        let is_covered = |number: &u64| self.asked[number].answered.is_some_and(|answered| answered < called);
        let covered = self.places.iter().filter(|(number, _)| is_covered(number)).map(|(_, place)| *place).max();
        self.flushed = self.flushed.max(covered.unwrap_or(Lsn(0)));
    }

    /// A store has all up to `applied`, which must be of the order for good.
    pub(super) fn applied(&self, applied: Lsn) -> Result<&Arc<Held>, Violation> {
        self.state(applied).ok_or_else(|| {
            Violation(format!("a store has everything up to {applied:?}, and all members hold up to {:?}", self.end()))
        })
    }

    /// All members lost their tails; the primary of the epoch goes on with a log of this history.
    pub(super) fn lose(&mut self, loss: Epoch, history: &History) -> Result<(), Violation> {
        let is_kept = |lsn: &u64| history.epoch_of(Lsn(*lsn)) == self.records.get(*lsn as usize - 1).map(|it| it.0);
        let kept = (1..=self.end().min(history.end().lsn).0).rev().find(is_kept).map_or(Lsn(0), Lsn);
        if kept < self.flushed {
            return Err(Violation(format!("{kept:?} is left of the order, and {:?} was flushed", self.flushed)));
        }
        self.check()?;
        self.records.truncate(kept.0 as usize);
        self.states.truncate(kept.0 as usize + 1);
        self.places.retain(|_, place| *place <= kept);
        self.answers.clear();
        (self.base, self.loss) = (kept, loss);
        Ok(())
    }

    /// Whether the answers since the last loss are those of one volume.
    pub(super) fn check(&self) -> Result<(), Violation> {
        let mut answers: Vec<&Answer> = self.answers.iter().collect();
        answers.sort_by_key(|answer| answer.answered);
        let later = Later::new(self.places.iter().map(|(number, place)| (self.asked[number].called, *place)).collect());
        // When something was answered, and up to where all is known to have happened by then.
        let mut known: Vec<(u64, Lsn)> = Vec::new();
        for answer in answers {
            let before = known.partition_point(|(at, _)| *at < answer.called);
            let least = before.checked_sub(1).map_or(self.base, |index| known[index].1);
            let place = match &answer.learnt {
                Learnt::Ordered(numbers) => self.check_ordered(numbers, least)?,
                Learnt::Read { first, values } => {
                    let most = later.first_after(answer.answered).map_or(self.end(), |place| Lsn(place.0 - 1));
                    self.find(*first, values, (least, most)).ok_or_else(|| self.never_held(answer, (least, most)))?
                }
            };
            let newest = known.last().map_or(self.base, |(_, place)| *place);
            known.push((answer.answered, newest.max(place)));
        }
        Ok(())
    }

    fn check_ordered(&self, numbers: &[u64], least: Lsn) -> Result<Lsn, Violation> {
        let places: Vec<Lsn> = numbers.iter().filter_map(|number| self.places.get(number).copied()).collect();
        match places.iter().find(|place| **place <= least) {
            Some(place) => {
                Err(Violation(format!("{numbers:?} are ordered at {place:?}, before {least:?} was answered")))
            }
            None => Ok(places.into_iter().max().unwrap_or(least)),
        }
    }

    /// The first state of those in question in which cells hold these values.
    fn find(&self, first: u64, values: &[u64], (least, most): (Lsn, Lsn)) -> Option<Lsn> {
        let holds = |lsn: &u64| self.states[*lsn as usize].range(first, values.len() as u64) == Some(values);
        (least.0..=most.0).find(holds).map(Lsn)
    }

    fn never_held(&self, answer: &Answer, (least, most): (Lsn, Lsn)) -> Violation {
        let Learnt::Read { first, values } = &answer.learnt else { return Violation("not a read".into()) };
        let held = |lsn: u64| self.states[lsn as usize].range(*first, values.len() as u64).map(<[u64]>::to_vec);
        let held: Vec<_> = (least.0..=most.0).map(held).collect();
        let place = |value: &u64| self.places.get(value);
        let places: Vec<_> = values.iter().map(place).collect();
        Violation(format!(
            "a read of {}..{} saw {values:?} from cell {first} on, ordered at {places:?}; from {least:?} to {most:?} it held {held:?}",
            answer.called, answer.answered
        ))
    }
}

/// For each moment, the first place of what was called after it.
struct Later(Vec<(u64, Lsn)>);

impl Later {
    fn new(mut called: Vec<(u64, Lsn)>) -> Self {
        called.sort_unstable();
        let mut first = None;
        for (_, place) in called.iter_mut().rev() {
            let least = first.map_or(*place, |first: Lsn| first.min(*place));
            (first, *place) = (Some(least), least);
        }
        Self(called)
    }

    fn first_after(&self, at: u64) -> Option<Lsn> {
        let index = self.0.partition_point(|(called, _)| *called <= at);
        self.0.get(index).map(|(_, place)| *place)
    }
}

#[cfg(test)]
mod tests;
