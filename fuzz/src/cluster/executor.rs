//! What a replica wants done is done here, as well as the machine, the network and the service allow.

use net::replication::{
    Action, Appended, Base, Configuration, Epoch, Event, History, Lsn, Message, NodeId, Replica, Ticket, TransferId,
};

use super::bug::Bug;
use super::disk::{BLOCKS, Op};
use super::node::Receiving;
use super::world::{MS, SECOND, Sent, What, World};
use crate::model::Violation;

impl World {
    pub(super) fn execute(&mut self, slot: usize, actions: Vec<Action>) -> Result<(), Violation> {
        for action in actions {
            self.tell_trace(|| format!("#{slot} -> {action:?}"));
            self.carry_out(slot, action)?;
        }
        Ok(())
    }

    pub(super) fn carry_out(&mut self, slot: usize, action: Action) -> Result<(), Violation> {
        let generation = self.nodes[slot].generation;
        match action {
            Action::Journal { ticket, first, records } => {
                self.oracle.place(first, &records);
                self.ask_disk(slot, ticket, Op::Records(first, records));
            }
            Action::Truncate { ticket, beyond } => {
                let too_far = self.bug == Some(Bug::TruncatesTooFar) && beyond > self.nodes[slot].disk.live.floor;
                let beyond = if too_far { Lsn(beyond.0 - 1) } else { beyond };
                self.ask_disk(slot, ticket, Op::Truncate(beyond));
            }
            Action::Note { ticket, standing } => self.ask_disk(slot, ticket, Op::Note(standing)),
            Action::Sync { ticket } => self.ask_sync(slot, ticket),
            Action::ReadJournal { to, after, count_max, .. } => self.read_journal(slot, to, after, count_max),
            Action::Visible(lsn) => self.nodes[slot].visible = lsn,
            Action::AdmitRead(request) => {
                let delay = 20 + self.rng.below(300);
                self.at(delay, What::Look { slot, generation, request });
            }
            Action::Answer(request, outcome) => self.answer(slot, request, outcome)?,
            Action::Send(to, message) => self.send(slot, to, message),
            Action::Propose(next) => {
                let far = if self.rng.below(8) == 0 && !self.is_healed { self.rng.below(4 * SECOND) } else { 0 };
                let delay = self.service_delay() + far;
                self.at(delay, What::Proposal { slot, generation, next });
            }
            Action::FetchConfiguration => {
                let delay = self.service_delay();
                self.at(delay, What::Fetch { slot, generation });
            }
            Action::Opened { epoch, loss } => self.opened(slot, epoch, loss)?,
            Action::Closed => self.nodes[slot].opened = None,
            Action::Pin { node, at_most } => {
                let live = &self.nodes[slot].disk.live;
                let at = live.floor;
                if at <= at_most {
                    let image = live.base;
                    self.nodes[slot].pins.insert(node, (at, image));
                    self.at(MS, What::Tell { slot, generation, event: Event::Pinned { node, at } });
                }
            }
            Action::Unpin(node) => _ = self.nodes[slot].pins.remove(&node),
            Action::SendContent { to, transfer, base } => self.send_content(slot, to, transfer, base)?,
            Action::ReceiveContent { transfer, .. } => self.receive_content(slot, transfer),
            Action::Diverged(peer) => {
                return Err(Violation(format!("#{slot} and {peer:?} have diverged: {}", self.describe())));
            }
            Action::Flushable(_) | Action::Admit(_) | Action::CancelTransfer(_) => {}
        }
        Ok(())
    }

    pub(super) fn disk_delay(&mut self, slot: usize, usual: u64) -> u64 {
        let is_slow = self.nodes[slot].slow_until > self.now;
        let usual = 10 + self.rng.below(usual);
        if is_slow { usual * (1 + self.rng.below(600)) } else { usual }
    }

    pub(super) fn ask_disk(&mut self, slot: usize, ticket: Ticket, op: Op) {
        self.nodes[slot].disk.ask(ticket, op);
        let delay = self.disk_delay(slot, 200);
        let node = &mut self.nodes[slot];
        node.handed_at = node.handed_at.max(self.now + delay);
        let (delay, generation) = (node.handed_at - self.now, node.generation);
        self.at(delay, What::Handed { slot, generation, ticket });
    }

