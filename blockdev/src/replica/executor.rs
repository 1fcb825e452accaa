//! The thread of a replica: it gives events to the protocol and carries out what that wants done.
//!
//! Records that are asked of the log one after the other are written in one go. Messages leave before the log is written, which
//! the protocol allows: a primary sends what it may not have itself yet, and after a restart begins a new epoch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use net::id::NodeId;
use net::replication::{
    Action, Body, Credit, Epoch, Event, Lsn, Message, Outcome, Record, Replica, Shortage, Tick, Ticket, TransferId,
    wire,
};
use net::transport::Received;

use super::inbox::Input;
use super::ledger::Promise;
use super::local::Shared;
use super::log::{LogError, ReplicaLog, Sizes};
use super::made::Made;
use super::operation::{self, InvalidOperations};
use super::outside::{Outside, Sending};
use super::pending::Operations;
use super::quota::LookedUp;

/// How much a replica holds beside its store.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How much of the log is kept for nodes that come back soon.
    pub kept_bytes: u64,
    /// How long the files of its log are; `None`: as suits the disk.
    pub log_files: Option<Sizes>,
    /// It stands still while its log finds no room on the disk; if not, it fails.
    pub waits_for_room: bool,
}

impl Bounds {
    /// 128 MiB.
    pub const DEFAULT: Self = Self { kept_bytes: 128 << 20, log_files: None, waits_for_room: true };
}

/// And no more than this part of what is free on the disk.
const KEPT_PARTS: u64 = 8;

/// Between two attempts to write the log to a full disk.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// What the store can take is told again after so long, in microseconds.
const CREDIT_US: u64 = 200_000;

/// And not more often than this while much of it is used.
const CREDIT_US_MIN: u64 = 1_000;

/// Records that wait to be written.
#[derive(Default)]
struct Batch {
    first: Lsn,
    records: Vec<Record>,
    ticket: Ticket,
}

fn room_of_records(records: &[Record]) -> u64 {
    let room_of = |record: &Record| match &record.body {
        Body::Opening => 0,
        Body::Write(payload) => operation::room_of(payload),
    };
    records.iter().map(room_of).fold(0, u64::saturating_add)
}

/// Ends everything that waits for the thread of a replica.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.fail();
        self.0.inbox.close();
        self.0.calls.end_all();
        self.0.applying.stop();
        self.0.syncing.stop();
    }
}

/// Owns the protocol's state and the log.
pub(super) struct Executor {
    pub(super) replica: Replica,
    pub(super) log: ReplicaLog,
    pub(super) shared: Arc<Shared>,
    pub(super) outside: Arc<dyn Outside>,
    bounds: Bounds,
    batch: Batch,
    /// From where on the log is kept, by transfer.
    holds: HashMap<TransferId, Lsn>,
    asked_sync: Lsn,
    /// The store has everything up to here durably, as the log knows.
    floor: Lsn,
    /// Its content is being replaced, and is that of no log.
    is_torn: bool,
    told: Told,
    /// What clients of this node asked for, until it comes to be written.
    made: Made,
    /// What writes map at most that a quota has let in and that have no place yet.
    pub(super) unplaced: u64,
    /// What was looked up of the newest write near a quota.
    pub(super) looked_up: Option<LookedUp>,
}

/// What the protocol was told last of the room in the store.
#[derive(Default)]
struct Told {
    at: Tick,
    promise: Promise,
    /// Used of it since.
    used: u64,
    epoch: Option<Epoch>,
}

impl Executor {
    pub(super) fn new(
        replica: Replica,
        (log, floor): (ReplicaLog, Lsn),
        shared: Arc<Shared>,
        outside: Arc<dyn Outside>,
        bounds: Bounds,
    ) -> Self {
        let (batch, holds, asked_sync, is_torn) = (Batch::default(), HashMap::new(), Lsn(0), false);
        let (told, made, unplaced, looked_up) = (Told::default(), Made::default(), 0, None);
        Self {
            replica,
            log,
            shared,
            outside,
            bounds,
            batch,
            holds,
            asked_sync,
            floor,
            is_torn,
            told,
            made,
            unplaced,
            looked_up,
        }
    }

