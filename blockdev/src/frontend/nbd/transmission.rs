//! The transmission phase of one connection, on one thread.
//!
//! The thread goes round: receive what has come, take requests off it, apply or start all writes at once, sync once for all
//! that asked for it, collect some finished reads, send all replies. It sleeps in one place a round: in the receive if nothing is
//! in flight, else where the reads or the peer wake it.
//!
//! Invariants: replies in flight and unsent are bounded by [`Limits`], so a peer that does not read is not read from
//! either; a FLUSH is answered after every write received before it was applied; a write's reply leaves after
//! [`Export::write`] returned, or what was started has ended; the payload of a refused write is thrown away and the connection goes on.

mod changes;
mod in_flight;
mod request;
mod status;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lsm_store::clock::Clock;
use lsm_store::read::ReadData;
use lsm_store::request::Zeroing;

use super::Limits;
use super::channel::Channel;
use super::connection::Ended;
use super::counters::{Counters, Finished, Kind};
use super::inbox::Inbox;
use super::outbox::{Outbox, ReadStyle};
use super::socket::{Patience, Received, Socket};
use super::wire::transmission::Request;
use super::wire::{Command, CommandFlags, Cookie, Errno};
use crate::export::{Change, Export, Write};
use changes::{CHANGE_BYTES_MAX, Changes, Started};
use in_flight::InFlight;
use request::{Operation, Terms, check, errno};
pub(super) use status::Reporter;
use writes::{Upload, WriteQueue};

#[cfg(test)]
mod tests;

/// Larger writes are applied in pieces as they come; smaller ones are waited for.
const WHOLE_WRITE_BYTES_MAX: usize = 128 << 10;

/// Finished reads are collected up to so many bytes before they are sent, and up to [`WAITED_READS_MAX`] that waited.
const SEND_BYTES_MIN: usize = 128 << 10;

/// So many reads that had to wait are answered before the peer is sent to again. It asks for more only when it has answers,
/// so a thread that collects until the device is idle has nothing for it to do meanwhile.
const WAITED_READS_MAX: usize = 4;

/// What a request is owed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Answer {
    cookie: Cookie,
    kind: Kind,
    offset: u64,
    len: u32,
    /// The change has to be durable first.
    fua: bool,
    received_at: Duration,
}

/// A request that waits for a sync.
#[derive(Clone, Copy, Debug)]
struct Unsynced {
    answer: Answer,
    /// The sync begins when all changes with lower tokens are done.
    before: u64,
}

/// Why a request failed, and where if that is known better than its offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Failure {
    error: Errno,
    offset: Option<u64>,
}

impl Failure {
    fn of(error: &lsm_store::Error, kind: Kind) -> Self {
        tracing::debug!(?kind, error = error as &dyn std::error::Error, "an NBD request failed");
        Self { error: errno(error, kind), offset: None }
    }
}

/// What a connection works with, shared by its phases.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) socket: &'a Socket,
    pub(super) limits: &'a Limits,
    pub(super) clock: &'a dyn Clock,
    pub(super) counters: &'a Counters,
    /// Set once the server is stopping.
    pub(super) stopping: &'a AtomicBool,
}

pub(super) struct Transmission<'a> {
    around: Surroundings<'a>,
    channel: Channel<'a>,
    export: Arc<dyn Export>,
    /// What BLOCK_STATUS tells.
    reporters: Vec<Reporter>,
    terms: Terms,
    inbox: Inbox,
    outbox: Outbox,
    in_flight: InFlight,
    writes: WriteQueue,
    changes: Changes,
    /// A large write, or the payload of a refused one, that is still coming.
    upload: Option<Upload>,
    awaiting_sync: Vec<Unsynced>,
    finished: Vec<Finished>,
    /// Pending bytes without which nothing more can be taken.
    wanted_bytes: usize,
    /// A request that waits in the inbox until there is room for so many bytes of reply.
    held_back: Option<usize>,
    /// The peer sends no more, or nothing more is wanted of it.
    input_over: bool,
    received_at: Duration,
    /// Since when the peer has taken nothing of what waits in the outbox.
    blocked_since: Option<Duration>,
}

