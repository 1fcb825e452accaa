//! Requests of this node's clients: carried out here if this node's replica serves the volume, else by the node that does; and
//! again, after a pause, when there is none at the moment. So a client sees a pause when a primary is lost, and no error.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use lsm_store::Error;
use lsm_store::request::{BlockState, StatusExtent};
use net::envelope::Message;
use net::forward::{
    Answer, Asked, Attempt, Brought, ChangedExtents, Question, Refused, decode_answer, encode_question,
};
use net::id::VolumeId;
use net::replication::{Epoch, Outcome, Refusal};
use net::transport::{Link, RequestError, Transport};

use super::core::{Core, Route};
use crate::replica::LocalReplica;
use crate::replica::operation::Draft;

/// How long a node may take to answer before it is asked again, or another one is.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long a node tries to do by itself what a volume needs, before it is another volume's turn.
const DUTY_PATIENCE: Duration = Duration::from_secs(10);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// What a client's session knows of the volume it uses.
pub(super) struct Session {
    pub(super) core: Arc<Core>,
    pub(super) volume: VolumeId,
    id: u64,
    attempt: AtomicU64,
    /// The newest epoch in which something was done for it; that in which it began, before anything was.
    epoch: AtomicU64,
    /// What was done for it before may be gone: it must not go on as if nothing had happened.
    is_broken: AtomicBool,
    /// How long something may take, if not as long as it needs.
    patience: Option<Duration>,
}

/// Who can be asked for a volume's content, now.
pub(super) enum Target {
    /// This node's replica.
    Here(Arc<LocalReplica>),
    /// The primary, by this link.
    There(Link),
}

/// What an attempt came to.
pub(super) enum Tried<T> {
    Done(T),
    Again,
}

impl Session {
    pub(super) fn new(core: Arc<Core>, volume: VolumeId) -> Self {
        let id = core.random();
        // Another connection of the same client may have written in it.
        let epoch = core.volume(volume).map_or(0, |volume| volume.replicas.epoch.0);
        let (attempt, epoch, is_broken) = (AtomicU64::new(1), AtomicU64::new(epoch), AtomicBool::new(false));
        Self { core, volume, id, attempt, epoch, is_broken, patience: None }
    }

    /// As [`Self::new`], of somebody who is told when a volume is not served for so long.
    pub(super) fn with_patience(core: Arc<Core>, volume: VolumeId, patience: Duration) -> Self {
        Self { patience: Some(patience), ..Self::new(core, volume) }
    }

    /// As [`Self::new`], of the node itself, which has other volumes to see to.
    pub(super) fn of_duty(core: Arc<Core>, volume: VolumeId) -> Self {
        Self::with_patience(core, volume, DUTY_PATIENCE)
    }

    /// Has records ordered and waits until every member holds them.
    pub(super) fn write(&self, drafts: &[Draft]) -> Result<(), Error> {
        self.until_done(|target| match (target, self.patience) {
            (Target::Here(replica), None) => self.outcome(&replica, replica.write(drafts)),
            (Target::Here(replica), Some(patience)) => self.outcome(&replica, replica.write_for(drafts, patience)),
            (Target::There(link), _) => self.write_there(link, drafts),
        })
    }

    fn write_there(&self, link: Link, drafts: &[Draft]) -> Result<Tried<()>, Error> {
        let attempt = self.attempt();
        let questions = drafts.iter().map(|draft| Asked::Write(attempt, vec![draft.record().clone()]));
        let answers = self.ask_all(link, questions.collect());
        let (mut is_again, mut failed) = (false, None);
        for answer in answers {
            match self.judge(answer) {
                Ok(Tried::Done(_)) => {}
                Ok(Tried::Again) => is_again = true,
                Err(error) => failed = Some(error),
            }
        }
        if is_again {
            // Whatever of this attempt is still on its way comes too late, also if the client is told that the rest has failed.
            self.give_up();
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(if is_again { Tried::Again } else { Tried::Done(()) }),
        }
    }