    /// Works until it is told to stop. If it panics, whoever waits for it is told, and it is started again.
    pub(super) fn run(mut self, actions: Vec<Action>) {
        let _end = End(Arc::clone(&self.shared));
        self.carry_out(actions);
        let mut inputs = Vec::new();
        loop {
            let now = self.shared.ticks.now();
            self.shared.inbox.take(&mut inputs, Duration::from_micros(self.replica.deadline().since(now)));
            if !self.work(&mut inputs) {
                return;
            }
        }
    }

    /// Takes what has come, and the timer if it is due, and carries out what comes of that; false if it is to end.
    pub(super) fn work(&mut self, inputs: &mut Vec<Input>) -> bool {
        let mut actions = Vec::new();
        for input in inputs.drain(..) {
            if matches!(input, Input::Stop) {
                return false;
            }
            self.input(input, &mut actions);
        }
        if self.shared.ticks.now() >= self.replica.deadline() {
            self.step(Event::Timer, &mut actions);
        }
        self.tell_credit(&mut actions);
        self.carry_out(actions);
        self.made.clear();
        (self.unplaced, self.looked_up) = (0, None);
        self.keep_count();
        true
    }

    fn input(&mut self, input: Input, actions: &mut Vec<Action>) {
        match input {
            Input::Message(from, received) => self.message(from, &received, actions),
            Input::Event(Event::JournalFailed) => self.give_up(actions),
            Input::Event(Event::Write { request, payload, room, pause }) => {
                if let Some(refusal) = self.over_quota(&payload, room, actions) {
                    actions.push(Action::Answer(request, Outcome::Refused(refusal)));
                    return;
                }
                self.made.note(&payload);
                self.step(Event::Write { request, payload, room, pause }, actions);
            }
            Input::Event(event) => self.step(event, actions),
            Input::Checkpoint(floor) => self.checkpoint(floor, actions),
            Input::TellHistory(answer) => drop(answer.send(self.replica.history().clone())),
            // As for those who ask for the history.
            Input::TellBehind(answer) => drop(answer.send(self.behind())),
            Input::Hold(transfer, Some(lsn)) => _ = self.holds.insert(transfer, lsn),
            Input::Hold(transfer, None) => _ = self.holds.remove(&transfer),
            Input::BeginInstall(transfer, answer) => {
                // The protocol may have turned to something else; what the replica holds may be relied on by now.
                let is_wanted = self.replica.receiving() == Some(transfer);
                let is_ok = is_wanted && self.begin_install(actions);
                // Nobody listens if the transfer was given up meanwhile.
                let _ = answer.send(is_ok);
            }
            Input::Install(transfer, _) if self.replica.receiving() != Some(transfer) => self.give_up(actions),
            Input::Install(transfer, history) => {
                let (end, installed) = (history.end().lsn, self.patiently(|log| log.install(history.clone())));
                if self.or_fail(installed, actions).is_some() {
                    (self.is_torn, self.floor) = (false, end);
                    self.shared.applying.note_floor(end);
                    self.shared.pending.replace(end);
                    self.shared.applying.resume(end);
                    self.step(Event::Installed { transfer, history }, actions);
                    // The protocol has turned to something else meanwhile, and knows nothing of this log.
                    if self.replica.end().lsn != end {
                        self.give_up(actions);
                    }
                }
            }
            Input::Stop => {}
        }
    }

    fn begin_install(&mut self, actions: &mut Vec<Action>) -> bool {
        let begun = self.patiently(|log| log.begin_install());
        if begun.is_ok() {
            self.is_torn = true;
            self.shared.applying.pause();
        }
        self.or_fail(begun, actions).is_some()
    }

    fn message(&mut self, from: NodeId, received: &Received, actions: &mut Vec<Action>) {
        match wire::decode(&received.message) {
            // The store does not keep up. What the message says of others still counts, or nothing would ever be applied; but
            // the records do not, and the others go on without this replica if that lasts.
            Ok(Message::Append(mut append)) if self.is_overrun(&append.records) => {
                append.records.clear();
                self.step(Event::Message { from, message: Message::Append(append) }, actions);
            }
            Ok(message) => self.step(Event::Message { from, message }, actions),
            Err(error) => tracing::warn!(node = %from, volume = %self.shared.id, %error, "a message is not one"),
        }
    }

