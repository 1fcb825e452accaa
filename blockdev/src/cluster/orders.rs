//! Changes of a replicated volume that one client's thread has under way, several at the same time: ordered by this node's
//! replica while it serves the volume, else by the node that does; and again, after a pause, if there is none at the moment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lsm_store::Error;
use net::envelope::Message;
use net::forward::{Asked, Question, encode_question};
use net::replication::{Outcome, Refusal};
use net::transport::{RequestError, Transport};

use super::asking::{PATIENCE, Session, Target, Tried};
use super::mail::{Letter, Mail};
use crate::replica::operation::Draft;
use crate::replica::{Call, Ended, LocalReplica};

/// What is to be done.
pub(super) enum Work {
    /// Records are to be ordered.
    Records(Vec<Draft>),
    /// What was answered is to be durable.
    Flush,
}

/// How it is being done.
enum Way {
    /// By the replica here.
    Here(Arc<LocalReplica>, Arc<Call>),
    /// By the primary: how many answers are still to come, and whether one of those that came says that it must be done again.
    There { left: usize, is_again: bool },
    /// It waits to be begun.
    Nowhere,
}

struct Order {
    work: Work,
    way: Way,
    /// Answers to another attempt are none to this.
    attempt: u64,
}

/// Orders by token.
pub(super) struct Orders {
    session: Arc<Session>,
    mail: Arc<Mail>,
    under_way: BTreeMap<u64, Order>,
    waiting: usize,
    last_attempt: u64,
    finished: VecDeque<(u64, Result<(), Error>)>,
}

impl Orders {
    pub(super) fn new(session: Arc<Session>, mail: Arc<Mail>) -> Self {
        let (under_way, finished) = (BTreeMap::new(), VecDeque::new());
        Self { session, mail, under_way, waiting: 0, last_attempt: 0, finished }
    }

    /// Begins a change.
    pub(super) fn start(&mut self, token: u64, work: Work) {
        // Nothing is to be written.
        if matches!(&work, Work::Records(drafts) if drafts.is_empty()) {
            self.finished.push_back((token, Ok(())));
            return;
        }
        self.under_way.insert(token, Order { work, way: Way::Nowhere, attempt: 0 });
        self.waiting += 1;
        // Not before those that wait for somebody who can be asked.
        if self.waiting == 1 {
            self.begin(token);
        }
    }

    /// Ends a change without having begun it.
    pub(super) fn refuse(&mut self, token: u64, error: Error) {
        self.finished.push_back((token, Err(error)));
    }

    /// The next that has come to its end.
    pub(super) fn next_finished(&mut self) -> Option<(u64, Result<(), Error>)> {
        self.finished.pop_front()
    }

    /// Those that nobody was told the end of.
    pub(super) fn in_flight(&self) -> usize {
        self.under_way.len() + self.finished.len()
    }

    /// True if there is one that can be told the end of.
    pub(super) fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// True if there are some that wait to be begun.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Begins those that nobody could be asked for, in their order.
    pub(super) fn retry(&mut self) {
        let waiting: Vec<u64> =
            self.under_way.iter().filter(|(_, it)| it.is_waiting()).map(|(token, _)| *token).collect();
        for token in waiting {
            if let Some(error) = self.session.end() {
                self.finish(token, Err(error));
            } else if !self.begin(token) {
                return;
            }
        }
    }

    /// Begins a change; false if it has to wait.
    fn begin(&mut self, token: u64) -> bool {
        self.last_attempt += 1;
        let attempt = self.last_attempt;
        let Some(change) = self.under_way.get_mut(&token) else { return true };
        let way = match self.session.target() {
            Some(Target::Here(replica)) => {
                let mail = Arc::clone(&self.mail);
                let tell: Ended = Box::new(move || mail.put(Letter::Changed(token, attempt)));
                begin_here(&replica, &change.work, tell).map(|call| Way::Here(replica, call))
            }
            Some(Target::There(link)) => {
                let asked = asked(&self.session, &change.work);
                let left = asked.len();
                for asked in asked {
                    let mail = Arc::clone(&self.mail);
                    let question = encode_question(&Question { volume: self.session.volume, asked });
                    let answered = Box::new(move |answer| mail.put(Letter::ChangeAnswered(token, attempt, answer)));
                    self.session.core.transport().request(link, question, PATIENCE, answered);
                }
                Some(Way::There { left, is_again: false })
            }
            None => None,
        };
        let Some(way) = way else { return false };
        (change.way, change.attempt) = (way, attempt);
        self.waiting -= 1;
        true
    }

    /// The replica here has ended a change.
    pub(super) fn changed(&mut self, token: u64, attempt: u64) {
        let Some(change) = self.under_way.get(&token).filter(|change| change.attempt == attempt) else { return };
        let Way::Here(replica, call) = &change.way else { return };
        match call.outcome() {
            Some(Outcome::Done) => {
                let served = self.session.note_served(replica.shared().serving.epochs());
                self.finish(token, served);
            }
            Some(Outcome::Refused(Refusal::OutOfSpace)) => self.finish(token, Err(Error::OutOfSpace)),
            Some(Outcome::Refused(_) | Outcome::Unknown) => self.wait(token),
            None => {}
        }
    }

    /// The primary has answered one of a change's questions.
    pub(super) fn answered(&mut self, token: u64, attempt: u64, answer: Result<Message, RequestError>) {
        let Some(change) = self.under_way.get_mut(&token).filter(|change| change.attempt == attempt) else { return };
        let Way::There { left, is_again } = &mut change.way else { return };
        *left -= 1;
        let judged = self.session.judge(answer);
        *is_again |= matches!(judged, Ok(Tried::Again));
        let is_under_way = *left > 0 || *is_again;
        let is_over = (*left == 0).then_some(*is_again);
        match (judged, is_over) {
            (Err(error), _) => {
                if is_under_way {
                    self.session.give_up();
                }
                self.finish(token, Err(error));
            }
            (Ok(_), Some(false)) => self.finish(token, Ok(())),
            (Ok(_), Some(true)) => {
                // Whatever of it is still on its way comes too late.
                self.session.give_up();
                self.wait(token);
            }
            (Ok(_), None) => {}
        }
    }

    fn wait(&mut self, token: u64) {
        if let Some(change) = self.under_way.get_mut(&token) {
            change.way = Way::Nowhere;
            self.waiting += 1;
        }
    }

    fn finish(&mut self, token: u64, result: Result<(), Error>) {
        if let Some(change) = self.under_way.remove(&token) {
            self.waiting -= usize::from(change.is_waiting());
            self.finished.push_back((token, result));
        }
    }
}

impl Order {
    fn is_waiting(&self) -> bool {
        matches!(self.way, Way::Nowhere)
    }
}

/// Has the replica here do it, if it can take it now.
fn begin_here(replica: &LocalReplica, work: &Work, tell: Ended) -> Option<Arc<Call>> {
    match work {
        Work::Records(drafts) if replica.has_room() => replica.begin_write(drafts, Some(tell)),
        Work::Records(_) => None,
        Work::Flush => replica.begin_flush(Some(tell)),
    }
}

/// What the primary has to be asked.
fn asked(session: &Session, work: &Work) -> Vec<Asked> {
    match work {
        Work::Records(drafts) => {
            let asked = |draft: &Draft| Asked::Write(session.attempt(), vec![draft.record().clone()]);
            drafts.iter().map(asked).collect()
        }
        Work::Flush => vec![Asked::Flush],
    }
}