    /// What a write that is asked for now says of itself.
    pub(super) fn attempt(&self) -> Attempt {
        Attempt { session: self.id, number: self.attempt.load(Ordering::Acquire) }
    }

    /// Has writes that were asked for before come too late wherever one is asked for from now on.
    pub(super) fn give_up(&self) {
        self.attempt.fetch_add(1, Ordering::AcqRel);
    }

    /// Why nothing can be done any more, if that is so.
    pub(super) fn end(&self) -> Option<Error> {
        if self.core.is_stopping() {
            return Some(Error::Closed);
        }
        let is_gone = self.core.volume(self.volume).is_none();
        is_gone.then_some(Error::NoSuchVolume(lsm_store::id::VolumeId(self.volume.0)))
    }

    /// Waits until everything that was answered is durable on every member.
    pub(super) fn flush(&self) -> Result<(), Error> {
        self.until_done(|target| match (target, self.patience) {
            (Target::Here(replica), None) => self.outcome(&replica, replica.flush()),
            (Target::Here(replica), Some(patience)) => self.outcome(&replica, replica.flush_for(patience)),
            (Target::There(link), _) => self.ask_one(link, Asked::Flush).map(|tried| tried.map(|_| ())),
        })
    }

    /// The states of a range of the volume, or of a snapshot of it.
    pub(super) fn status(
        &self,
        snapshot: Option<&str>,
        (offset, len): (u64, u64),
        extents_max: usize,
    ) -> Result<Vec<StatusExtent>, Error> {
        self.until_done(|target| match target {
            Target::Here(replica) if snapshot.is_none() => match replica.block_status(offset, len, extents_max)? {
                Some(extents) => Ok(Tried::Done(extents)),
                None => Ok(Tried::Again),
            },
            Target::Here(replica) => {
                let extents =
                    super::answering::snapshot_status(&self.core, &replica, snapshot, (offset, len), extents_max)?;
                Ok(extents.map_or(Tried::Again, Tried::Done))
            }
            Target::There(link) => {
                let (snapshot, extents_max) = (snapshot.map(str::to_owned), extents_max.try_into().unwrap_or(u32::MAX));
                let asked = Asked::Status { snapshot, offset, len, extents_max };
                match self.ask_one(link, asked)? {
                    Tried::Done(Brought::Extents(extents)) => {
                        Ok(Tried::Done(extents.into_iter().map(extent).collect()))
                    }
                    Tried::Done(_) => Err(nonsense()),
                    Tried::Again => Ok(Tried::Again),
                }
            }
        })
    }

    /// Bytes of the volume, or of a snapshot of it; at most what fits an answer.
    pub(super) fn read(&self, snapshot: Option<&str>, offset: u64, len: usize) -> Result<Bytes, Error> {
        self.until_done(|target| match target {
            Target::Here(replica) => {
                let found = super::answering::read_here(&self.core, &replica, snapshot, offset, len);
                found.map(|found| found.map_or(Tried::Again, Tried::Done))
            }
            Target::There(link) => {
                let asked = Asked::Read { snapshot: snapshot.map(str::to_owned), offset, len: len as u32 };
                match self.ask_one(link, asked)? {
                    Tried::Done(Brought::Bytes(bytes)) if bytes.len() == len => Ok(Tried::Done(bytes)),
                    Tried::Done(_) => Err(nonsense()),
                    Tried::Again => Ok(Tried::Again),
                }
            }
        })
    }

    /// Where the volume, or a snapshot of it, differs from a snapshot of it.
    pub(super) fn changes(
        &self,
        from: &str,
        to: Option<&str>,
        (offset, len): (u64, u64),
    ) -> Result<ChangedExtents, Error> {
        self.until_done(|target| match target {
            Target::Here(replica) => {
                let found = super::changes::changes_here(&self.core, &replica, from, to, (offset, len))?;
                Ok(found.map_or(Tried::Again, Tried::Done))
            }
            Target::There(link) => {
                let asked = Asked::Changes { from: from.to_owned(), to: to.map(str::to_owned), offset, len };
                match self.ask_one(link, asked)? {
                    Tried::Done(Brought::Changes(changes)) => Ok(Tried::Done(*changes)),
                    Tried::Done(_) => Err(nonsense()),
                    Tried::Again => Ok(Tried::Again),
                }
            }
        })
    }