    /// It takes no records: there is no memory for them, or it is no member, and the room is needed for those that are.
    fn is_overrun(&self, records: &[Record]) -> bool {
        // Refused only while the store has something to take: what fills the memory otherwise goes when more is known to be
        // held by every member, and for that they have to take what comes next. After a start all of a log may be in memory.
        let pending = &self.shared.pending;
        if pending.is_full() && pending.applied() < self.replica.flushable() {
            return true;
        }
        let Promise { bytes, is_short } = self.told.promise;
        let is_member = self.replica.configuration().is_some_and(|it| it.contains(self.shared.me));
        is_short && !is_member && self.told.used.saturating_add(room_of_records(records)) > bytes
    }

    fn step(&mut self, event: Event, actions: &mut Vec<Action>) {
        self.replica.step(self.shared.ticks.now(), event, actions);
        // The protocol has turned to something else while the content was being replaced: what it says of its log no longer
        // holds.
        if self.is_torn && self.replica.receiving().is_none() && !self.shared.has_failed() {
            self.give_up(actions);
        }
    }

    /// The replica is silent until it is started again.
    fn give_up(&mut self, actions: &mut Vec<Action>) {
        self.shared.fail();
        self.replica.step(self.shared.ticks.now(), Event::JournalFailed, actions);
    }

    /// Carries out actions, and those that come of them.
    pub(super) fn carry_out(&mut self, mut actions: Vec<Action>) {
        // Before those that wait for the end of a pause are told of it.
        self.shared.pausing.set_until(self.replica.paused_until());
        while !actions.is_empty() {
            let mut further = Vec::new();
            for action in std::mem::take(&mut actions) {
                self.carry_out_one(action, &mut further);
            }
            self.write_batch(&mut further);
            actions = further;
        }
        self.shared.serving.set_until(self.replica.serves_until());
        self.shared.note_role(&self.replica);
        self.ask_for_sync();
    }

    fn carry_out_one(&mut self, action: Action, further: &mut Vec<Action>) {
        let volume = self.shared.id;
        match action {
            Action::Journal { ticket, first, records } => self.gather(ticket, first, records, further),
            Action::Truncate { ticket, beyond } => {
                self.write_batch(further);
                let done = self.patiently(|log| log.truncate(beyond));
                if self.or_fail(done, further).is_some() {
                    self.shared.pending.truncate(beyond);
                    self.step(Event::Journaled(ticket), further);
                }
            }
            Action::Note { ticket, standing } => {
                self.write_batch(further);
                let done = self.patiently(|log| log.note(standing));
                if self.or_fail(done, further).is_some() {
                    self.step(Event::Journaled(ticket), further);
                }
            }
            Action::Sync { ticket } => {
                self.write_batch(further);
                self.shared.syncing.ask(ticket);
            }
            Action::ReadJournal { to, after, count_max, bytes_max } => {
                self.write_batch(further);
                self.read_back(to, after, (count_max, bytes_max), further);
            }
            Action::Visible(lsn) => {
                self.write_batch(further);
                self.shared.pending.show(lsn);
                self.shared.applying.wake();
            }
            Action::Flushable(lsn) => self.shared.applying.raise(lsn),
            Action::AdmitRead(request) => self.step(Event::ReadDone { request }, further),
            Action::Answer(request, outcome) => self.shared.calls.end(request, outcome),
            Action::Admit(true) => self.shared.calls.admit(),
            Action::Admit(false) => {}
            Action::Send(to, message) => self.outside.send(volume, to, &message),
            Action::Propose(next) => self.outside.propose(volume, next),
            Action::FetchConfiguration => self.outside.fetch_configuration(volume),
            Action::Opened { epoch, loss } => {
                tracing::info!(%volume, %epoch, "this node serves the volume");
                self.shared.serving.open(epoch, loss);
            }
            Action::Closed => self.shared.serving.close(),
            Action::Pin { node, at_most } => self.outside.pin(volume, node, at_most),
            Action::Unpin(node) => self.outside.unpin(volume, node),
            Action::SendContent { to, transfer, base } => {
                let at_least = self.replica.flushable();
                self.outside.send_content(Sending { volume, to, transfer, base, at_least });
            }
            Action::ReceiveContent { from, transfer } => self.outside.receive_content(volume, from, transfer),
            Action::CancelTransfer(transfer) => self.outside.cancel_transfer(transfer),
            Action::Diverged(peer) => {
                tracing::error!(%volume, %peer, "two replicas have diverged: one of them must be removed");
            }
        }
    }

