//! Pauses of a volume's changes: made by the replica here for whoever asks, and asked of the node that serves the volume.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use net::envelope::Message;
use net::forward::{Asked, Question, Refused, decode_answer, encode_question};
use net::replication::PauseId;
use net::transport::{RequestError, Transport};

use super::answering::{done, refused, snapshots};
use super::asking::{PATIENCE, Session, Target};
use super::core::Core;
use crate::replica::operation::Draft;
use crate::replica::{Call, LocalReplica};

/// How long the members may take to hold what was ordered before a pause.
const PAUSED_WAIT: Duration = Duration::from_secs(1);

/// How often the replica is waited for that still has to apply a snapshot, or the like.
const BARRIER_ATTEMPTS: u32 = 25;

impl Core {
    /// Has the replica here hold changes back, if no snapshot of its volume has the name: nobody can make one until the pause is
    /// over. There is no pause if it is refused.
    pub(super) fn pause_here(&self, replica: &LocalReplica, id: PauseId, name: &str) -> Result<(), Refused> {
        let paused = done(replica.pause(id, PAUSED_WAIT));
        let checked = paused.and_then(|_| self.check_unnamed(replica, name));
        checked.inspect_err(|_| replica.resume(id))
    }

    /// That no snapshot has the name. Everything that was ordered is visible, so that one which is not applied yet shows.
    fn check_unnamed(&self, replica: &LocalReplica, name: &str) -> Result<(), Refused> {
        if !(0..BARRIER_ATTEMPTS).any(|_| replica.has_all_barriers()) {
            return Err(Refused::NotReady);
        }
        let found = snapshots(self, replica.shared().id).map_err(|error| refused(&error))?;
        if found.iter().any(|entry| entry.name == name) { Err(Refused::Exists) } else { Ok(()) }
    }
}

/// A pause that was asked of whoever serves a session's volume. It ends with this.
pub(super) struct Pause<'a> {
    session: &'a Session,
    /// Never asked for twice: one that has run out must not be begun again.
    id: PauseId,
    target: Target,
}

/// A record on its way into a pause.
pub(super) enum Sent {
    Here(Option<Arc<Call>>),
    There(Receiver<Result<Message, RequestError>>),
}

impl<'a> Pause<'a> {
    /// A pause, if no snapshot has this name.
    pub(super) fn begin(session: &'a Session, target: Target, name: &str) -> Result<Self, Refused> {
        // From here on it is ended, whatever is known of its beginning.
        let pause = Self { session, id: PauseId(session.core.random()), target };
        match &pause.target {
            Target::Here(replica) => session.core.pause_here(replica, pause.id, name)?,
            Target::There(link) => {
                let asked = Asked::Pause { pause: pause.id.0, snapshot: name.to_owned() };
                read_answer(session.ask_all(*link, vec![asked]).pop())?;
            }
        }
        Ok(pause)
    }

    /// Begins to have a record ordered, if the pause is not over by then.
    pub(super) fn order(&self, draft: &Draft) -> Sent {
        match &self.target {
            Target::Here(replica) => Sent::Here(replica.begin_paused(std::slice::from_ref(draft), self.id)),
            Target::There(link) => {
                let (sender, receiver) = channel();
                let asked = Asked::PausedWrite { pause: self.id.0, record: draft.record().clone() };
                let question = encode_question(&Question { volume: self.session.volume, asked });
                // Nobody listens if another volume's answer has come to nothing.
                let answered = Box::new(move |answer| _ = sender.send(answer));
                self.session.core.transport().request(*link, question, PATIENCE, answered);
                Sent::There(receiver)
            }
        }
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        match &self.target {
            Target::Here(replica) => replica.resume(self.id),
            Target::There(link) => {
                let question = Question { volume: self.session.volume, asked: Asked::Resume(self.id.0) };
                // If it does not arrive the pause ends by itself.
                self.session.core.transport().request(*link, encode_question(&question), PATIENCE, Box::new(|_| {}));
            }
        }
    }
}

impl Sent {
    /// Waits until every member holds the record, or it is known that it is nowhere, or how it ended will not be known.
    pub(super) fn wait(self) -> Result<(), Refused> {
        match self {
            Self::Here(None) => Err(Refused::NotReady),
            Self::Here(Some(call)) => done(call.wait_for(PATIENCE)).map(drop),
            Self::There(answer) => read_answer(answer.recv().ok()),
        }
    }
}

fn read_answer(answer: Option<Result<Message, RequestError>>) -> Result<(), Refused> {
    let Some(Ok(message)) = answer else { return Err(Refused::Unknown) };
    let answer = decode_answer(&message).map_err(|_| Refused::Unknown)?;
    answer.result.map(drop)
}

#[cfg(test)]
mod tests;