    /// The snapshots of the volume, from the oldest.
    pub(super) fn snapshots(&self) -> Result<Vec<net::forward::SnapshotEntry>, Error> {
        self.until_done(|target| match target {
            Target::Here(replica) if !replica.has_all_barriers() => Ok(Tried::Again),
            Target::Here(_) => super::answering::snapshots(&self.core, self.volume).map(Tried::Done),
            Target::There(link) => match self.ask_one(link, Asked::Snapshots)? {
                Tried::Done(Brought::Snapshots(snapshots)) => Ok(Tried::Done(snapshots)),
                Tried::Done(_) => Err(nonsense()),
                Tried::Again => Ok(Tried::Again),
            },
        })
    }

    /// The same, if they can be had now.
    pub(super) fn snapshots_now(&self) -> Option<Vec<net::forward::SnapshotEntry>> {
        match self.target()? {
            Target::Here(replica) if !replica.has_all_barriers() => None,
            Target::Here(_) => super::answering::snapshots(&self.core, self.volume).ok(),
            Target::There(link) => match self.ask_one(link, Asked::Snapshots).ok()? {
                Tried::Done(Brought::Snapshots(snapshots)) => Some(snapshots),
                _ => None,
            },
        }
    }

    /// The size that the volume has behind all that was ordered.
    pub(super) fn size_bytes(&self) -> Result<u64, Error> {
        self.until_done(|target| match target {
            Target::Here(replica) => Ok(replica.size_bytes().map_or(Tried::Again, Tried::Done)),
            Target::There(link) => match self.ask_one(link, Asked::Size)? {
                Tried::Done(Brought::Size(size_bytes)) => Ok(Tried::Done(size_bytes)),
                Tried::Done(_) => Err(nonsense()),
                Tried::Again => Ok(Tried::Again),
            },
        })
    }

    /// True if somebody serves the volume now.
    pub(super) fn is_served(&self) -> Result<bool, Error> {
        match self.target() {
            Some(Target::Here(_)) => Ok(true),
            Some(Target::There(link)) => Ok(matches!(self.ask_one(link, Asked::Flush)?, Tried::Done(_))),
            None => Ok(false),
        }
    }

    /// Who can be asked now.
    pub(super) fn target(&self) -> Option<Target> {
        match self.core.route(self.volume) {
            Route::Here(replica) => Some(Target::Here(replica)),
            Route::There(link) => Some(Target::There(link)),
            Route::Nowhere => None,
        }
    }

    fn until_done<T>(&self, attempt: impl Fn(Target) -> Result<Tried<T>, Error>) -> Result<T, Error> {
        let clock = Arc::clone(self.core.node.store().clock());
        let begun = clock.monotonic();
        loop {
            if self.core.is_stopping() {
                return Err(Error::Closed);
            }
            if let Some(target) = self.target()
                && let Tried::Done(done) = attempt(target)?
            {
                return Ok(done);
            }
            if let Some(error) = self.end() {
                return Err(error);
            }
            if self.patience.is_some_and(|patience| clock.monotonic() - begun >= patience) {
                return Err(failed("nobody has served the volume for some time".into()));
            }
            self.core.wait_change(PAUSE);
        }
    }

    fn outcome(&self, replica: &LocalReplica, outcome: Outcome) -> Result<Tried<()>, Error> {
        match outcome {
            Outcome::Done => {
                self.note_served(replica.shared().serving.epochs())?;
                Ok(Tried::Done(()))
            }
            Outcome::Refused(Refusal::OutOfSpace) => Err(Error::OutOfSpace),
            Outcome::Refused(_) | Outcome::Unknown => Ok(Tried::Again),
        }
    }

