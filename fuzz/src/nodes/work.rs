//! The work of a node's threads, done piece by piece, and what comes of it.

use std::sync::Arc;

use blockdev::replica::{LocalReplica, Turn};
use net::replication::{Event, Lsn, Outcome, Role};
use net::transport::{Channel, Link, Received};

use super::bug::Bug;
use super::content::{self, CELL_BYTES};
use super::machine::Death;
use super::network::SERVICE;
use super::outbox::Ask;
use super::process::{Process, Running, VOLUME};
use super::world::{MS, SECOND, What, World};
use crate::model::Violation;

/// After so long without work the applier has the log know what the store has.
const IDLE_US: u64 = 2 * SECOND;

/// Between two looks at the store's background work.
const STORE_US: u64 = 80 * MS;

impl World {
    pub(super) fn running(&self, slot: usize) -> Option<(&Process, &Running)> {
        let process = self.processes[slot].as_ref()?;
        Some((process, process.running.as_ref()?))
    }

    pub(super) fn running_mut(&mut self, slot: usize) -> Option<&mut Running> {
        self.processes[slot].as_mut()?.running.as_mut()
    }

    pub(super) fn replica(&self, slot: usize) -> Option<Arc<LocalReplica>> {
        self.running(slot).map(|(_, running)| Arc::clone(&running.replica))
    }

    pub(super) fn disk_delay(&self, slot: usize, usual: u64) -> u64 {
        let usual = 10 + self.rng.below(usual);
        let is_slow = self.machines[slot].slow_until > self.now;
        if is_slow { usual * (1 + self.rng.below(600)) } else { usual }
    }

    /// Tells a replica something.
    pub(super) fn tell(&mut self, slot: usize, event: Event) {
        if let Some(replica) = self.replica(slot) {
            replica.tell(event);
            self.wake(slot);
        }
    }

    /// A message has come for a replica.
    pub(super) fn deliver(&mut self, slot: usize, from: usize, message: net::envelope::Message) {
        let link = Link { peer: self.machines[from].id, session: 1 };
        if let Some(replica) = self.replica(slot) {
            replica.receive(Received::new(link, Channel::journal(VOLUME.0), message, None));
            self.wake(slot);
        }
    }

    /// Has the replica's thread work soon.
    pub(super) fn wake(&mut self, slot: usize) {
        let at = self.now + self.disk_delay(slot, 150);
        self.execute_at(slot, at);
    }

    fn execute_at(&mut self, slot: usize, at: u64) {
        if self.running_mut(slot).is_some_and(|running| running.executes.bring_forward(at)) {
            self.on(slot, at - self.now, What::Execute);
        }
    }

    pub(super) fn execute(&mut self, slot: usize) -> Result<(), Violation> {
        let now = self.now;
        if !self.running_mut(slot).is_some_and(|running| running.executes.is(now)) {
            return Ok(());
        }
        if let Some(replica) = self.replica(slot) {
            if let Some(mut hands) = replica.hands() {
                hands.execute();
            }
            if self.bug == Some(Bug::AppliesAlone) {
                let (shared, all) = (replica.shared(), Lsn(u64::MAX));
                shared.pending.show(all);
                shared.applying.raise(all);
            }
        }
        self.settle(slot)
    }