impl<'a> Transmission<'a> {
    /// `inbox` may already hold requests that came with the end of the handshake.
    pub(super) fn new(
        around: Surroundings<'a>,
        channel: Channel<'a>,
        export: Arc<dyn Export>,
        structured: bool,
        reporters: Vec<Reporter>,
        inbox: Inbox,
    ) -> Self {
        let terms = Terms {
            size_bytes: export.size_bytes(),
            read_only: export.is_read_only(),
            structured,
            contexts: !reporters.is_empty(),
        };
        Self {
            around,
            channel,
            export,
            reporters,
            terms,
            inbox,
            outbox: Outbox::default(),
            in_flight: InFlight::default(),
            writes: WriteQueue::default(),
            changes: Changes::default(),
            upload: None,
            awaiting_sync: Vec::new(),
            finished: Vec::new(),
            wanted_bytes: Request::BYTES,
            held_back: None,
            input_over: false,
            received_at: around.clock.monotonic(),
            blocked_since: None,
        }
    }

    /// Serves until the peer leaves or the server stops. What was received by then has been carried out and, if the
    /// peer takes it, answered.
    pub(super) fn run(&mut self) -> Result<(), Ended> {
        loop {
            self.take_requests()?;
            self.apply_writes()?;
            self.finish_changes();
            self.sync()?;
            self.finish_reads();
            self.send(Patience::Wait)?;
            if self.input_over && self.load() == 0 && self.held_back.is_none() {
                self.channel.close();
                return Ok(());
            }
            self.receive()?;
        }
    }

    /// Requests taken and not yet answered, or answered and perhaps not yet sent.
    fn load(&self) -> usize {
        let changes = self.writes.len() + self.changes.requests();
        self.in_flight.reads() + changes + self.awaiting_sync.len() + self.outbox.replies()
    }

    /// True if a request with so many bytes of reply may be taken. One may always be, so that limits never stop a connection.
    fn has_room(&self, reply_bytes: usize) -> bool {
        if self.changes.bytes() >= CHANGE_BYTES_MAX {
            return false;
        }
        let queued_bytes = self.in_flight.read_bytes() + self.outbox.unsent_bytes();
        let load = self.load();
        let limits = self.around.limits;
        load == 0 || (load < limits.requests_max && queued_bytes + reply_bytes <= limits.queued_bytes_max)
    }

    fn receive(&mut self) -> Result<(), Ended> {
        self.input_over |= self.around.stopping.load(Ordering::Relaxed);
        if self.held_back.is_some_and(|bytes| self.has_room(bytes)) {
            return Ok(());
        }
        let wants_input = !self.input_over && self.held_back.is_none();
        if !self.outbox.is_empty() {
            if self.wait_for_peer(wants_input)? {
                self.receive_input(Patience::None)?;
            }
        } else if !self.in_flight.is_empty() {
            if self.wait_for_export(wants_input)? {
                self.receive_input(Patience::None)?;
            }
        } else if wants_input {
            self.receive_input(Patience::Wait)?;
        }
        Ok(())
    }

    fn receive_input(&mut self, patience: Patience) -> Result<(), Ended> {
        let channel = &mut self.channel;
        match self.inbox.receive(self.wanted_bytes, |buffer| channel.receive(buffer, patience))? {
            Received::Bytes(_) => {
                self.received_at = self.around.clock.monotonic();
                self.terms.size_bytes = self.export.size_bytes();
                self.terms.read_only = self.export.is_read_only();
            }
            Received::End => self.input_over = true,
            Received::Nothing if patience == Patience::Wait => self.sleep_idle()?,
            Received::Nothing => {}
        }
        Ok(())
    }

    /// Waits for as long as the peer likes, with next to no memory.
    fn sleep_idle(&mut self) -> Result<(), Ended> {
        self.inbox.shrink();
        self.outbox.shrink();
        self.in_flight.shrink();
        self.channel.shrink();
        self.channel.wait(true, false, None)?;
        Ok(())
    }

    /// Waits until the export is done with something; true if there is input by then.
    fn wait_for_export(&mut self, wants_input: bool) -> Result<bool, Ended> {
        let holds_input = wants_input && self.channel.holds_input();
        let timeout = holds_input.then_some(Duration::ZERO);
        let socket = wants_input.then_some(self.channel.socket());
        Ok(self.in_flight.wait(socket, timeout)? || holds_input)
    }