    /// Something was done for the session in an epoch. What was done before a loss may be gone, and then the session must not go
    /// on as if nothing had happened.
    pub(super) fn note_served(&self, (epoch, loss): (Epoch, Epoch)) -> Result<(), Error> {
        if loss.0 > self.epoch.load(Ordering::Acquire) {
            self.is_broken.store(true, Ordering::Release);
        }
        if self.is_broken.load(Ordering::Acquire) {
            return Err(lost());
        }
        self.epoch.fetch_max(epoch.0, Ordering::AcqRel);
        Ok(())
    }

    fn ask_one(&self, link: Link, asked: Asked) -> Result<Tried<Brought>, Error> {
        let answer = self.ask_all(link, vec![asked]).pop();
        answer.map_or(Ok(Tried::Again), |answer| self.judge(answer))
    }

    /// Asks several things at once and waits for all answers.
    pub(super) fn ask_all(&self, link: Link, asked: Vec<Asked>) -> Vec<Result<Message, RequestError>> {
        let (sender, receiver) = mpsc::channel();
        for asked in asked {
            let question = encode_question(&Question { volume: self.volume, asked });
            let sender = sender.clone();
            // Whoever asked waits for all answers, so that somebody listens.
            let answered = Box::new(move |answer| _ = sender.send(answer));
            self.core.transport().request(link, question, PATIENCE, answered);
        }
        drop(sender);
        receiver.into_iter().collect()
    }

    pub(super) fn judge(&self, answer: Result<Message, RequestError>) -> Result<Tried<Brought>, Error> {
        let Ok(message) = answer else { return Ok(Tried::Again) };
        let Ok(Answer { served, result }) = decode_answer(&message) else { return Ok(Tried::Again) };
        match result {
            Ok(brought) => {
                self.note_served(served)?;
                Ok(Tried::Done(brought))
            }
            Err(refused) => refusal(refused),
        }
    }

    /// What came of an answer to a read that was asked elsewhere; `None`: it must be asked again.
    pub(super) fn read_answer(&self, answer: Result<Message, RequestError>) -> Option<Result<Bytes, Error>> {
        match self.judge(answer) {
            Ok(Tried::Done(Brought::Bytes(bytes))) => Some(Ok(bytes)),
            Ok(Tried::Done(_)) => Some(Err(nonsense())),
            Ok(Tried::Again) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl<T> Tried<T> {
    fn map<U>(self, with: impl FnOnce(T) -> U) -> Tried<U> {
        match self {
            Self::Done(done) => Tried::Done(with(done)),
            Self::Again => Tried::Again,
        }
    }
}

fn refusal(refused: Refused) -> Result<Tried<Brought>, Error> {
    match refused {
        Refused::NotPrimary(_) | Refused::NotReady | Refused::Unknown | Refused::Overtaken => Ok(Tried::Again),
        Refused::NotFound => Err(Error::NoSuchVolume(lsm_store::id::VolumeId::default())),
        Refused::OutOfSpace => Err(Error::OutOfSpace),
        Refused::Failed(why) => Err(failed(why)),
        Refused::Exists => Err(failed("it has a snapshot of that name".into())),
    }
}

fn extent((len, state): (u64, u8)) -> StatusExtent {
    let state = match state {
        1 => BlockState::Zero,
        2 => BlockState::Hole,
        _ => BlockState::Data,
    };
    StatusExtent { len, state }
}

fn nonsense() -> Error {
    failed("its answer is not one".into())
}

fn failed(why: String) -> Error {
    let source = Arc::new(std::io::Error::other(why));
    Error::Io { action: "asking the volume's primary for", file: "content".into(), source }
}

fn lost() -> Error {
    let why = "every replica lost power at once, and writes after the last flush may be gone: open the volume again";
    Error::Io { action: "going on with", file: "the volume".into(), source: Arc::new(std::io::Error::other(why)) }
}