    pub(super) fn ask_sync(&mut self, slot: usize, ticket: Ticket) {
        let delay = self.disk_delay(slot, 2000);
        let node = &mut self.nodes[slot];
        node.synced_at = node.synced_at.max(node.handed_at).max(self.now) + delay;
        let (delay, generation) = (node.synced_at - self.now, node.generation);
        let fails = std::mem::take(&mut node.fails_sync);
        self.at(
            delay,
            if fails { What::SyncFails { slot, generation } } else { What::Synced { slot, generation, ticket } },
        );
    }

    pub(super) fn read_journal(&mut self, slot: usize, to: NodeId, after: Lsn, count_max: usize) {
        let node = &self.nodes[slot];
        let records: Vec<_> =
            node.disk.live.records.range(after.next()..).take(count_max).map(|(_, record)| record.clone()).collect();
        let reaches = node.disk.live.records.contains_key(&after.next());
        let generation = node.generation;
        if reaches {
            let delay = self.disk_delay(slot, 1000);
            self.at(delay, What::Tell { slot, generation, event: Event::JournalRead { to, after, records } });
        }
    }

    pub(super) fn service_delay(&self) -> u64 {
        500 + self.rng.below(if self.is_healed { 5 * MS } else { 40 * MS })
    }

    pub(super) fn proposal(&mut self, slot: usize, generation: u64, next: &Configuration) {
        let is_down = self.service.down_until > self.now || self.is_cut_off(slot);
        if is_down || !self.service.propose(next, self.bug != Some(Bug::ChangeNotCompared)) {
            let delay = self.service_delay();
            self.at(delay, What::Tell { slot, generation, event: Event::ProposalFailed });
            return;
        }
        self.note(slot, "configured");
        let next = self.service.now().clone();
        self.tell_trace(|| format!("= {next:?}"));
        for other in 0..self.nodes.len() {
            let far = if self.rng.below(4) == 0 && !self.is_healed { self.rng.below(3 * SECOND) } else { 0 };
            let is_told = self.is_healed || self.rng.below(10) > 0;
            if is_told && !self.is_cut_off(other) {
                let (generation, configuration) = (self.nodes[other].generation, next.clone());
                let delay = self.service_delay() + far;
                let event = Event::Configuration { configuration, is_fresh: false };
                self.at(delay, What::Tell { slot: other, generation, event });
            }
        }
    }

    pub(super) fn fetch(&mut self, slot: usize, generation: u64) {
        if self.service.down_until > self.now || self.is_cut_off(slot) {
            return;
        }
        let (delay, configuration) = (self.service_delay(), self.service.now().clone());
        self.at(delay, What::Tell { slot, generation, event: Event::Configuration { configuration, is_fresh: true } });
    }

    /// The node does not reach the service: its way there is cut.
    pub(super) fn is_cut_off(&self, slot: usize) -> bool {
        self.cut.get(&(slot, usize::MAX)).is_some_and(|until| *until > self.now)
    }

    pub(super) fn send(&mut self, slot: usize, to: NodeId, message: Message) {
        let from = self.nodes[slot].id;
        if let (Some(Bug::AckBeforeBackup), Message::Append(append)) = (self.bug, &message) {
            let held = Lsn(append.prev.lsn.0 + append.records.len() as u64);
            let (epoch, sent, resend_after) = (append.epoch, append.sent, None);
            let lie = Appended { epoch, from: append.to, sent, granted: false, held, synced: Lsn(0), resend_after };
            self.at(1, What::Deliver { to: from, from: to, message: Message::Appended(lie) });
        }
        let Some(other) = self.slot_of(to) else { return };
        let is_cut = self.cut.get(&(slot, other)).is_some_and(|until| *until > self.now);
        if is_cut || self.rng.below(100) < self.loss_percent {
            return;
        }
        let copies = 1 + u64::from(self.rng.below(100) < self.repeat_percent);
        for _ in 0..copies {
            let late = self.rng.below(100) < self.late_percent;
            let delay = 40 + self.rng.below(if late { 4 * SECOND } else { 400 });
            self.at(delay, What::Deliver { to, from, message: message.clone() });
        }
    }

    pub(super) fn deliver(&mut self, to: NodeId, mut from: NodeId, mut message: Message) -> Result<(), Violation> {
        let Some(slot) = self.slot_of(to) else { return Ok(()) };
        if self.bug == Some(Bug::EpochIgnored)
            && let Message::Append(append) = &mut message
            && let Some(now) = self.nodes[slot].replica.as_ref().and_then(Replica::configuration)
            && append.epoch < now.epoch
        {
            (append.epoch, from) = (now.epoch, now.primary);
        }
        self.step(slot, Event::Message { from, message })
    }

