//! The transmission phase of one connection, on one thread.
//!
//! The thread goes round: receive what has come, take requests off it, apply all writes at once, sync once for all that
//! asked for it, collect finished reads, send all replies. It sleeps in one place a round: in the receive if nothing is
//! in flight, else where the reads or the peer wake it.
//!
//! Invariants: replies in flight and unsent are bounded by [`Limits`], so a peer that does not read is not read from
//! either; a FLUSH is answered after every write received before it was applied; a write's reply leaves after
//! [`Export::write`] returned; the payload of a refused write is thrown away and the connection goes on.

mod reads;
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
use crate::export::Export;
use reads::ReadTable;
use request::{Operation, Terms, check, errno};
pub(super) use status::Reporter;
use writes::{Upload, WriteQueue};

#[cfg(test)]
mod tests;

/// Larger writes are applied in pieces as they come; smaller ones are waited for.
const WHOLE_WRITE_BYTES_MAX: usize = 128 << 10;

/// Finished reads are collected up to so many bytes before they are sent.
const SEND_BYTES_MIN: usize = 128 << 10;

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
    reads: ReadTable,
    writes: WriteQueue,
    /// A large write, or the payload of a refused one, that is still coming.
    upload: Option<Upload>,
    awaiting_sync: Vec<Answer>,
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
            reads: ReadTable::default(),
            writes: WriteQueue::default(),
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
            self.apply_writes();
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
        self.reads.in_flight() + self.writes.len() + self.awaiting_sync.len() + self.outbox.replies()
    }

    /// True if a request with so many bytes of reply may be taken. One may always be, so that limits never stop a connection.
    fn has_room(&self, reply_bytes: usize) -> bool {
        let queued_bytes = self.reads.bytes_in_flight() + self.outbox.unsent_bytes();
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
        } else if self.reads.in_flight() > 0 {
            if self.wait_for_reads(wants_input)? {
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
        self.reads.shrink();
        self.channel.shrink();
        self.channel.wait(true, false, None)?;
        Ok(())
    }

    /// Waits until a read is done; true if there is input by then.
    fn wait_for_reads(&mut self, wants_input: bool) -> Result<bool, Ended> {
        let holds_input = wants_input && self.channel.holds_input();
        let timeout = holds_input.then_some(Duration::ZERO);
        let socket = wants_input.then_some(self.channel.socket());
        Ok(self.reads.wait(socket, timeout)? || holds_input)
    }

    /// Waits until the peer takes replies again; true if there is input meanwhile.
    fn wait_for_peer(&mut self, wants_input: bool) -> Result<bool, Ended> {
        self.reads.push_on()?;
        let now = self.around.clock.monotonic();
        let blocked = now.saturating_sub(self.blocked_since.unwrap_or(now));
        let left = self.around.limits.slow_reader_timeout.checked_sub(blocked).filter(|left| !left.is_zero());
        let ready = self.channel.wait(wants_input, true, Some(left.ok_or(Ended::SlowReader)?))?;
        Ok(ready.readable && wants_input)
    }

    fn take_requests(&mut self) -> Result<(), Ended> {
        self.held_back = None;
        loop {
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
            if !self.take_request(&request) {
                return Ok(());
            }
        }
    }

    /// Takes the request at the front of the inbox; false if it has to wait for room or for its payload.
    fn take_request(&mut self, request: &Request) -> bool {
        let operation = check(request, &self.terms);
        let reply_bytes = match operation {
            Ok(Operation::Read { .. }) => request.len as usize,
            _ => 0,
        };
        if !self.has_room(reply_bytes) {
            self.held_back = Some(reply_bytes);
            return false;
        }
        match operation {
            Ok(Operation::Write) => return self.take_write(request),
            Ok(operation) => {
                self.inbox.consume(Request::BYTES);
                self.carry_out(operation, request);
            }
            Err(error) => self.refuse(request, error),
        }
        true
    }

    fn answer_for(&self, request: &Request, kind: Kind) -> Answer {
        let fua = request.flags.contains(CommandFlags::FUA) && matches!(kind, Kind::Write | Kind::Zero | Kind::Trim);
        let Request { cookie, offset, len, .. } = *request;
        Answer { cookie, kind, offset, len, fua, received_at: self.received_at }
    }

    fn carry_out(&mut self, operation: Operation, request: &Request) {
        match operation {
            Operation::Read { one_chunk } => self.start_read(request, one_chunk),
            Operation::Write => unreachable!("writes have a payload and are taken elsewhere"),
            Operation::Flush => self.awaiting_sync.push(self.answer_for(request, Kind::Flush)),
            Operation::Zero(zeroing, kind) => self.zero(request, zeroing, kind),
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
        if let Some(failure) = upload.refusal.or(self.writes.part_failure()) {
            self.inbox.consume(upload.discard(pending));
            self.wanted_bytes = 1;
            if upload.is_complete() {
                let answer = upload.answer;
                self.upload = None;
                self.writes.forget_part_failure();
                self.reply(answer, Err(failure));
                return true;
            }
            return false;
        }
        let Some((len, offset)) = upload.take_piece(pending) else {
            self.wanted_bytes = upload.wanted_bytes();
            return false;
        };
        let answer = upload.is_complete().then_some(upload.answer);
        self.writes.push_part(self.inbox.consume(len), offset, answer);
        if answer.is_some() {
            self.upload = None;
        }
        true
    }

    fn apply_writes(&mut self) {
        let mut settled = self.writes.apply(&*self.export, &self.inbox);
        for (answer, result) in settled.drain(..) {
            self.settle_change(answer, result);
        }
        self.writes.recycle(settled);
    }

    fn zero(&mut self, request: &Request, zeroing: Zeroing, kind: Kind) {
        // Writes that came before it are applied before it, as a reader of the stream would expect.
        self.apply_writes();
        let result = match request.len {
            0 => Ok(()),
            len => self.export.zero(request.offset, u64::from(len), zeroing),
        };
        self.settle_change(self.answer_for(request, kind), result.map_err(|error| Failure::of(&error, kind)));
    }

    /// Answers a change, or has it wait for the sync that it asked for.
    fn settle_change(&mut self, answer: Answer, result: Result<(), Failure>) {
        if result.is_ok() && answer.fua {
            self.awaiting_sync.push(answer);
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
        // Nobody else's reply or device read waits for the disk.
        self.reads.push_on()?;
        self.send(Patience::None)?;
        let result = self.export.flush();
        let mut waiting = std::mem::take(&mut self.awaiting_sync);
        for answer in waiting.drain(..) {
            self.settle(answer, result.clone());
        }
        self.awaiting_sync = waiting;
        Ok(())
    }

    fn start_read(&mut self, request: &Request, one_chunk: bool) {
        let answer = self.answer_for(request, Kind::Read);
        if request.len == 0 {
            self.reply_read(answer, one_chunk, &ReadData::default());
        } else if let Err(error) = self.reads.start(&*self.export, answer, one_chunk) {
            self.settle(answer, Err(error));
        }
    }

    /// Long answers leave at once: while the peer takes one and asks for more, the device works on the others.
    fn finish_reads(&mut self) {
        while self.outbox.unsent_bytes() < SEND_BYTES_MIN
            && let Some((answer, one_chunk, result)) = self.reads.next_finished()
        {
            match result {
                Ok(data) => self.reply_read(answer, one_chunk, &data),
                Err(error) => self.settle(answer, Err(error)),
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
