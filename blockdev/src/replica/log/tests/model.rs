//! What a log has to say: one state after each record and each other change, and how far it is durable.

use lsm_store::device::sim::SimDevice;
use lsm_store::rng::SeededRng;

use super::*;

/// What an opened log says.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Said {
    pub(super) records: Vec<Record>,
    pub(super) floor: Lsn,
    pub(super) end: Lsn,
    pub(super) standing: Standing,
    pub(super) is_torn: bool,
}

impl Said {
    /// True if `found` is this state, of which older records may be gone as far as they are below the floor.
    pub(super) fn is_told_by(&self, found: &Self) -> bool {
        let gone = self.records.len().checked_sub(found.records.len());
        let Some(gone) = gone else { return false };
        let start = self.end.0 - found.records.len() as u64;
        let rest = Self { records: self.records[gone..].to_vec(), ..self.clone() };
        rest == *found && start <= self.floor.0
    }
}

/// What `log` says now.
pub(super) fn said(log: &ReplicaLog, recovered: &Recovered) -> Said {
    let records = all(log);
    assert_eq!(records.len() as u64, log.end().0 + 1 - log.start().0, "records are consecutive");
    assert_eq!((recovered.start, recovered.synced), (log.start(), log.end()));
    let newest = records.last().map(|record| record.epoch);
    assert!(newest.is_none_or(|epoch| epoch == recovered.history.end().epoch));
    Said { records, floor: recovered.floor, end: log.end(), standing: recovered.standing, is_torn: recovered.is_torn }
}

/// How far a log had come when a note was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// States up to here are durable.
    pub(super) durable: usize,
    /// Up to here they were handed to the kernel.
    pub(super) handed: usize,
    /// Up to here they were asked for.
    pub(super) asked: usize,
}

impl Progress {
    fn note(self) -> u64 {
        [self.durable, self.handed, self.asked].iter().fold(0, |note, part| (note << 20) | *part as u64)
    }

    pub(super) fn of(note: u64) -> Self {
        let part = |shift: u32| ((note >> shift) & 0xf_ffff) as usize;
        Self { durable: part(40), handed: part(20), asked: part(0) }
    }
}

/// A log and the states it went through.
pub(super) struct Run {
    pub(super) device: SimDevice,
    log: ReplicaLog,
    pub(super) states: Vec<Said>,
    progress: Progress,
    noted: Standing,
    epoch: u64,
    rng: SeededRng,
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        let device = SimDevice::new(seed, Faults::none());
        let log = create(&device);
        let empty = Said { records: vec![], floor: Lsn(0), end: Lsn(0), standing: SOUND, is_torn: false };
        let progress = Progress { durable: 0, handed: 0, asked: 0 };
        device.record();
        device.note(progress.note());
        Self { device, log, states: vec![empty], progress, noted: SOUND, epoch: 1, rng: SeededRng::new(seed) }
    }

    /// Does something.
    pub(super) fn step(&mut self) {
        match self.rng.below(24) {
            0..10 => self.append(),
            10..13 => self.truncate(),
            13..15 => self.note(),
            15..18 => self.durably(|_, _| {}, |log| log.syncer().sync()),
            18..20 => self.checkpoint(),
            20 => self.trim(),
            21 => self.install(),
            _ => self.reopen(),
        }
    }

    fn now(&self) -> Said {
        self.states.last().unwrap().clone()
    }

    /// Asks for something that leads to these states.
    fn ask(&mut self, states: Vec<Said>, act: impl FnOnce(&mut ReplicaLog) -> Result<()>) {
        self.states.extend(states);
        self.progress.asked = self.states.len() - 1;
        self.device.note(self.progress.note());
        act(&mut self.log).unwrap();
        self.progress.handed = self.progress.asked;
        self.device.note(self.progress.note());
    }

    /// Asks for something that makes all durable.
    fn durably(&mut self, change: impl FnOnce(&mut Said, Standing), act: impl FnOnce(&mut ReplicaLog) -> Result<()>) {
        let mut next = self.now();
        change(&mut next, self.noted);
        self.ask(vec![next], act);
        self.progress.durable = self.progress.handed;
        self.device.note(self.progress.note());
    }

    fn append(&mut self) {
        if self.rng.below(4) == 0 {
            self.epoch += 1;
        }
        let mut states = Vec::new();
        let (mut next, mut told) = (self.now(), Vec::new());
        let first = next.end.next();
        for _ in 0..=self.rng.below(3) {
            next.end = next.end.next();
            let len = [0, 40, 700, 6000][self.rng.below(4) as usize];
            told.push(record(self.epoch, next.end.0, len));
            next.records.push(record(self.epoch, next.end.0, len));
            states.push(next.clone());
        }
        self.ask(states, |log| log.append(first, &told));
    }

    fn truncate(&mut self) {
        let mut next = self.now();
        let lost = self.rng.below(4).min(next.end.0 - next.floor.0);
        next.end.0 -= lost;
        let kept = next.records.len().saturating_sub(lost as usize);
        next.records.truncate(kept);
        self.epoch += 1;
        let beyond = next.end;
        self.ask(vec![next], |log| log.truncate(beyond));
    }

    fn note(&mut self) {
        let standing = [Standing::Outside, Standing::Doubtful(Epoch(self.epoch)), Standing::Sound(Epoch(self.epoch))];
        self.noted = standing[self.rng.below(3) as usize];
        let mut next = self.now();
        next.standing = if next.is_torn { Standing::Outside } else { self.noted };
        let noted = self.noted;
        self.ask(vec![next], |log| log.note(noted));
    }

    fn checkpoint(&mut self) {
        let now = self.now();
        let floor = Lsn(now.floor.0 + self.rng.below(now.end.0 - now.floor.0 + 1));
        self.durably(|next, _| next.floor = floor, |log| log.checkpoint(floor));
    }

    fn trim(&mut self) {
        let keep_from = Lsn(self.rng.below(self.now().end.0 + 2));
        let (floor, recycles) = (self.now().floor, self.rng.below(4) > 0);
        self.ask(vec![], |log| log.trim(keep_from, recycles).map(|start| assert!(start <= floor.next())));
    }

    fn install(&mut self) {
        self.durably(|next, _| (next.is_torn, next.standing) = (true, Standing::Outside), ReplicaLog::begin_install);
        if self.rng.below(3) == 0 {
            return;
        }
        let end = Lsn(self.now().end.0 + 10);
        self.epoch += 1;
        let history = history(&[(self.epoch, end.0)], end.0);
        let fresh = |next: &mut Said, standing| {
            *next = Said { records: vec![], floor: end, end, standing, is_torn: false };
        };
        self.durably(fresh, |log| log.install(history));
    }

    /// The process stops and starts.
    fn reopen(&mut self) {
        let device = self.device.clone();
        let now = self.now();
        self.durably(
            |_, _| {},
            |log| {
                let (reopened, recovered) = open(&device, BOOT);
                assert!(recovered.intact);
                let found = said(&reopened, &recovered);
                assert!(now.is_told_by(&found), "{found:?}\nis not {now:?}");
                *log = reopened;
                Ok(())
            },
        );
    }
}
