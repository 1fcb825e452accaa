//! Carries out operations on a store and on the model side by side, and compares all the way.

use std::collections::VecDeque;
use std::sync::Arc;

use lsm_store::device::Device;
use lsm_store::id::{BLOCK_BYTES, VolumeId};
use lsm_store::request::Write;
use lsm_store::{Error, ErrorKind};

use crate::model::{Change, StoreModel, Survives, Violation};
use crate::system::{Maker, System, audit, read_back};
use crate::workload::Operation;

/// Lines of the log kept to explain a violation with.
const TAIL_LINES: usize = 30;

/// The machine below the store.
pub trait Machine {
    /// Its device.
    fn device(&self) -> Arc<dyn Device>;
    /// The power fails: of what was not synced, `seed` chooses what stays.
    fn power_cut(&mut self, seed: u64);
}

/// Which errors of the store are in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tolerance {
    /// None.
    Nothing,
    /// The store may be full: what needs room may be refused, nothing else.
    Full,
    /// There is not even the room that the store has reserved: all changes may be refused for want of it.
    NoRoom,
    /// The device fails: anything may be refused, and the store may have stopped.
    Faults,
}

/// What an operation takes of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Takes {
    /// Nothing: it goes on, be the disk as full as it may.
    Nothing,
    /// Some of what the store has reserved.
    Reserve,
    /// Room for new data.
    Room,
}

/// What became of an operation.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It made no sense now (no volume, say) and was left out.
    Skipped,
    /// It was refused, for an error that is tolerated.
    Refused(Error),
}

/// Told of every moment that matters to whoever crashes the machine later.
pub trait Observer {
    /// An operation has begun: the model holds what it may do.
    fn begun(&mut self, model: &StoreModel);
    /// An operation was answered: the model holds what must be there.
    fn answered(&mut self, model: &StoreModel);
}

/// The log of a run: the same seed gives the same log, byte for byte.
#[derive(Clone)]
pub struct RunLog {
    digest: blake3::Hasher,
    tail: VecDeque<String>,
}

impl RunLog {
    fn note(&mut self, line: String) {
        self.digest.update(line.as_bytes()).update(b"\n");
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// Digest of all lines.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest.finalize().to_hex()[..16].to_owned()
    }

    /// The last lines.
    pub fn tail(&self) -> impl Iterator<Item = &str> {
        self.tail.iter().map(String::as_str)
    }
}

/// A store, its machine and its model.
pub struct Runner<'a, M> {
    maker: &'a dyn Maker,
    machine: M,
    system: Option<Box<dyn System>>,
    model: StoreModel,
    living: Vec<VolumeId>,
    /// Each with its volume.
    snapshots: Vec<(VolumeId, VolumeId)>,
    volumes_max: usize,
    tolerance: Tolerance,
    audits: bool,
    observer: Option<&'a mut dyn Observer>,
    log: RunLog,
}

type Verdict<T> = Result<T, Violation>;

impl<'a, M: Machine> Runner<'a, M> {
    /// Makes a store on a machine and opens it.
    pub fn create(maker: &'a dyn Maker, machine: M, tolerance: Tolerance) -> Result<Self, Error> {
        maker.create(&machine.device())?;
        let mut runner = Self::stopped(maker, machine, tolerance, StoreModel::default());
        runner.system = Some(maker.open(&runner.machine.device())?);
        Ok(runner)
    }

    /// A stopped store that must hold what `model` says; [`Runner::start`] starts it.
    pub fn stopped(maker: &'a dyn Maker, machine: M, tolerance: Tolerance, model: StoreModel) -> Self {
        let (living, snapshots) = (model.living().collect(), model.snapshots().collect());
        let log = RunLog { digest: blake3::Hasher::new(), tail: VecDeque::new() };
        let (volumes_max, audits) = (4, false);
        Self {
            maker,
            machine,
            system: None,
            model,
            living,
            snapshots,
            volumes_max,
            tolerance,
            audits,
            observer: None,
            log,
        }
    }

