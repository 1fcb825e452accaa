//! Content on its way between nodes: sent and received by the code that a daemon runs, a question at a time.
//!
//! A sender waits for answers, so each has a thread. It runs only while the simulation waits for what it says next: one
//! thread is at work at any time, and chance is left none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use blockdev::node::Node;
use blockdev::replica::content::{Asking, Pace};
use blockdev::replica::installation::{Broken, Delivery, Installing};
use blockdev::replica::{Pinned, Sending};
use lsm_store::device::sim::VirtualClock;
use lsm_store::id::VolumeId as StoreVolumeId;
use lsm_store::store::Volume;
use net::content::Question as ContentQuestion;
use net::envelope::Message;
use net::installation::{Answer, Question, Step};
use net::replication::{Base, Event, History, Lsn, NodeId, TransferId};
use net::transport::RequestError;
use parking_lot::Mutex;

use super::process::VOLUME;
use super::world::{MS, SECOND, What, World};
use crate::model::Violation;

/// How long content is waited for that is to be sent.
const PIN_WAIT_US: u64 = 30 * SECOND;

/// Blocks of one question: few, so that there are many.
const BLOCKS_AT_ONCE: usize = 3;

/// What a sender comes to.
enum Said {
    Asks(Message),
    Ended(Result<(), Broken>),
}

/// A sender at work.
pub(super) struct Errand {
    to: NodeId,
    pinned: StoreVolumeId,
    said: Receiver<Said>,
    answers: Option<Sender<Result<Message, RequestError>>>,
    is_cancelled: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The sender's end of its conversation with the simulation.
struct Mouth {
    said: Sender<Said>,
    answers: Mutex<Receiver<Result<Message, RequestError>>>,
}

impl Asking for Mouth {
    fn ask(&self, message: Message) -> Result<Message, RequestError> {
        self.said.send(Said::Asks(message)).map_err(|_| RequestError::Down)?;
        self.answers.lock().recv().map_err(|_| RequestError::Down)?
    }
}

impl Errand {
    fn start(node: Arc<Node>, sending: Sending, pinned: Pinned, base: Option<(Volume, Lsn)>, history: History) -> Self {
        let ((says, said), (answers, answered)) = (channel(), channel());
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let (to, snapshot, cancelled) = (sending.to, pinned.snapshot, Arc::clone(&is_cancelled));
        let work = move || {
            let mouth = Mouth { said: says.clone(), answers: Mutex::new(answered) };
            let (clock, is_cancelled) = (VirtualClock::new(), || cancelled.load(Ordering::Relaxed));
            let pace = Pace {
                blocks_at_once: BLOCKS_AT_ONCE,
                questions_at_once: 0,
                is_cancelled: &is_cancelled,
                ..Pace::new(&clock)
            };
            let Sending { volume, transfer, .. } = sending;
            let delivery = Delivery { volume, transfer, store: node.store(), asking: &mouth, pace, watch: &|_, _| {} };
            let ended = delivery.send(&pinned, base, history);
            // Nobody listens if the machine has died.
            let _ = says.send(Said::Ended(ended));
        };
        let thread = Some(std::thread::spawn(work));
        Self { to, pinned: snapshot, said, answers: Some(answers), is_cancelled, thread }
    }

