//! Requests of a replicated volume on behalf of one client's thread. Reads: from this node's replica while it serves the volume,
//! else from the node that does; changes: see [`Orders`].
//!
//! Every read is begun again until somebody may answer for it; its client sees a pause. What the replica's store gives counts
//! only if the store had not overtaken what the read knows to lie over it when the read was planned, which settles what it
//! gives, and if the replica still serves the volume afterwards.

use std::collections::{HashMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lsm_store::device::Wake;
use lsm_store::id::{BLOCK_BYTES, BLOCK_SHIFT, BlockIndex};
use lsm_store::read::{Piece, ReadData};
use lsm_store::store::VolumeReads;
use lsm_store::{Error, ErrorKind};
use net::envelope::Message;
use net::forward::{Asked, BYTES_MAX, Question, encode_question};
use net::transport::{RequestError, Transport};
use rustix::event::{PollFd, PollFlags, poll};

use super::asking::{Session, Target};
use super::export::{check_range, records};
use super::mail::{Both, Letter, Mail};
use super::orders::{Orders, Work};
use crate::export::{Change, Requests};
use crate::replica::LocalReplica;
use crate::replica::operation::{Draft, Operation, Packer};
use crate::replica::pending::Overlay;

/// How long another node may take for a read before it is asked for again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two attempts at a read that nobody could answer.
const RETRY: Duration = Duration::from_millis(5);

/// How a read is being made.
enum Way {
    /// By the replica here, and this is to be laid over.
    Here(Overlay),
    /// By the primary: its pieces by offset, as far as they have come.
    There(Vec<Option<Bytes>>),
    /// It waits to be begun again.
    Nowhere,
}

struct Read {
    offset: u64,
    len: usize,
    way: Way,
    /// Which attempt this is, of all that were made: answers to an earlier one are none to this.
    attempt: u64,
    /// Damage was met and repaired.
    is_mended: bool,
}

/// Requests under way.
pub(super) struct ClusterRequests {
    session: Arc<Session>,
    mail: Arc<Mail>,
    orders: Orders,
    packer: Packer,
    /// Made for the first wait for the replica's reads and for mail.
    both: Option<Both>,
    here: Option<(Arc<LocalReplica>, VolumeReads)>,
    reads: HashMap<u64, Read>,
    /// The reads by their attempts under way.
    attempts: HashMap<u64, u64>,
    last_attempt: u64,
    finished: VecDeque<(u64, Result<ReadData, Error>)>,
}

impl ClusterRequests {
    pub(super) fn new(session: Arc<Session>) -> Result<Self, Error> {
        let mail = Mail::new()?;
        let orders = Orders::new(Arc::clone(&session), Arc::clone(&mail));
        Ok(Self {
            session,
            mail,
            orders,
            packer: Packer::default(),
            both: None,
            here: None,
            reads: HashMap::new(),
            attempts: HashMap::new(),
            last_attempt: 0,
            finished: VecDeque::new(),
        })
    }

    /// Begins a read, or begins it again.
    fn begin(&mut self, token: u64) {
        self.give_up(token);
        let Some(&Read { offset, len, .. }) = self.reads.get(&token) else { return };
        self.last_attempt += 1;
        let attempt = self.last_attempt;
        let way = match self.session.target() {
            Some(Target::Here(replica)) => self.begin_here(&replica, attempt, offset, len),
            Some(Target::There(link)) => {
                for (index, at) in (0..len).step_by(BYTES_MAX).enumerate() {
                    let (mail, len) = (Arc::clone(&self.mail), (len - at).min(BYTES_MAX) as u32);
                    let asked = Asked::Read { snapshot: None, offset: offset + at as u64, len };
                    let question = encode_question(&Question { volume: self.session.volume, asked });
                    let answered = Box::new(move |answer| mail.put(Letter::ReadAnswered(attempt, index, answer)));
                    self.session.core.transport().request(link, question, PATIENCE, answered);
                }
                Way::There(vec![None; len.div_ceil(BYTES_MAX)])
            }
            None => Way::Nowhere,
        };
        if let Some(read) = self.reads.get_mut(&token) {
            if !matches!(way, Way::Nowhere) {
                self.attempts.insert(attempt, token);
            }
            (read.way, read.attempt) = (way, attempt);
        }
    }

    /// Wants no answer to a read's last attempt; it waits to be begun again.
    fn give_up(&mut self, token: u64) {
        if let Some(read) = self.reads.get_mut(&token) {
            self.attempts.remove(&read.attempt);
            read.way = Way::Nowhere;
        }
    }

    fn begin_here(&mut self, replica: &Arc<LocalReplica>, attempt: u64, offset: u64, len: usize) -> Way {
        let is_same = self.here.as_ref().is_some_and(|(before, _)| Arc::ptr_eq(before, replica));
        if !is_same && !self.turn_to(replica) {
            return Way::Nowhere;
        }
        let overlay = replica.begin_read(offset, len as u64).filter(|overlay| overlay.barrier.is_none());
        let Some(overlay) = overlay else { return Way::Nowhere };
        if let Some((_, reads)) = &mut self.here {
            reads.start(attempt, offset, len);
        }
        // What the read gives is settled now, whatever the store gets until it is taken.
        if replica.is_outdated(&overlay) { Way::Nowhere } else { Way::Here(overlay) }
    }

    /// Reads from another replica from now on. What was under way with the one before is begun again.
    fn turn_to(&mut self, replica: &Arc<LocalReplica>) -> bool {
        let Ok(reads) = replica.shared().volume.reads() else { return false };
        self.here = Some((Arc::clone(replica), reads));
        let by_others = self.reads.iter().filter(|(_, read)| matches!(read.way, Way::Here(_)));
        let tokens: Vec<u64> = by_others.map(|(token, _)| *token).collect();
        tokens.into_iter().for_each(|token| self.give_up(token));
        true
    }

    /// Takes what the replica's store has finished, until there is something to answer.
    fn take_here(&mut self) {
        while self.finished.is_empty()
            && let Some((replica, reads)) = &mut self.here
            && let Some((attempt, data)) = reads.next_finished()
        {
            let Some(token) = self.attempts.get(&attempt).copied() else { continue };
            let Some(Read { offset, way: Way::Here(overlay), .. }) = self.reads.get(&token) else { continue };
            if !replica.serves() {
                self.begin(token);
                continue;
            }
            match data.map(|data| overlay.lay_over(data, *offset)) {
                Ok(data) => {
                    let served = self.session.note_served(replica.shared().serving.epochs());
                    self.finish(token, served.map(|()| data));
                }
                Err(error) if error.kind() == ErrorKind::Corrupt && self.mend(token) => self.begin(token),
                Err(error) => self.finish(token, Err(error)),
            }
        }
    }

    /// Has other nodes repair what a read has met; once for each read. It takes as long as they do.
    fn mend(&mut self, token: u64) -> bool {
        let (Some((replica, _)), Some(read)) = (&self.here, self.reads.get_mut(&token)) else { return false };
        let blocks = BlockIndex(read.offset >> BLOCK_SHIFT)
            ..BlockIndex((read.offset + read.len as u64).div_ceil(BLOCK_BYTES as u64));
        !std::mem::replace(&mut read.is_mended, true) && self.session.core.mend(replica, blocks)
    }

    /// Takes what has come.
    fn take_mail(&mut self) {
        for letter in self.mail.take() {
            match letter {
                Letter::ReadAnswered(attempt, index, answer) => self.take_piece(attempt, index, answer),
                Letter::Changed(token, attempt) => self.orders.changed(token, attempt),
                Letter::ChangeAnswered(token, attempt, answer) => self.orders.answered(token, attempt, answer),
            }
        }
    }

    /// Takes a piece of a read that another node was asked for.
    fn take_piece(&mut self, attempt: u64, index: usize, answer: Result<Message, RequestError>) {
        let Some(token) = self.attempts.get(&attempt).copied() else { return };
        let Some(Read { way: Way::There(pieces), len, .. }) = self.reads.get_mut(&token) else { return };
        let wanted = (*len - index * BYTES_MAX).min(BYTES_MAX);
        match self.session.read_answer(answer) {
            Some(Ok(bytes)) if bytes.len() == wanted && index < pieces.len() => {
                pieces[index] = Some(bytes);
                if pieces.iter().all(Option::is_some) {
                    let mut data = ReadData::default();
                    pieces.iter_mut().filter_map(Option::take).for_each(|bytes| data.push(Piece::Bytes(bytes)));
                    self.finish(token, Ok(data));
                }
            }
            Some(Err(error)) => self.finish(token, Err(error)),
            _ => self.give_up(token),
        }
    }

    fn finish(&mut self, token: u64, result: Result<ReadData, Error>) {
        self.give_up(token);
        self.reads.remove(&token);
        self.finished.push_back((token, result));
    }

    fn count(&self, is_so: impl Fn(&Way) -> bool) -> usize {
        self.reads.values().filter(|read| is_so(&read.way)).count()
    }

    /// Begins those again that nobody could answer.
    fn retry(&mut self) {
        self.orders.retry();
        let waiting: Vec<u64> =
            self.reads.iter().filter(|(_, read)| matches!(read.way, Way::Nowhere)).map(|(token, _)| *token).collect();
        if waiting.is_empty() {
            return;
        }
        if let Some(error) = self.session.end() {
            waiting.into_iter().for_each(|token| self.finish(token, Err(error.clone())));
            return;
        }
        waiting.into_iter().for_each(|token| self.begin(token));
    }

    /// Waits without the replica's queue, which has nothing under way.
    fn wait_for_mail(&self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<bool, Error> {
        wait_any(Some(self.mail.wake()), socket, timeout)
    }

    /// Waits for reads of the replica, and for mail; true if the socket can be read.
    fn wait_for_all(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<bool, Error> {
        let Some((_, reads)) = &mut self.here else { return self.wait_for_mail(socket, timeout) };
        let Some(socket) = socket else {
            reads.wait(Some(self.mail.wake()), timeout)?;
            return Ok(false);
        };
        let both = match &mut self.both {
            Some(both) if both.is_of(socket) => both,
            other => other.insert(Both::new(socket, &self.mail)?),
        };
        let wake = reads.wait(Some(both.fd()), timeout)?;
        Ok(wake.socket_readable && wait_readable(Some(socket), Some(Duration::ZERO))?)
    }
}

/// Waits until the socket can be read, or for a while; whether it can.
pub(super) fn wait_readable(socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<bool, Error> {
    wait_any(None, socket, timeout)
}

fn wait_any(
    wake: Option<BorrowedFd<'_>>,
    socket: Option<BorrowedFd<'_>>,
    timeout: Option<Duration>,
) -> Result<bool, Error> {
    let mut fds: Vec<_> = socket.iter().chain(&wake).map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout = timeout.map(|timeout| rustix::event::Timespec {
        tv_sec: timeout.as_secs() as i64,
        tv_nsec: timeout.subsec_nanos().into(),
    });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => Ok(socket.is_some() && fds.first().is_some_and(|fd| !fd.revents().is_empty())),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(Error::Io { action: "waiting for", file: "a client".into(), source: Arc::new(error.into()) }),
    }
}

impl Requests for ClusterRequests {
    fn start_read(&mut self, token: u64, offset: u64, len: usize) {
        if let Err(error) = check_range(&self.session, offset, len as u64) {
            self.finished.push_back((token, Err(error)));
            return;
        }
        if len == 0 {
            self.finished.push_back((token, Ok(ReadData::default())));
            return;
        }
        self.reads.insert(token, Read { offset, len, way: Way::Nowhere, attempt: 0, is_mended: false });
        self.begin(token);
    }

    fn next_read(&mut self) -> Option<(u64, Result<ReadData, Error>)> {
        if self.finished.is_empty() {
            self.take_here();
            if !self.mail.is_empty() {
                self.take_mail();
            }
        }
        self.finished.pop_front()
    }

    fn start_change(&mut self, token: u64, change: Change<'_>) -> bool {
        let check = |offset, len| check_range(&self.session, offset, len);
        let work = match change {
            Change::Write(writes) => {
                let checked = writes.iter().try_for_each(|write| check(write.offset, write.data.len() as u64));
                checked.map(|()| Work::Records(records(writes, &mut self.packer)))
            }
            Change::Zero(offset, len, zeroing) => {
                check(offset, len).map(|()| Work::Records(vec![Draft::of(&[Operation::Zero { offset, len, zeroing }])]))
            }
            Change::Flush => Ok(Work::Flush),
        };
        match work {
            Ok(work) => self.orders.start(token, work),
            Err(error) => self.orders.refuse(token, error),
        }
        true
    }

    fn next_change(&mut self) -> Option<(u64, Result<(), Error>)> {
        if !self.orders.has_finished() && !self.mail.is_empty() {
            self.take_mail();
        }
        self.orders.next_finished()
    }

    fn in_flight(&self) -> usize {
        self.reads.len() + self.finished.len() + self.orders.in_flight()
    }

    fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<Wake, Error> {
        self.take_mail();
        self.retry();
        self.take_here();
        let at_most = |limit: Duration| Some(timeout.map_or(limit, |timeout| timeout.min(limit)));
        let is_waiting = self.orders.is_waiting() || self.count(|way| matches!(way, Way::Nowhere)) > 0;
        let timeout = match (self.has_finished(), is_waiting) {
            (true, _) => Some(Duration::ZERO),
            (false, true) => at_most(RETRY),
            (false, false) => timeout,
        };
        let is_reading = self.here.as_ref().is_some_and(|(_, reads)| reads.in_flight() > 0);
        let socket_readable =
            if is_reading { self.wait_for_all(socket, timeout)? } else { self.wait_for_mail(socket, timeout)? };
        self.take_here();
        self.take_mail();
        Ok(Wake { socket_readable, completions: self.has_finished() })
    }
}

impl ClusterRequests {
    fn has_finished(&self) -> bool {
        !self.finished.is_empty() || self.orders.has_finished()
    }
}