    /// Tells `observer` of everything from now on.
    #[must_use]
    pub fn observed_by(mut self, observer: &'a mut dyn Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Holds what the collector thinks against an independent mark after every operation from now on.
    #[must_use]
    pub fn audited(self) -> Self {
        Self { audits: true, ..self }
    }

    /// The log so far.
    pub fn log(&self) -> &RunLog {
        &self.log
    }

    /// The model.
    pub fn model(&self) -> &StoreModel {
        &self.model
    }

    /// The machine below.
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// True while the store is open.
    pub fn is_running(&self) -> bool {
        self.system.is_some()
    }

    /// Changes which errors are in order.
    pub fn tolerate(&mut self, tolerance: Tolerance) {
        self.tolerance = tolerance;
    }

    /// Stops the store as the death of its process would, if it runs.
    pub fn kill(&mut self) {
        self.system = None;
    }

    /// The machine, with the store dropped as by the death of its process.
    pub fn into_machine(self) -> (M, StoreModel) {
        (self.machine, self.model)
    }

    /// Carries out `operations`; ends early when the store refuses because it has stopped.
    pub fn run(&mut self, operations: &[Operation]) -> Verdict<()> {
        for operation in operations {
            self.apply(operation)?;
        }
        Ok(())
    }

    /// Carries out one operation.
    pub fn apply(&mut self, operation: &Operation) -> Verdict<Outcome> {
        let result = self.dispatch(operation).and_then(|outcome| self.audit().map(|()| outcome));
        let line = match &result {
            Ok(Outcome::Done) => format!("{operation:?}"),
            Ok(outcome) => format!("{operation:?}: {outcome:?}"),
            Err(violation) => format!("{operation:?}: VIOLATION {violation}"),
        };
        self.log.note(line);
        result
    }

    fn audit(&self) -> Verdict<()> {
        match &self.system {
            Some(system) if self.audits => audit(&**system),
            _ => Ok(()),
        }
    }

    fn dispatch(&mut self, operation: &Operation) -> Verdict<Outcome> {
        match operation {
            Operation::Create { blocks, compression } => self.create_volume(*blocks, *compression),
            Operation::Step { count } => self.step(*count),
            Operation::Collect => self.collect(|system| system.collect()),
            Operation::CollectCold => self.collect(|system| system.collect_cold()),
            Operation::Freeze => self.simple("freeze", |system| system.freeze()),
            Operation::Reopen => self.reopen(),
            Operation::Kill => {
                self.kill();
                self.start(Survives::Answered)
            }
            Operation::PowerCut { seed } => {
                self.system = None;
                self.machine.power_cut(*seed);
                self.start(Survives::Flushed)
            }
            Operation::Check => self.check(),
            Operation::Read { volume, .. } | Operation::Status { volume, .. } => match self.readable(*volume) {
                Some(id) => self.on_volume(id, operation),
                None => Ok(Outcome::Skipped),
            },
            Operation::Clone { of } => match self.readable(*of) {
                Some(id) if self.living.len() < self.volumes_max => self.copy(id, false),
                _ => Ok(Outcome::Skipped),
            },
            Operation::RollBack { snapshot } => self.roll_back(*snapshot),
            Operation::DeleteSnapshot { snapshot } => match self.snapshots.len() {
                0 => Ok(Outcome::Skipped),
                count => self.delete(self.snapshots[usize::from(*snapshot) % count].0),
            },
            Operation::Write { volume, .. }
            | Operation::Zero { volume, .. }
            | Operation::Flush { volume }
            | Operation::Snapshot { volume }
            | Operation::Resize { volume, .. }
            | Operation::Delete { volume } => match self.living.len() {
                0 => Ok(Outcome::Skipped),
                count => self.on_volume(self.living[usize::from(*volume) % count], operation),
            },
        }
    }

    fn on_volume(&mut self, id: VolumeId, operation: &Operation) -> Verdict<Outcome> {
        let size = self.model.volume_mut(id).size_bytes();
        match operation {
            Operation::Write { writes, .. } => {
                let prepared = writes.iter().map(|(span, content)| {
                    let (offset, len) = span.within(size);
                    (offset, content.bytes(offset, len as usize))
                });
                self.write(id, &prepared.collect::<Vec<_>>())
            }
            Operation::Zero { span, zeroing, .. } => {
                let (offset, len) = span.within(size);
                self.model.volume_mut(id).begin_zero(offset, len, *zeroing);
                let is_aligned =
                    offset % BLOCK_BYTES as u64 == 0 && (len % BLOCK_BYTES as u64 == 0 || offset + len == size);
                let takes = if is_aligned { Takes::Reserve } else { Takes::Room };
                self.finish_write(id, takes, offset, len, |system| system.zero(id, offset, len, *zeroing))
            }
            Operation::Flush { .. } => {
                let outcome = self.simple("flush", |system| system.flush(id))?;
                if matches!(outcome, Outcome::Done) {
                    self.model.volume_mut(id).flush();
                    self.tell_answered();
                }
                Ok(outcome)
            }
            Operation::Read { span, .. } => {
                let (offset, len) = span.within(size);
                self.read(id, offset, len.min(1 << 20))
            }
            Operation::Status { span, extents_max, .. } => {
                let (offset, len) = span.within(size);
                self.status(id, offset, len, *extents_max)
            }
            Operation::Resize { blocks, .. } => {
                let size_bytes = blocks * BLOCK_BYTES as u64;
                self.model.begin(Change::Resize(id, size_bytes));
                self.tell_begun();
                let result = self.system()?.resize_volume(id, size_bytes);
                self.finish_change("resize", result)
            }
            Operation::Delete { .. } => self.delete(id),
            Operation::Snapshot { .. } if self.snapshots.len() >= self.volumes_max => Ok(Outcome::Skipped),
            Operation::Snapshot { .. } => self.copy(id, true),
            other => Err(Violation(format!("{other:?} is not done to a volume"))),
        }
    }

    fn write(&mut self, id: VolumeId, writes: &[(u64, Vec<u8>)]) -> Verdict<Outcome> {
        let volume = self.model.volume_mut(id);
        writes.iter().for_each(|(offset, data)| volume.begin_write(*offset, data));
        let group: Vec<Write<'_>> = writes.iter().map(|(offset, data)| Write { offset: *offset, data }).collect();
        let first = writes.iter().map(|(offset, _)| *offset).min().unwrap_or_default();
        let end = writes.iter().map(|(offset, data)| offset + data.len() as u64).max().unwrap_or_default();
        self.finish_write(id, Takes::Room, first, end - first, |system| system.write(id, &group))
    }

    fn finish_write(
        &mut self,
        id: VolumeId,
        takes: Takes,
        offset: u64,
        len: u64,
        call: impl FnOnce(&dyn System) -> lsm_store::Result<()>,
    ) -> Verdict<Outcome> {
        self.tell_begun();
        let result = call(self.system()?);
        let volume = self.model.volume_mut(id);
        let Err(error) = result else {
            volume.answer();
            self.tell_answered();
            return Ok(Outcome::Done);
        };
        if is_clean(&error) {
            volume.refuse();
        } else {
            // A group may have been done in part: what can be read tells.
            volume.resolve(|offset, len| self.system.as_ref()?.read(id, offset, len).ok())?;
        }
        self.tell_answered();
        let what = format!("write of {len} at {offset} of volume {id}");
        self.tolerated(&what, error, takes)
    }

    fn read(&mut self, id: VolumeId, offset: u64, len: u64) -> Verdict<Outcome> {
        match self.system()?.read(id, offset, len) {
            Err(error) => self.tolerated("read", error, Takes::Nothing),
            Ok(found) => {
                let volume = self.model.volume_mut(id);
                let expected = volume.read(offset, len);
                if found == expected || volume.is_doubtful(offset, len) && found.len() == expected.len() {
                    return Ok(Outcome::Done);
                }
                let at = found.iter().zip(&expected).position(|(found, expected)| found != expected);
                Err(Violation(format!("read of {len} at {offset} of volume {id} is wrong from byte {at:?} of it")))
            }
        }
    }

    fn status(&mut self, id: VolumeId, offset: u64, len: u64, extents_max: usize) -> Verdict<Outcome> {
        match self.system()?.block_status(id, offset, len, extents_max) {
            Err(error) => self.tolerated("block status", error, Takes::Nothing),
            Ok(extents) if extents.len() > extents_max => {
                Err(Violation(format!("{} extents of block status, asked for {extents_max}", extents.len())))
            }
            Ok(extents) => self.model.volume_mut(id).admits_status(offset, len, &extents).map(|()| Outcome::Done),
        }
    }

    fn create_volume(&mut self, blocks: u64, compression: crate::workload::Compression) -> Verdict<Outcome> {
        if self.living.len() >= self.volumes_max {
            return Ok(Outcome::Skipped);
        }
        let size_bytes = blocks * BLOCK_BYTES as u64;
        let mut named = None;
        let Some(system) = self.system.as_deref() else { return Err(stopped()) };
        let (model, observer) = (&mut self.model, &mut self.observer);
        let result = system.create_volume(size_bytes, compression, &mut |id| {
            named = Some(id);
            model.begin(Change::Create(id, size_bytes));
            if let Some(observer) = observer {
                observer.begun(model);
            }
        });
        match (result, named) {
            (Ok(()), None) => Err(Violation("a volume was made without a name".to_owned())),
            (Err(error), None) => self.tolerated("create", error, Takes::Room),
            (result, Some(id)) => {
                let outcome = self.finish_change("create", result)?;
                if matches!(outcome, Outcome::Done) {
                    self.living.push(id);
                }
                Ok(outcome)
            }
        }
    }

    /// A volume, or a snapshot, to read.
    fn readable(&self, number: u8) -> Option<VolumeId> {
        let count = self.living.len() + self.snapshots.len();
        let at = usize::from(number).checked_rem(count)?;
        self.living.get(at).or_else(|| self.snapshots.get(at - self.living.len()).map(|(id, _)| id)).copied()
    }

    fn delete(&mut self, id: VolumeId) -> Verdict<Outcome> {
        self.model.begin(Change::Delete(id));
        self.tell_begun();
        let result = self.system()?.delete_volume(id);
        let outcome = self.finish_change("delete", result)?;
        if !matches!(outcome, Outcome::Refused(_)) {
            self.living.retain(|living| *living != id);
            self.snapshots.retain(|(snapshot, _)| *snapshot != id);
        }
        Ok(outcome)
    }

    /// Makes a snapshot or a clone.
    fn copy(&mut self, of: VolumeId, is_snapshot: bool) -> Verdict<Outcome> {
        let mut named = None;
        let Some(system) = self.system.as_deref() else { return Err(stopped()) };
        let (model, observer) = (&mut self.model, &mut self.observer);
        let mut note = |id| {
            named = Some(id);
            if is_snapshot {
                model.begin_snapshot(id, of)
            } else {
                model.begin_copy(id, of)
            }
            if let Some(observer) = observer {
                observer.begun(model);
            }
        };
        let what = if is_snapshot { "snapshot" } else { "clone" };
        let result =
            if is_snapshot { system.snapshot_volume(of, &mut note) } else { system.clone_volume(of, &mut note) };
        let Some(id) = named else {
            return match result {
                Ok(()) => Err(Violation(format!("a {what} was made without a name"))),
                Err(error) => self.tolerated(what, error, Takes::Room),
            };
        };
        if result.is_ok() && self.living.contains(&of) {
            // What a copy holds was synced before it got its name.
            self.model.volume_mut(of).flush();
        }
        let outcome = self.finish_change(what, result)?;
        match outcome {
            Outcome::Done if is_snapshot => self.snapshots.push((id, of)),
            Outcome::Done => self.living.push(id),
            _ => {}
        }
        Ok(outcome)
    }

    fn roll_back(&mut self, number: u8) -> Verdict<Outcome> {
        let living = self.snapshots.iter().filter(|(_, of)| self.living.contains(of));
        let candidates: Vec<_> = living.copied().collect();
        let Some(at) = usize::from(number).checked_rem(candidates.len()) else { return Ok(Outcome::Skipped) };
        let (snapshot, volume) = candidates[at];
        self.model.begin_copy(volume, snapshot);
        self.tell_begun();
        let result = self.system()?.roll_back_volume(volume, snapshot);
        self.finish_change("rollback", result)
    }

    fn finish_change(&mut self, what: &str, result: lsm_store::Result<()>) -> Verdict<Outcome> {
        let outcome = match result {
            Ok(()) => {
                self.model.answer();
                Ok(Outcome::Done)
            }
            Err(error) => {
                if is_clean(&error) || error.kind() == ErrorKind::OutOfSpace {
                    self.model.refuse();
                }
                let is_new = matches!(what, "create" | "snapshot" | "clone");
                self.tolerated(what, error, if is_new { Takes::Room } else { Takes::Reserve })
            }
        };
        self.tell_answered();
        outcome
    }

    fn step(&mut self, count: u8) -> Verdict<Outcome> {
        for _ in 0..count {
            match self.system()?.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return self.tolerated("step", error, Takes::Room),
            }
        }
        self.tell_answered();
        Ok(Outcome::Done)
    }