    pub(super) fn apply(&mut self, slot: usize) -> Result<(), Violation> {
        let now = self.now;
        let Some(running) = self.running_mut(slot) else { return Ok(()) };
        if !running.applies.is(now) {
            return Ok(());
        }
        let was_idle = running.idle_since.is_some_and(|since| now >= since + IDLE_US);
        let replica = Arc::clone(&running.replica);
        let turn = replica.hands().map_or(Turn::Ended, |mut hands| hands.apply(was_idle));
        let pause = match turn {
            Turn::Ended => return self.settle(slot),
            Turn::NoRoom => 200 * MS,
            Turn::Worked => self.disk_delay(slot, 3000),
            // It is woken when there is something, or has been idle for long.
            Turn::Idle => IDLE_US,
        };
        if let Some(running) = self.running_mut(slot) {
            let since = running.idle_since.filter(|_| !was_idle).unwrap_or(now);
            running.idle_since = (turn == Turn::Idle).then_some(since);
        }
        self.apply_at(slot, now + pause);
        let pending = &replica.shared().pending;
        let tried = if turn == Turn::NoRoom { pending.visible() } else { pending.applied() };
        let attempted = &mut self.machines[slot].attempted;
        *attempted = (*attempted).max(tried);
        if turn == Turn::Worked {
            self.check_store(slot)?;
        }
        self.settle(slot)
    }

    fn apply_at(&mut self, slot: usize, at: u64) {
        if self.running_mut(slot).is_some_and(|running| running.applies.bring_forward(at)) {
            self.on(slot, at - self.now, What::Apply);
        }
    }

    pub(super) fn sync(&mut self, slot: usize) -> Result<(), Violation> {
        let now = self.now;
        if self.running_mut(slot).is_some_and(|running| running.syncs.is(now))
            && let Some(replica) = self.replica(slot)
            && let Some(mut hands) = replica.hands()
        {
            hands.sync();
        }
        self.settle(slot)
    }