    fn read_back(&mut self, to: NodeId, after: Lsn, (count_max, bytes_max): (usize, u64), further: &mut Vec<Action>) {
        let volume = self.shared.id;
        match self.log.reader().read(after, count_max, bytes_max) {
            // What is damaged is in the store: whoever lacks it gets content.
            Err(error @ LogError::Corrupt { .. }) if after < self.floor => {
                tracing::error!(%volume, error = &error as &dyn std::error::Error, "an old part of a log is of no use");
                self.step(Event::JournalStarts(self.floor.next()), further);
            }
            read => {
                if let Some(records) = self.or_fail(read, further).filter(|records| !records.is_empty()) {
                    self.step(Event::JournalRead { to, after, records }, further);
                }
            }
        }
    }

    fn gather(&mut self, ticket: Ticket, first: Lsn, records: Vec<Record>, further: &mut Vec<Action>) {
        let follows = self.batch.first.0 + self.batch.records.len() as u64 == first.0;
        if !follows {
            self.write_batch(further);
        }
        if self.batch.records.is_empty() {
            self.batch.first = first;
        }
        self.batch.records.extend(records);
        self.batch.ticket = ticket;
    }

    fn write_batch(&mut self, further: &mut Vec<Action>) {
        if self.batch.records.is_empty() {
            return;
        }
        let Batch { first, records, ticket } = std::mem::take(&mut self.batch);
        // What comes behind records that found no room has no place in the log.
        if self.shared.has_failed() {
            return;
        }
        let operations: Result<Vec<Operations>, _> = records.iter().map(|it| self.operations_of(it)).collect();
        let operations = operations.map_err(|error| {
            tracing::error!(volume = %self.shared.id, %error, "a replica cannot go on");
            self.give_up(further);
        });
        let Ok(operations) = operations else { return };
        let appended = self.patiently(|log| {
            let done = (log.end().0 + 1 - first.0) as usize;
            log.append(log.end().next(), &records[done..])
        });
        if self.or_fail(appended, further).is_some() {
            let room_bytes = operations.iter().map(|operations| operation::room_of_all(operations)).sum();
            let growths: Vec<_> = records.iter().zip(&operations).map(|(it, does)| self.growth_of(it, does)).collect();
            self.shared.pending.append_grown(first, operations.into_iter().zip(growths));
            self.shared.ledger.take(self.shared.id, room_bytes);
            self.told.used = self.told.used.saturating_add(room_bytes);
            self.step(Event::Journaled(ticket), further);
        }
    }

    /// What a record does. One that a client of this node asked for was made here, or looked at when it came.
    fn operations_of(&mut self, record: &Record) -> Result<Operations, InvalidOperations> {
        match &record.body {
            Body::Write(payload) if self.made.take(payload) => Ok(operation::decode_again(payload)?.into()),
            _ => operation::of_record(record),
        }
    }