    fn collect(&mut self, call: impl FnOnce(&dyn System) -> lsm_store::Result<()>) -> Verdict<Outcome> {
        let outcome = match call(self.system()?) {
            Ok(()) => Outcome::Done,
            Err(error) => self.tolerated("collect", error, Takes::Room)?,
        };
        self.tell_answered();
        Ok(outcome)
    }

    fn simple(&mut self, what: &str, call: impl FnOnce(&dyn System) -> lsm_store::Result<()>) -> Verdict<Outcome> {
        match call(self.system()?) {
            Ok(()) => Ok(Outcome::Done),
            Err(error) => self.tolerated(what, error, if what == "freeze" { Takes::Room } else { Takes::Nothing }),
        }
    }

    fn reopen(&mut self) -> Verdict<Outcome> {
        let closed = self.system.take().ok_or_else(stopped)?.close();
        if let Err(error) = closed {
            self.tolerated("close", error, Takes::Nothing)?;
        }
        self.start(Survives::Answered)
    }

    fn check(&mut self) -> Verdict<Outcome> {
        self.kill();
        let device = self.machine.device();
        match self.maker.check(&device) {
            Ok(damages) if damages.is_empty() => self.start(Survives::Answered),
            // What the device refused to give counts as damage; asked again, it must be found sound or be refused again.
            Ok(_) if self.tolerance == Tolerance::Faults => match self.maker.check(&device) {
                Ok(damages) if damages.is_empty() => self.start(Survives::Answered),
                Ok(damages) => Err(Violation(format!("check finds damage again: {}", damages.join("; ")))),
                Err(error) => self.tolerated("check", error, Takes::Nothing),
            },
            Ok(damages) => Err(Violation(format!("check found damage in a sound store: {}", damages.join("; ")))),
            Err(error) => self.tolerated("check", error, Takes::Nothing),
        }
    }