    pub(super) fn send_content(
        &mut self,
        slot: usize,
        to: NodeId,
        transfer: TransferId,
        base: Base,
    ) -> Result<(), Violation> {
        self.report.transfers += 1;
        self.nodes[slot].holds_until = self.now + 3 * SECOND;
        let node = &self.nodes[slot];
        let Some(replica) = &node.replica else { return Ok(()) };
        let (from, generation) = (node.id, node.generation);
        let live = &node.disk.live;
        let at = replica.flushable().max(live.floor);
        // What a receiver is going to install is in runs.
        self.oracle.flushed_to_runs(live, live.floor, at)?;
        let image = live.image_at(at);
        let mut history = live.history.clone();
        history.truncate(at);
        let sent = match (base, node.pins.get(&to)) {
            (Base::Pinned(since), Some((pinned, before))) if *pinned == since => {
                let differs = std::array::from_fn(|block| (image[block] != before[block]).then_some(image[block]));
                Sent::Since(since, differs)
            }
            _ => Sent::All(image),
        };
        let sent = if self.rng.below(4) == 0 { Sent::Damaged } else { sent };
        let is_lost = self.rng.below(100) < self.loss_percent || at == Lsn(0);
        let delay = 10 * MS + self.rng.below(400 * MS);
        if is_lost || matches!(sent, Sent::Damaged) {
            let event = Event::TransferFailed(transfer);
            self.at(delay + SECOND, What::Tell { slot, generation, event });
        }
        if !is_lost {
            self.at(delay, What::Content { to, from, transfer, history, sent });
        }
        Ok(())
    }

    pub(super) fn receive_content(&mut self, slot: usize, transfer: TransferId) {
        let node = &mut self.nodes[slot];
        node.receiving = Some(Receiving { transfer });
    }

    pub(super) fn content(
        &mut self,
        to: NodeId,
        from: NodeId,
        transfer: TransferId,
        history: History,
        sent: Sent,
    ) -> Result<(), Violation> {
        let Some(slot) = self.slot_of(to) else { return Ok(()) };
        let is_cut =
            self.slot_of(from).is_none_or(|other| self.cut.get(&(other, slot)).is_some_and(|it| *it > self.now));
        let node = &self.nodes[slot];
        if is_cut || node.replica.is_none() || node.receiving.is_none_or(|it| it.transfer != transfer) {
            if let Some(sender) = self.slot_of(from) {
                let generation = self.nodes[sender].generation;
                self.at(SECOND, What::Tell { slot: sender, generation, event: Event::TransferFailed(transfer) });
            }
            return Ok(());
        }
        let node = &mut self.nodes[slot];
        node.receiving = None;
        let unverified = self.bug == Some(Bug::HealthyBeforeVerified);
        let image = match sent {
            Sent::All(image) => image,
            Sent::Since(since, differs) => {
                let log = &node.disk.live;
                let before = log.image_at(since.max(log.floor));
                std::array::from_fn(|block| differs[block].unwrap_or(before[block]))
            }
            Sent::Damaged if unverified => [u64::MAX; BLOCKS],
            Sent::Damaged => {
                // Extents have come, and one does not match its fingerprint.
                node.disk.tear();
                return self.step(slot, Event::TransferFailed(transfer));
            }
        };
        let at = history.end().lsn;
        node.disk.install(history.clone(), image);
        if !unverified {
            self.oracle.content_is_right(at, &image)?;
        }
        self.step(slot, Event::Installed { transfer, history })
    }

    pub(super) fn opened(&mut self, slot: usize, epoch: Epoch, loss: Epoch) -> Result<(), Violation> {
        self.note(slot, "opened");
        self.nodes[slot].opened = Some(epoch);
        if loss > self.loss {
            self.loss = loss;
            if self.cuts == 0 {
                return Err(Violation("a loss without a power cut".into()));
            }
            self.report.losses += 1;
            let pending: Vec<_> = self.clients.iter().filter_map(|it| it.call).map(|it| (it.kind, it.called)).collect();
            self.oracle.survived_loss(&self.nodes[slot].disk.live, &pending)?;
        }
        Ok(())
    }
}
