//! Content of replicas on its way, from this node and to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lsm_store::clock::Clock;
use lsm_store::id::{BLOCK_BYTES, VolumeId as StoreVolumeId};
use lsm_store::store::{Volume, room_of_write};
use net::config::name::Name;
use net::config::state::Configuration;
use net::content::{Answer as ContentAnswer, BLOCKS_MAX, Question as ContentQuestion, Refusal, is_lend};
use net::envelope::Message;
use net::id::{Lsn, NodeId, VolumeId};
use net::installation::{Answer, Question, Step};
use net::replication::{Base, Event, TransferId};
use net::transport::{Link, RequestError, SendError, Transport, call};
use parking_lot::Mutex;

use super::core::Core;
use crate::replica::content::{Asking, Pace, lend};
use crate::replica::installation::{Broken, Delivery, Installing};
use crate::replica::{LocalReplica, Pinned, Sending};

/// How long a receiver may take for one question: at the end it reads its map and syncs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The cluster's setting of how many bytes a second a node sends at most; none for no limit.
pub(super) const CATCH_UP_RATE: &str = "catch-up-rate";

/// Room for the blocks of one question, wherever they begin.
fn blocks_room() -> u64 {
    room_of_write(0, (BLOCKS_MAX * BLOCK_BYTES) as u64)
}

/// What is known of transfers.
#[derive(Default)]
pub(super) struct Transfers(Mutex<State>);

#[derive(Default)]
struct State {
    /// From whom content of a volume may come.
    expected: HashMap<TransferId, (VolumeId, NodeId)>,
    /// By volume: whoever writes to one has the lock, and the transfer it is of then.
    receiving: HashMap<VolumeId, Arc<Mutex<Installing>>>,
    /// Those from here, until they end, and whether each was cancelled.
    sending: HashMap<TransferId, bool>,
    /// What was frozen for nodes that are away, and up to where it goes.
    pins: HashMap<(VolumeId, NodeId), (StoreVolumeId, Lsn)>,
}

impl Transfers {
    pub(super) fn expect(&self, volume: VolumeId, from: NodeId, transfer: TransferId) {
        self.0.lock().expected.insert(transfer, (volume, from));
    }

    pub(super) fn cancel(&self, transfer: TransferId) {
        let mut state = self.0.lock();
        state.expected.remove(&transfer);
        if let Some(is_cancelled) = state.sending.get_mut(&transfer) {
            *is_cancelled = true;
        }
    }

    /// A transfer from here begins, or waits until it can.
    pub(super) fn begin_sending(&self, transfer: TransferId) {
        self.0.lock().sending.insert(transfer, false);
    }

    fn end_sending(&self, transfer: TransferId) {
        self.0.lock().sending.remove(&transfer);
    }

    fn is_cancelled(&self, transfer: TransferId) -> bool {
        self.0.lock().sending.get(&transfer).is_none_or(|is_cancelled| *is_cancelled)
    }

    /// Of which volume a transfer is that is expected from a node.
    fn expected(&self, from: NodeId, transfer: TransferId) -> Option<VolumeId> {
        let state = self.0.lock();
        state.expected.get(&transfer).filter(|(_, sender)| *sender == from).map(|(volume, _)| *volume)
    }

    /// Nothing of a transfer is taken any more, if it is one from this node.
    fn refuse(&self, from: NodeId, transfer: TransferId) {
        if self.expected(from, transfer).is_some() {
            self.cancel(transfer);
        }
    }

    /// Forgets everything of a volume; what was frozen for it is of no use from then on.
    fn forget(&self, volume: VolumeId) -> Vec<StoreVolumeId> {
        let mut state = self.0.lock();
        state.expected.retain(|_, (of, _)| *of != volume);
        state.receiving.remove(&volume);
        state.pins.extract_if(|(of, _), _| *of == volume).map(|(_, (snapshot, _))| snapshot).collect()
    }
}

/// Questions to one node, over one link.
struct LinkAsking<'a> {
    core: &'a Core,
    link: Link,
}