    /// Waits until the peer takes replies again; true if there is input meanwhile.
    fn wait_for_peer(&mut self, wants_input: bool) -> Result<bool, Ended> {
        self.in_flight.push_on()?;
        let now = self.around.clock.monotonic();
        let blocked = now.saturating_sub(self.blocked_since.unwrap_or(now));
        let left = self.around.limits.slow_reader_timeout.checked_sub(blocked).filter(|left| !left.is_zero());
        let ready = self.channel.wait(wants_input, true, Some(left.ok_or(Ended::SlowReader)?))?;
        Ok(ready.readable && wants_input)
    }

    fn take_requests(&mut self) -> Result<(), Ended> {
        self.held_back = None;
        loop {
            if self.changes.bytes() >= CHANGE_BYTES_MAX {
                self.held_back = Some(0);
                return Ok(());
            }
            if self.upload.is_some() {
                if self.take_upload() {
                    continue;
                }
                return Ok(());
            }
            let Some(request) = Request::decode(self.inbox.pending())? else {
                self.wanted_bytes = Request::BYTES;
                return Ok(());
            };
            if !self.take_request(&request)? {
                return Ok(());
            }
        }
    }

    /// Takes the request at the front of the inbox; false if it has to wait for room or for its payload.
    fn take_request(&mut self, request: &Request) -> Result<bool, Ended> {
        let operation = check(request, &self.terms);
        let reply_bytes = match operation {
            Ok(Operation::Read { .. }) => request.len as usize,
            _ => 0,
        };
        if !self.has_room(reply_bytes) {
            self.held_back = Some(reply_bytes);
            return Ok(false);
        }
        match operation {
            Ok(Operation::Write) => return Ok(self.take_write(request)),
            Ok(operation) => {
                self.inbox.consume(Request::BYTES);
                self.carry_out(operation, request)?;
            }
            Err(error) => self.refuse(request, error),
        }
        Ok(true)
    }

    fn answer_for(&self, request: &Request, kind: Kind) -> Answer {
        let fua = request.flags.contains(CommandFlags::FUA) && matches!(kind, Kind::Write | Kind::Zero | Kind::Trim);
        let Request { cookie, offset, len, .. } = *request;
        Answer { cookie, kind, offset, len, fua, received_at: self.received_at }
    }

    fn carry_out(&mut self, operation: Operation, request: &Request) -> Result<(), Ended> {
        match operation {
            Operation::Read { one_chunk } => self.start_read(request, one_chunk),
            Operation::Write => unreachable!("writes have a payload and are taken elsewhere"),
            Operation::Flush => {
                // After all that has been received, of which some is still to be started.
                let (answer, before) = (self.answer_for(request, Kind::Flush), u64::MAX);
                self.awaiting_sync.push(Unsynced { answer, before });
            }
            Operation::Zero(zeroing, kind) => self.zero(request, zeroing, kind)?,
            Operation::Prefetch => {
                let result = match request.len {
                    0 => Ok(()),
                    len => self.export.prefetch(request.offset, u64::from(len)),
                };
                self.settle(self.answer_for(request, Kind::Cache), result);
            }
            Operation::Status { one_extent } => self.tell_status(request, one_extent),
            Operation::Disconnect => {
                self.inbox.consume(self.inbox.pending().len());
                self.input_over = true;
            }
        }
        Ok(())
    }

    fn refuse(&mut self, request: &Request, error: Errno) {
        self.inbox.consume(Request::BYTES);
        self.around.counters.record_refused();
        if request.command == Command::WRITE && request.len > 0 {
            self.upload = Some(Upload::refused(self.answer_for(request, Kind::Write), Failure { error, offset: None }));
        } else {
            self.outbox.push_error(request.cookie, error, None, self.terms.structured);
        }
    }

    fn take_write(&mut self, request: &Request) -> bool {
        let len = request.len as usize;
        let answer = self.answer_for(request, Kind::Write);
        if len > WHOLE_WRITE_BYTES_MAX {
            self.inbox.consume(Request::BYTES);
            self.upload = Some(Upload::new(answer));
            return true;
        }
        let whole = Request::BYTES + len;
        if self.inbox.pending().len() < whole {
            self.wanted_bytes = whole;
            return false;
        }
        self.inbox.consume(Request::BYTES);
        let payload = self.inbox.consume(len);
        self.writes.push_whole(payload, answer);
        true
    }