    /// Does something to the log; while the disk has no room for it this replica stands still, as if its process was stopped, and
    /// the others go on without it.
    fn patiently<T>(&mut self, attempt: impl Fn(&mut ReplicaLog) -> Result<T, LogError>) -> Result<T, LogError> {
        let mut is_told = false;
        let mut start = self.log.start();
        loop {
            match attempt(&mut self.log) {
                Err(error) if error.is_full() && self.bounds.waits_for_room => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(volume = %self.shared.id, %error, "a replica's log waits for room on the disk");
                    }
                    // Whoever lacks what is given up gets content.
                    let kept_from = self.held_from(self.floor);
                    let trimmed = self.log.trim(kept_from.next(), false)?;
                    if std::mem::replace(&mut start, trimmed) != trimmed {
                        self.shared.inbox.tell(Event::JournalStarts(trimmed));
                    }
                    // They would hold room that the peers' other volumes need.
                    self.shared.inbox.drop_messages();
                    if self.shared.ending.wait(ROOM_PAUSE) {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }

    /// Tells the protocol what the store can take: when much of it has been used, and with every heartbeat.
    fn tell_credit(&mut self, actions: &mut Vec<Action>) {
        let (now, id) = (self.shared.ticks.now(), self.shared.id);
        let epoch = self.replica.configuration().map(|it| it.epoch);
        let since_us = now.since(self.told.at);
        let is_half_used = self.told.used > 0 && 2 * self.told.used >= self.told.promise.bytes;
        let is_used = is_half_used && since_us >= CREDIT_US_MIN;
        if epoch.is_none() || (epoch == self.told.epoch && since_us < CREDIT_US && !is_used) {
            return;
        }
        let promise = self.shared.ledger.promise(id);
        let Promise { bytes, is_short } = promise;
        let shortage = match is_short {
            _ if self.shared.applying.is_stuck(self.shared.store_now()) => Shortage::Stuck,
            true => Shortage::Full,
            false => Shortage::None,
        };
        self.told = Told { at: now, promise, used: 0, epoch };
        self.step(Event::Credit(Credit { at: self.log.end(), bytes, shortage }), actions);
    }

    /// After an error of the log the replica is silent.
    fn or_fail<T>(&mut self, done: Result<T, LogError>, further: &mut Vec<Action>) -> Option<T> {
        let failed = |error: &LogError| {
            tracing::error!(volume = %self.shared.id, error = error as &dyn std::error::Error, "a replica's log failed");
        };
        let done = done.inspect_err(failed).ok();
        if done.is_none() {
            self.give_up(further);
        }
        done
    }

    fn checkpoint(&mut self, floor: Lsn, further: &mut Vec<Action>) {
        // What the applier has said of content that is being replaced since is of no account.
        if self.is_torn || floor <= self.floor {
            return;
        }
        let noted = self.patiently(|log| log.checkpoint(floor));
        if self.or_fail(noted, further).is_none() {
            return;
        }
        self.floor = floor;
        self.shared.applying.note_floor(floor);
        self.step(Event::Floor(floor), further);
        let looked = self.log.keep_spare().and_then(|()| self.log.free_bytes());
        let Some(free_bytes) = self.or_fail(looked, further) else { return };
        let kept_bytes = self.bounds.kept_bytes.min(free_bytes / KEPT_PARTS);
        if self.log.bytes() <= kept_bytes {
            return;
        }
        let kept = Lsn(self.log.end().0.saturating_sub(kept_bytes / self.bytes_each()));
        let wanted = self.held_from(kept);
        let recycles = kept_bytes == self.bounds.kept_bytes;
        let trimmed = self.log.trim(wanted.min(floor).next(), recycles);
        if let Some(start) = self.or_fail(trimmed, further) {
            self.step(Event::JournalStarts(start), further);
        }
    }

    /// From where on the log is kept that needs no more than what is behind `lsn`.
    fn held_from(&self, lsn: Lsn) -> Lsn {
        self.holds.values().copied().min().map_or(lsn, |held| held.min(lsn))
    }

    /// What a record takes on average.
    fn bytes_each(&self) -> u64 {
        let (start, end) = (self.log.start(), self.log.end());
        (self.log.bytes() / (end.0 + 1).saturating_sub(start.0).max(1)).max(1)
    }

    fn behind(&self) -> Vec<(NodeId, u64)> {
        let bytes_each = self.bytes_each();
        self.replica.behind().into_iter().map(|(node, records)| (node, records.saturating_mul(bytes_each))).collect()
    }

    /// Has all members sync what fills the memory.
    fn ask_for_sync(&mut self) {
        let end = self.replica.end().lsn;
        if self.shared.pending.is_filling() && self.replica.flushable() >= self.asked_sync {
            self.asked_sync = end;
            self.shared.inbox.tell(Event::NeedSync);
        }
    }
}