    /// What it says next, which it does without anybody's help.
    fn next(&self) -> Result<Said, Violation> {
        self.said.recv().map_err(|_| Violation("a sender of content panicked".into()))
    }

    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.answers = None;
        // A panic was told as one, or is of no more interest.
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl World {
    /// Content is to be sent: waits until there is what shall be.
    pub(super) fn send_content(&mut self, slot: usize, sending: Sending, since: u64) -> Result<(), Violation> {
        let Some((process, running)) = self.running(slot) else { return Ok(()) };
        if process.transfers.cancelled.contains(&sending.transfer) {
            return Ok(());
        }
        let replica = Arc::clone(&running.replica);
        let Some(pinned) = replica.pin(sending.at_least) else {
            if self.now < since + PIN_WAIT_US {
                self.on(slot, 20 * MS, What::SendContent { sending, since });
            } else {
                self.sending_ended(slot, sending.to, sending.transfer, false);
            }
            return self.settle(slot);
        };
        replica.hold(sending.transfer, Some(pinned.at));
        let Some(mut history) = replica.history() else { return self.settle(slot) };
        history.truncate(pinned.at);
        let Some(process) = &mut self.processes[slot] else { return Ok(()) };
        let base = match sending.base {
            Base::Pinned(at) => process.transfers.pins.get(&sending.to).filter(|(_, pinned)| *pinned == at),
            Base::Nothing => None,
        };
        let base = base.and_then(|(snapshot, at)| Some((process.node.store().volume(*snapshot).ok()?, *at)));
        self.report.based += u64::from(base.is_some());
        let errand = Errand::start(Arc::clone(&process.node), sending, pinned, base, history);
        process.transfers.errands.insert(sending.transfer, errand);
        self.listen(slot, sending.transfer)?;
        self.settle(slot)
    }

    /// Hears what a sender says next.
    fn listen(&mut self, slot: usize, transfer: TransferId) -> Result<(), Violation> {
        let Some(process) = &mut self.processes[slot] else { return Ok(()) };
        let Some(errand) = process.transfers.errands.get(&transfer) else { return Ok(()) };
        let to = errand.to;
        match errand.next()? {
            Said::Asks(message) => {
                let (from, generation) = (slot, self.generations[slot]);
                let other = self.slot_of(to);
                let delay = other.and_then(|other| self.network.delay(slot, other, self.now, &self.rng));
                match (other, delay) {
                    (Some(to), Some(delay)) => {
                        self.at(delay, What::Question { to, from, generation, transfer, message });
                    }
                    _ => self.fail_question(slot, transfer),
                }
            }
            Said::Ended(ended) => {
                let errand = process.transfers.errands.remove(&transfer);
                let snapshot = errand.map(|errand| errand.pinned);
                let unpinned = snapshot.map(|snapshot| process.node.unpin_replica(snapshot));
                self.tell_trace(|| format!("#{slot} sending {transfer:?} ended: {ended:?} {unpinned:?}"));
                self.sending_ended(slot, to, transfer, ended.is_ok());
            }
        }
        Ok(())
    }

    fn sending_ended(&mut self, slot: usize, to: NodeId, transfer: TransferId, is_ok: bool) {
        let Some((_, running)) = self.running(slot) else { return };
        let replica = Arc::clone(&running.replica);
        replica.hold(transfer, None);
        if is_ok {
            self.report.transfers += 1;
            return;
        }
        self.report.broken += 1;
        self.unpin(slot, to);
        replica.tell(Event::PinLost(to));
        replica.tell(Event::TransferFailed(transfer));
    }

    /// The question or its answer is lost with the link.
    fn fail_question(&mut self, slot: usize, transfer: TransferId) {
        let delay = 500 * MS + self.rng.below(2 * SECOND);
        self.on(slot, delay, What::Answer { transfer, answer: None });
    }

    /// A question about content has come.
    pub(super) fn question(
        &mut self,
        to: usize,
        (from, generation): (usize, u64),
        transfer: TransferId,
        message: &Message,
    ) -> Result<(), Violation> {
        let asker = self.machines[from].id;
        let answer = self.take_question(to, asker, message);
        self.settle(to)?;
        if self.generations[from] != generation {
            return Ok(());
        }
        let delay = self.network.delay(to, from, self.now, &self.rng);
        match (answer, delay.filter(|_| self.processes[to].is_some())) {
            (Some(answer), Some(delay)) => {
                let delay = delay + self.disk_delay(to, 2000);
                self.on(from, delay, What::Answer { transfer, answer: Some(answer) });
            }
            _ => self.fail_question(from, transfer),
        }
        Ok(())
    }

    fn take_question(&mut self, slot: usize, from: NodeId, message: &Message) -> Option<Message> {
        if let Ok(question) = Question::decode(message) {
            let answer = self.take_step(slot, from, &question);
            if answer.is_none() {
                self.cancel(slot, question.transfer);
            }
            return Some(answer.unwrap_or(Answer::Refused).encode());
        }
        let transfer = ContentQuestion::decode(message).ok()?.transfer();
        let process = self.processes[slot].as_mut()?;
        process.transfers.expected.get(&transfer).filter(|sender| **sender == from)?;
        let installing = process.transfers.installing.as_mut().filter(|it| it.transfer() == transfer)?;
        installing.handle(message)
    }

    fn take_step(&mut self, slot: usize, from: NodeId, question: &Question) -> Option<Answer> {
        let Question { volume, transfer, step } = question;
        let process = self.processes[slot].as_mut()?;
        process.transfers.expected.get(transfer).filter(|sender| **sender == from && *volume == VOLUME)?;
        let replica = Arc::clone(&process.running.as_ref()?.replica);
        if matches!(step, Step::Begin { .. }) {
            process.transfers.installing = Some(Installing::new(Arc::clone(&replica), *transfer));
        }
        let node = Arc::clone(&process.node);
        let installing = process.transfers.installing.as_mut().filter(|it| it.transfer() == *transfer)?;
        let is_noted = matches!(step, Step::Begin { .. } | Step::Prepare { .. });
        self.machines[slot].lies.store(is_noted, Ordering::Relaxed);
        let taken = installing.take(&node, step);
        self.machines[slot].lies.store(false, Ordering::Relaxed);
        taken?;
        if let Step::Install { history } = step {
            process.transfers.expected.remove(transfer);
            // The sender's store may have had some of what came later, too.
            let sender = self.slot_of(from).map_or(Lsn(0), |sender| self.machines[sender].attempted);
            self.machines[slot].attempted = history.end().lsn.max(sender);
        }
        Some(Answer::Done)
    }

    /// A question was answered, or will not be.
    pub(super) fn answer(
        &mut self,
        slot: usize,
        transfer: TransferId,
        answer: Option<Message>,
    ) -> Result<(), Violation> {
        let Some(process) = &self.processes[slot] else { return Ok(()) };
        let Some(errand) = process.transfers.errands.get(&transfer) else { return Ok(()) };
        if let Some(answers) = &errand.answers {
            // A sender that has ended has said so.
            let _ = answers.send(answer.ok_or(RequestError::Down));
        }
        self.listen(slot, transfer)?;
        self.settle(slot)
    }

    /// A transfer is to end, in whichever direction.
    pub(super) fn cancel(&mut self, slot: usize, transfer: TransferId) {
        let Some(process) = &mut self.processes[slot] else { return };
        process.transfers.expected.remove(&transfer);
        process.transfers.cancelled.insert(transfer);
        if let Some(errand) = process.transfers.errands.get(&transfer) {
            errand.cancel();
        }
    }

    /// What a node that leaves has is to be frozen.
    pub(super) fn pin(&mut self, slot: usize, node: NodeId, at_most: Lsn) -> Result<(), Violation> {
        let Some((_, running)) = self.running(slot) else { return Ok(()) };
        let replica = Arc::clone(&running.replica);
        if let Some(Pinned { snapshot, at, .. }) = replica.pin(Lsn(0)) {
            if at > at_most || at == Lsn(0) {
                self.unpin_snapshot(slot, snapshot);
            } else if let Some(process) = &mut self.processes[slot] {
                let before = process.transfers.pins.insert(node, (snapshot, at));
                before.into_iter().for_each(|(snapshot, _)| self.unpin_snapshot(slot, snapshot));
                replica.tell(Event::Pinned { node, at });
            }
        }
        self.settle(slot)
    }

    /// Gives up what was frozen for a node.
    pub(super) fn unpin(&mut self, slot: usize, node: NodeId) {
        let pin = self.processes[slot].as_mut().and_then(|process| process.transfers.pins.remove(&node));
        pin.into_iter().for_each(|(snapshot, _)| self.unpin_snapshot(slot, snapshot));
    }

    fn unpin_snapshot(&mut self, slot: usize, snapshot: StoreVolumeId) {
        let unpinned = self.processes[slot].as_ref().map(|process| process.node.unpin_replica(snapshot));
        self.tell_trace(|| format!("#{slot} unpins {snapshot:?}: {unpinned:?}"));
    }

    /// Forgets the transfers of a replica that ends, and what it froze.
    pub(super) fn forget_transfers(&mut self, slot: usize) {
        let Some(process) = &mut self.processes[slot] else { return };
        let transfers = std::mem::take(&mut process.transfers);
        let errands = transfers.errands.into_values().map(|errand| errand.pinned);
        let snapshots: Vec<_> = transfers.pins.into_values().map(|(snapshot, _)| snapshot).chain(errands).collect();
        snapshots.into_iter().for_each(|snapshot| self.unpin_snapshot(slot, snapshot));
    }
}