    /// Takes what has come of an upload; false if more has to come first.
    fn take_upload(&mut self) -> bool {
        let upload = self.upload.as_mut().expect("there is an upload to go on with");
        let pending = self.inbox.pending().len();
        let failure = upload.request.and_then(|request| self.writes.failure(request));
        if upload.refusal.is_some() || failure.is_some() {
            self.inbox.consume(upload.discard(pending));
            self.wanted_bytes = 1;
            if !upload.is_complete() {
                return false;
            }
            let Upload { answer, request, refusal, .. } = *upload;
            self.upload = None;
            match request {
                Some(request) => self.writes.complete(request, answer),
                None => self.reply(answer, refusal.map_or(Ok(()), Err)),
            }
            return true;
        }
        let Some((len, offset)) = upload.take_piece(pending) else {
            self.wanted_bytes = upload.wanted_bytes();
            return false;
        };
        let request = *upload.request.get_or_insert_with(|| self.writes.begin());
        let (answer, is_complete) = (upload.answer, upload.is_complete());
        self.writes.push_piece(self.inbox.consume(len), offset, request);
        if is_complete {
            self.upload = None;
            self.writes.complete(request, answer);
        }
        true
    }

    /// Applies everything that was received together, or starts it.
    fn apply_writes(&mut self) -> Result<(), Ended> {
        if self.export.starts_changes() {
            let (in_flight, export, token) = (&mut self.in_flight, &*self.export, self.changes.next_token());
            let start = |writes: &[Write<'_>]| in_flight.start_change(export, token, Change::Write(writes));
            if let Some((parts, bytes)) = self.writes.start(&self.inbox, start)? {
                self.changes.start(Started::Writes { parts, bytes });
            }
        }
        self.writes.apply(&*self.export, &self.inbox);
        self.settle_writes();
        Ok(())
    }

    fn settle_writes(&mut self) {
        let mut settled = self.writes.take_settled();
        for (answer, result) in settled.drain(..) {
            self.settle_change(answer, result);
        }
        self.writes.recycle(settled);
    }

    fn zero(&mut self, request: &Request, zeroing: Zeroing, kind: Kind) -> Result<(), Ended> {
        // Writes that came before it are applied before it, as a reader of the stream would expect.
        self.apply_writes()?;
        let (answer, len) = (self.answer_for(request, kind), u64::from(request.len));
        if len == 0 {
            self.settle_change(answer, Ok(()));
            return Ok(());
        }
        if self.start(Change::Zero(request.offset, len, zeroing))? {
            self.changes.start(Started::Zero(answer));
            return Ok(());
        }
        let result = self.export.zero(request.offset, len, zeroing);
        self.settle_change(answer, result.map_err(|error| Failure::of(&error, kind)));
        Ok(())
    }

    /// Starts a change with the next token, if the export does so.
    fn start(&mut self, change: Change<'_>) -> Result<bool, Ended> {
        if !self.export.starts_changes() {
            return Ok(false);
        }
        Ok(self.in_flight.start_change(&*self.export, self.changes.next_token(), change)?)
    }

    /// Takes what the export has done of what it had begun.
    fn finish_changes(&mut self) {
        while let Some((token, result)) = self.in_flight.next_change() {
            match self.changes.finish(token) {
                Started::Writes { parts, .. } => {
                    parts.into_iter().for_each(|part| self.writes.finish(part, &result));
                }
                Started::Zero(answer) => {
                    self.settle_change(answer, result.map_err(|error| Failure::of(&error, answer.kind)));
                }
                Started::Sync(answers) => {
                    answers.into_iter().for_each(|answer| self.settle(answer, result.clone()));
                }
            }
        }
        self.settle_writes();
    }

    /// Answers a change, or has it wait for the sync that it asked for.
    fn settle_change(&mut self, answer: Answer, result: Result<(), Failure>) {
        if result.is_ok() && answer.fua {
            self.awaiting_sync.push(Unsynced { answer, before: 0 });
        } else {
            self.reply(answer, result);
        }
    }

    fn settle(&mut self, answer: Answer, result: lsm_store::Result<()>) {
        self.reply(answer, result.map_err(|error| Failure::of(&error, answer.kind)));
    }

    /// One sync for every FLUSH and FUA of this round.
    fn sync(&mut self) -> Result<(), Ended> {
        if self.awaiting_sync.is_empty() {
            return Ok(());
        }
        if self.export.starts_changes() {
            return self.start_sync();
        }
        // Nobody else's reply or device read waits for the disk.
        self.in_flight.push_on()?;
        self.send(Patience::None)?;
        let result = self.export.flush();
        let mut waiting = std::mem::take(&mut self.awaiting_sync);
        for unsynced in waiting.drain(..) {
            self.settle(unsynced.answer, result.clone());
        }
        self.awaiting_sync = waiting;
        Ok(())
    }

    /// Starts a sync for those whose changes are done.
    fn start_sync(&mut self) -> Result<(), Ended> {
        let next = self.changes.next_token();
        self.awaiting_sync.iter_mut().for_each(|unsynced| unsynced.before = unsynced.before.min(next));
        let is_due = |unsynced: &mut Unsynced| self.changes.is_done_before(unsynced.before);
        let due: Vec<_> = self.awaiting_sync.extract_if(.., is_due).map(|unsynced| unsynced.answer).collect();
        if due.is_empty() {
            return Ok(());
        }
        if self.start(Change::Flush)? {
            self.changes.start(Started::Sync(due));
        } else {
            let result = self.export.flush();
            due.into_iter().for_each(|answer| self.settle(answer, result.clone()));
        }
        Ok(())
    }

    fn start_read(&mut self, request: &Request, one_chunk: bool) {
        let answer = self.answer_for(request, Kind::Read);
        if request.len == 0 {
            self.reply_read(answer, one_chunk, &ReadData::default());
        } else if let Err(error) = self.in_flight.start_read(&*self.export, answer, one_chunk) {
            self.settle(answer, Err(error));
        }
    }

    /// What is long, or has waited, leaves soon: while the peer takes it and asks for more, the device works on the others.
    fn finish_reads(&mut self) {
        let mut waited = 0;
        while self.outbox.unsent_bytes() < SEND_BYTES_MIN
            && waited < WAITED_READS_MAX
            && let Some(read) = self.in_flight.next_read()
        {
            waited += usize::from(read.waited);
            match read.result {
                Ok(data) => self.reply_read(read.answer, read.one_chunk, &data),
                Err(error) => self.settle(read.answer, Err(error)),
            }
        }
    }

    fn reply_read(&mut self, answer: Answer, one_chunk: bool, data: &ReadData) {
        let style = match (self.terms.structured, one_chunk) {
            (false, _) => ReadStyle::Simple,
            (true, false) => ReadStyle::Chunks,
            (true, true) => ReadStyle::OneChunk,
        };
        self.outbox.push_read(answer.cookie, answer.offset, data, style);
        self.note_finished(answer, false);
    }

    fn tell_status(&mut self, request: &Request, one_extent: bool) {
        let answer = self.answer_for(request, Kind::Status);
        let extents_max = if one_extent { 1 } else { self.around.limits.status_extents_max };
        let mut payloads = Vec::with_capacity(self.reporters.len());
        for reporter in &self.reporters {
            match reporter.payload(&*self.export, answer.offset, answer.len, extents_max) {
                Ok(Some(payload)) => payloads.push(payload),
                Ok(None) => return self.reply(answer, Err(Failure { error: Errno::IO, offset: None })),
                Err(error) => return self.settle(answer, Err(error)),
            }
        }
        let last = payloads.len() - 1;
        for (index, payload) in payloads.iter().enumerate() {
            self.outbox.push_status(answer.cookie, payload, index == last);
        }
        self.note_finished(answer, false);
    }

    fn reply(&mut self, answer: Answer, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.outbox.push_done(answer.cookie),
            Err(Failure { error, offset }) => {
                self.outbox.push_error(answer.cookie, error, offset, self.terms.structured);
            }
        }
        self.note_finished(answer, result.is_err());
    }

    fn note_finished(&mut self, answer: Answer, failed: bool) {
        let Answer { kind, len, received_at, .. } = answer;
        self.finished.push(Finished { kind, bytes: u64::from(len), failed, received_at });
    }

    /// Counts what was answered and sends it, waiting a little for a peer that has been keeping up.
    fn send(&mut self, patience: Patience) -> Result<(), Ended> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        let now = self.around.clock.monotonic();
        self.finished.drain(..).for_each(|finished| self.around.counters.record(&finished, now));
        let patience = if self.blocked_since.is_some() { Patience::None } else { patience };
        let sent = self.outbox.send(&mut self.channel, patience)?;
        if self.outbox.is_empty() {
            self.blocked_since = None;
        } else if sent > 0 || self.blocked_since.is_none() {
            self.blocked_since = Some(self.around.clock.monotonic());
        }
        Ok(())
    }
}