    /// Opens the stopped store, reads everything back and compares. If that fails in a tolerated way the store stays
    /// stopped.
    pub fn start(&mut self, survives: Survives) -> Verdict<Outcome> {
        let system = match self.maker.open(&self.machine.device()) {
            Ok(system) => system,
            Err(error) => return self.tolerated("open", error, Takes::Nothing),
        };
        let image = match read_back(&*system, &self.model) {
            Ok(image) => image,
            Err(error) => return self.tolerated("reading back", error, Takes::Nothing),
        };
        self.log.note(format!("found {}", image.digest()));
        self.model = self.model.admits(&image, survives)?;
        (self.living, self.snapshots) = (self.model.living().collect(), self.model.snapshots().collect());
        self.system = Some(system);
        self.tell_answered();
        Ok(Outcome::Done)
    }

    fn tolerated(&self, what: &str, error: Error, takes: Takes) -> Verdict<Outcome> {
        let tolerated = match self.tolerance {
            Tolerance::Nothing => false,
            Tolerance::Full => takes == Takes::Room && error.kind() == ErrorKind::OutOfSpace,
            Tolerance::NoRoom => takes != Takes::Nothing && error.kind() == ErrorKind::OutOfSpace,
            Tolerance::Faults => true,
        };
        if tolerated {
            Ok(Outcome::Refused(error))
        } else {
            Err(Violation(format!("{what} failed: {}", chain(&error))))
        }
    }

    fn system(&self) -> Verdict<&dyn System> {
        self.system.as_deref().ok_or_else(stopped)
    }

    fn tell_begun(&mut self) {
        if let Some(observer) = &mut self.observer {
            observer.begun(&self.model);
        }
    }

    fn tell_answered(&mut self) {
        if let Some(observer) = &mut self.observer {
            observer.answered(&self.model);
        }
    }
}

fn stopped() -> Violation {
    Violation("the store is not running".to_owned())
}

/// True for errors that say nothing was done.
fn is_clean(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Busy | ErrorKind::ReadOnly)
}

/// An error with its sources.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