impl Asking for LinkAsking<'_> {
    fn ask(&self, message: Message) -> Result<Message, RequestError> {
        if self.core.is_stopping() {
            return Err(RequestError::Unsent(SendError::Down));
        }
        call(self.core.transport(), self.link, message, PATIENCE)
    }
}

impl Core {
    /// What the cluster has set counts from now on.
    pub(super) fn follow_settings(&self, configuration: &Configuration) {
        let name: Option<Name> = CATCH_UP_RATE.parse().ok();
        let rate = name.and_then(|name| configuration.setting(&name)?.as_str().parse().ok());
        self.throttle.set(rate.unwrap_or(0));
    }

    /// Sends a volume's content. Blocks until it is there, or the transfer is broken off.
    pub(super) fn send_content(&self, sending: &Sending) {
        // It may have waited for long, and nobody wants it any more.
        let is_wanted = !self.is_stopping() && !self.transfers.is_cancelled(sending.transfer);
        if let Some(replica) = self.replica(sending.volume).filter(|_| is_wanted) {
            self.send_content_of(&replica, sending);
        }
        self.transfers.end_sending(sending.transfer);
    }

    fn send_content_of(&self, replica: &LocalReplica, sending: &Sending) {
        let Sending { volume, to, transfer, .. } = *sending;
        let sent = self.try_send_content(replica, sending);
        self.copies.end_content((volume, to));
        replica.hold(transfer, None);
        match sent {
            Ok(()) => tracing::info!(%volume, node = %to, "content was sent"),
            Err(error) => {
                tracing::warn!(%volume, node = %to, error = &error as &dyn std::error::Error, "sending content ended");
                // What the receiver has now may be a mixture: the next attempt compares everything.
                self.unpin(volume, to);
                replica.tell(Event::PinLost(to));
                replica.tell(Event::TransferFailed(transfer));
            }
        }
    }

    fn try_send_content(&self, replica: &LocalReplica, sending: &Sending) -> Result<(), Broken> {
        let link = self.transport().link(sending.to).ok_or(Broken::Unreachable)?;
        let pinned = replica.pin(sending.at_least).ok_or(Broken::Ended)?;
        replica.hold(sending.transfer, Some(pinned.at));
        let sent = self.send_pinned(replica, sending, link, &pinned);
        if let Err(error) = self.node.unpin_replica(pinned.snapshot) {
            // It goes at the next start.
            tracing::warn!(%error, "a snapshot that content was sent from stays");
        }
        sent
    }

    fn send_pinned(
        &self,
        replica: &LocalReplica,
        sending: &Sending,
        link: Link,
        pinned: &Pinned,
    ) -> Result<(), Broken> {
        let Sending { volume, to, transfer, .. } = *sending;
        let mut history = replica.history().ok_or(Broken::Ended)?;
        history.truncate(pinned.at);
        let asking = LinkAsking { core: self, link };
        let store = self.node.store();
        let clock: &dyn Clock = &**store.clock();
        let is_cancelled = || self.is_stopping() || self.transfers.is_cancelled(transfer);
        let pace = Pace { is_cancelled: &is_cancelled, throttle: Some(&self.throttle), ..Pace::new(clock) };
        let watch = |done_bytes: u64, total_bytes: u64| {
            self.copies.note_content((volume, to), (done_bytes, total_bytes), clock.monotonic());
        };
        let delivery = Delivery { volume, transfer, store, asking: &asking, pace, watch: &watch };
        delivery.send(pinned, self.base(sending), history)
    }

    /// What the receiver has already, and up to where that goes.
    fn base(&self, sending: &Sending) -> Option<(Volume, Lsn)> {
        let Base::Pinned(at) = sending.base else { return None };
        let pin = self.transfers.0.lock().pins.get(&(sending.volume, sending.to)).copied();
        let (snapshot, _) = pin.filter(|(_, pinned)| *pinned == at)?;
        Some((self.node.store().volume(snapshot).ok()?, at))
    }