    /// The store's background work, and whether it has stopped for good: then the process is of no use any more.
    pub(super) fn upkeep(&mut self, slot: usize) -> Result<(), Violation> {
        let Some(process) = &self.processes[slot] else { return Ok(()) };
        let store = Arc::clone(process.node.store());
        for _ in 0..1 + self.rng.below(3) {
            match store.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.tell_trace(|| format!("#{slot} background work: {error}"));
                    break;
                }
            }
        }
        self.settle(slot)?;
        if self.processes[slot].is_some() && store.status().stopped.is_some() {
            self.note(slot, "the store has stopped");
            self.die(slot, Death::Kill);
        }
        let delay = STORE_US + self.rng.below(STORE_US);
        self.on(slot, delay, What::Upkeep);
        Ok(())
    }

    /// Takes up what came of work on a node.
    pub(super) fn settle(&mut self, slot: usize) -> Result<(), Violation> {
        if let Some(death) = self.machines[slot].death() {
            self.report.deaths += u64::from(self.processes[slot].is_some());
            self.die(slot, death);
            return Ok(());
        }
        let Some((_, running)) = self.running(slot) else { return Ok(()) };
        let (replica, outbox) = (Arc::clone(&running.replica), Arc::clone(&running.outbox));
        self.look(slot, &replica)?;
        self.take_outcomes(slot)?;
        for ask in outbox.take() {
            self.tell_trace(|| describe(slot, &ask));
            self.take_ask(slot, ask);
        }
        let now = self.now;
        let (deadline, has_input, wants_sync) = match replica.hands() {
            Some(hands) => (hands.protocol().deadline(), hands.has_input(), hands.wants_sync()),
            None => return Ok(()),
        };
        let due = self.machines[slot].ticks.when(deadline).max(now + 1);
        self.execute_at(slot, due);
        if has_input {
            self.wake(slot);
        }
        let delay = self.disk_delay(slot, 2000);
        if wants_sync && self.running_mut(slot).is_some_and(|running| running.syncs.bring_forward(now + delay)) {
            self.on(slot, delay, What::Sync);
        }
        let pending = &replica.shared().pending;
        if pending.visible() > pending.applied() {
            let delay = self.disk_delay(slot, 2000);
            self.apply_at(slot, now + delay);
        }
        Ok(())
    }

    fn take_ask(&mut self, slot: usize, ask: Ask) {
        match ask {
            Ask::Send(to, message) => {
                let Some(other) = self.slot_of(to) else { return };
                for delay in self.network.delays(slot, other, self.now, &self.rng) {
                    self.at(delay, What::Deliver { to: other, from: slot, message: message.clone() });
                }
            }
            Ask::Propose(next) => {
                let far = if self.rng.below(8) == 0 && !self.is_healed { self.rng.below(4 * SECOND) } else { 0 };
                let delay = self.service_delay() + far;
                self.on(slot, delay, What::Proposal { next });
            }
            Ask::Fetch => {
                let delay = self.service_delay();
                self.on(slot, delay, What::Fetch);
            }
            Ask::SendContent(sending) => {
                let (delay, since) = (self.rng.below(5 * MS), self.now);
                self.on(slot, delay, What::SendContent { sending, since });
            }
            Ask::ReceiveContent(from, transfer) => {
                if let Some(process) = &mut self.processes[slot] {
                    process.transfers.expected.insert(transfer, from);
                }
            }
            Ask::Cancel(transfer) => self.cancel(slot, transfer),
            Ask::Pin(node, at_most) => {
                let delay = self.rng.below(20 * MS);
                self.on(slot, delay, What::Pin { node, at_most });
            }
            Ask::Unpin(node) => {
                let delay = self.rng.below(20 * MS);
                self.on(slot, delay, What::Unpin { node });
            }
        }
    }

    /// What the replica's log has, and what it says that all have.
    fn look(&mut self, slot: usize, replica: &LocalReplica) -> Result<(), Violation> {
        let Some(hands) = replica.hands() else { return Ok(()) };
        let (protocol, log) = (hands.protocol(), hands.log());
        let Some(running) = self.processes[slot].as_mut().and_then(|it| it.running.as_mut()) else { return Ok(()) };
        let (history, before) = (protocol.history(), &running.history);
        if history != before {
            let mut after = history.shared_with(before).lsn.max(Lsn(log.start().0 - 1));
            while after < history.end().lsn {
                let Ok(records) = log.reader().read(after, 64, 1 << 20) else { return Ok(()) };
                if records.is_empty() {
                    break;
                }
                for record in &records {
                    after = after.next();
                    self.order.see(after, record)?;
                }
            }
            running.history = history.clone();
        }
        let Some(configuration) = protocol.configuration() else { return Ok(()) };
        if configuration.loss > self.order.loss() && protocol.role() == Role::Primary {
            if self.cuts == 0 {
                return Err(Violation("a loss without a power cut".into()));
            }
            self.report.losses += 1;
            self.order.lose(configuration.loss, history)?;
        }
        if configuration.loss == self.order.loss() {
            let committed = protocol.committed().min(history.end().lsn);
            self.order.commit(history, committed)?;
        }
        Ok(())
    }

    fn take_outcomes(&mut self, slot: usize) -> Result<(), Violation> {
        let Some(running) = self.running_mut(slot) else { return Ok(()) };
        let ended: Vec<_> = running.waiting.extract_if(.., |waiting| waiting.call.outcome().is_some()).collect();
        for waiting in ended {
            let outcome = waiting.call.outcome().unwrap_or(Outcome::Unknown);
            if outcome == Outcome::Done {
                self.acknowledges(slot)?;
            }
            let (client, request) = (waiting.client, waiting.request);
            let delay = 20 + self.rng.below(200);
            self.at(delay, What::Reply { client, request, outcome });
        }
        Ok(())
    }

    /// In an epoch one start of one node alone acknowledges.
    fn acknowledges(&mut self, slot: usize) -> Result<(), Violation> {
        let Some(replica) = self.replica(slot) else { return Ok(()) };
        let Some(hands) = replica.hands() else { return Ok(()) };
        let (Some(configuration), Role::Primary) = (hands.protocol().configuration(), hands.protocol().role()) else {
            return Ok(());
        };
        let who = (slot, self.generations[slot], self.starts[slot]);
        let first = *self.acknowledgers.entry(configuration.epoch).or_insert(who);
        if first == who {
            return Ok(());
        }
        Err(Violation(format!("{first:?} and {who:?} both acknowledge in {:?}", configuration.epoch)))
    }

    /// What the store has must be of the order.
    pub(super) fn check_store(&self, slot: usize) -> Result<(), Violation> {
        let Some((_, running)) = self.running(slot) else { return Ok(()) };
        let shared = running.replica.shared();
        if self.machines[slot].is_doomed() || running.replica.has_failed() {
            return Ok(());
        }
        let applied = shared.pending.applied();
        let state = self.order.applied(applied)?;
        // After a crash it may have some of what it is about to be given.
        if applied < self.machines[slot].attempted {
            return Ok(());
        }
        let size = shared.volume.size_bytes();
        let Ok(data) = shared.volume.read(0, size as usize) else { return Ok(()) };
        let mut bytes = vec![0; size as usize];
        data.copy_to(&mut bytes);
        let values = content::values_of(0, &bytes).map_err(|why| Violation(format!("the store of #{slot}: {why}")))?;
        if values.len() as u64 * CELL_BYTES == size && values == state.cells {
            return Ok(());
        }
        Err(Violation(format!("the store of #{slot} holds {values:?} at {applied:?} and should {:?}", state.cells)))
    }

    /// A process ends, be it with its machine, and is started again.
    pub(super) fn die(&mut self, slot: usize, death: Death) {
        if self.processes[slot].is_none() {
            return;
        }
        // With a member gone for good, another one that loses its tail may be more than a volume can stand without help.
        let is_short = self.service.now().members.iter().any(|member| self.slot_of(member.node).is_none());
        let death = if is_short { Death::Kill } else { death };
        self.note(slot, if death == Death::PowerCut { "power cut" } else { "kill" });
        self.cuts += u64::from(death == Death::PowerCut);
        self.note_attempted(slot);
        self.machines[slot].die(death, &self.rng, self.bug);
        self.generations[slot] += 1;
        if let Some(process) = self.processes[slot].take() {
            self.forget_waiting(process.running);
        }
        let delay = 10 * MS + self.rng.below(3 * SECOND);
        self.at(delay, What::Start { slot });
    }

    /// The applier may be in the middle of something.
    pub(super) fn note_attempted(&mut self, slot: usize) {
        if let Some(replica) = self.replica(slot) {
            let attempted = &mut self.machines[slot].attempted;
            *attempted = (*attempted).max(replica.shared().pending.visible());
        }
    }

    /// Requests end with the replica that had them.
    pub(super) fn forget_waiting(&mut self, running: Option<Running>) {
        for waiting in running.into_iter().flat_map(|running| running.waiting) {
            let (client, request, outcome) = (waiting.client, waiting.request, Outcome::Unknown);
            let delay = self.rng.below(2 * SECOND);
            self.at(delay, What::Reply { client, request, outcome });
        }
    }

    pub(super) fn service_delay(&self) -> u64 {
        500 + self.rng.below(if self.is_healed { 5 * MS } else { 40 * MS })
    }

    pub(super) fn reaches_service(&self, slot: usize) -> bool {
        self.service.down_until <= self.now && !self.network.is_cut(slot, SERVICE, self.now)
    }
}

fn describe(slot: usize, ask: &Ask) -> String {
    match ask {
        Ask::Send(to, message) => match net::replication::wire::decode(message) {
            Ok(message) => format!("#{slot} -> {to:?}: {}", short(&message)),
            Err(error) => format!("#{slot} -> {to:?}: {error}"),
        },
        ask => format!("#{slot} -> {ask:?}"),
    }
}

fn short(message: &net::replication::Message) -> String {
    match message {
        net::replication::Message::Append(append) => {
            let numbers: Vec<_> = append.records.iter().map(content::number).collect();
            let (prev, committed, flushable) = (append.prev, append.committed, append.flushable);
            format!("Append {:?} {prev:?} {numbers:?} committed {committed:?} flushable {flushable:?}", append.epoch)
        }
        message => format!("{message:?}"),
    }
}