    /// Freezes what a node that leaves has, so that only what changes has to travel when it is back.
    pub(super) fn pin(&self, volume: VolumeId, node: NodeId, at_most: Lsn) {
        let Some(replica) = self.replica(volume) else { return };
        let Some(Pinned { snapshot, at, .. }) = replica.pin(Lsn(0)) else { return };
        if at > at_most || at == Lsn(0) {
            self.unpin_snapshot(snapshot);
            return;
        }
        let before = self.transfers.0.lock().pins.insert((volume, node), (snapshot, at));
        before.into_iter().for_each(|(snapshot, _)| self.unpin_snapshot(snapshot));
        replica.tell(Event::Pinned { node, at });
    }

    /// Forgets the transfers of a volume's replica that ends here, and what it froze.
    pub(super) fn forget_transfers(&self, volume: VolumeId) {
        self.transfers.forget(volume).into_iter().for_each(|snapshot| self.unpin_snapshot(snapshot));
    }

    /// Gives up what was frozen for a node.
    pub(super) fn unpin(&self, volume: VolumeId, node: NodeId) {
        let pin = self.transfers.0.lock().pins.remove(&(volume, node));
        pin.into_iter().for_each(|(snapshot, _)| self.unpin_snapshot(snapshot));
    }

    fn unpin_snapshot(&self, snapshot: StoreVolumeId) {
        if let Err(error) = self.node.unpin_replica(snapshot) {
            // It goes at the next start.
            tracing::warn!(%error, "a snapshot that is not needed any more stays");
        }
    }

    /// Answers a question about content that comes. Blocks.
    pub(super) fn receive_content(&self, from: NodeId, message: &Message) -> Option<Message> {
        if let Ok(question) = Question::decode(message) {
            let answer = self.take_step(from, &question);
            if answer.is_none() {
                self.transfers.refuse(from, question.transfer);
            }
            return Some(answer.unwrap_or(Answer::Refused).encode());
        }
        if is_lend(message) {
            return Some(lend(self.node.store(), message));
        }
        let question = ContentQuestion::decode(message).ok()?;
        let transfer = question.transfer();
        let receiving = self.receiving(from, transfer)?;
        let volume = receiving.lock().volume();
        // What other replicas have promised is not for content that comes anew.
        if matches!(question, ContentQuestion::Blocks(_)) && self.ledger.free_bytes(volume) < blocks_room() {
            tracing::warn!(%transfer, "content is refused while the store has no room");
            return Some(ContentAnswer::Refused(Refusal::OutOfSpace).encode());
        }
        let mut receiving = receiving.lock();
        if receiving.transfer() == transfer { receiving.handle(message) } else { None }
    }

    /// The transfer, if it is expected from this node.
    fn receiving(&self, from: NodeId, transfer: TransferId) -> Option<Arc<Mutex<Installing>>> {
        let volume = self.transfers.expected(from, transfer)?;
        let mut state = self.transfers.0.lock();
        if let Some(receiving) = state.receiving.get(&volume) {
            return Some(Arc::clone(receiving));
        }
        let receiving = Arc::new(Mutex::new(Installing::new(self.replica(volume)?, transfer)));
        state.receiving.insert(volume, Arc::clone(&receiving));
        Some(receiving)
    }

    fn take_step(&self, from: NodeId, question: &Question) -> Option<Answer> {
        let receiving = self.receiving(from, question.transfer)?;
        let mut receiving = receiving.lock();
        let Question { volume, transfer, step } = question;
        // It may have been cancelled while another step was taken.
        if receiving.volume() != *volume || self.transfers.expected(from, *transfer) != Some(*volume) {
            return None;
        }
        if matches!(step, Step::Begin { .. }) {
            // It may have been started again since another transfer.
            *receiving = Installing::new(self.replica(*volume)?, *transfer);
        }
        if receiving.transfer() != *transfer {
            return None;
        }
        receiving.take(&self.node, step)?;
        if matches!(step, Step::Install { .. }) {
            self.transfers.0.lock().expected.remove(transfer);
        }
        Some(Answer::Done)
    }
}

#[cfg(test)]
mod tests;
