//! Clients: each has one request under way, and asks around for who serves it.

use std::sync::Arc;

use blockdev::replica::pending::Overlay;
use lsm_store::read::ReadData;
use net::replication::{Outcome, Refusal};

use super::bug::Bug;
use super::content::{self, CELL_BYTES, CELLS_MAX, Change};
use super::process::Waiting;
use super::world::{MS, SECOND, What, World};
use crate::model::Violation;

/// What a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    /// These records are to be ordered.
    Order(Vec<u64>),
    Flush,
    Read {
        first: u64,
        count: u64,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Counts attempts at it too.
    pub(super) request: u64,
    pub(super) wish: Wish,
    pub(super) called: u64,
}

#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) call: Option<Call>,
    /// The slot it asks.
    asks: usize,
}

/// A read that the store is about to answer.
#[derive(Clone, Debug)]
pub(super) struct Looking {
    client: usize,
    request: u64,
    /// Which start of the replica it began with.
    start: u64,
    overlay: Overlay,
}

impl World {
    fn call(&self, client: usize, request: u64) -> Option<&Call> {
        self.clients[client].call.as_ref().filter(|call| call.request == request)
    }

    pub(super) fn act(&mut self, client: usize) {
        if self.clients[client].call.is_some() || self.is_ending() {
            return;
        }
        let wish = match self.rng.below(40) {
            0..=17 => self.writes(),
            18..=34 => {
                let first = self.rng.below(self.cells);
                Wish::Read { first, count: 1 + self.rng.below(8).min(self.cells - first - 1) }
            }
            35 | 36 => Wish::Flush,
            37 => self.ordered(|world| {
                let first = world.rng.below(world.cells);
                Change::Zero { first, count: 1 + world.rng.below(12) }
            }),
            _ => self.administration(),
        };
        self.wish(client, wish);
    }

    fn writes(&mut self) -> Wish {
        let numbers = (0..1 + self.rng.below(3)).map(|_| {
            // Some are on their way while the volume is cut.
            let first = self.rng.below(if self.rng.below(8) == 0 { CELLS_MAX } else { self.cells });
            let most = if self.rng.below(8) == 0 { 24 } else { 5 };
            self.number(Change::Write { first, count: 1 + self.rng.below(most) })
        });
        Wish::Order(numbers.collect())
    }

    fn ordered(&mut self, change: impl FnOnce(&Self) -> Change) -> Wish {
        let change = change(self);
        Wish::Order(vec![self.number(change)])
    }

    /// What somebody does who looks after the volume.
    fn administration(&mut self) -> Wish {
        let snapshots: Vec<u64> = self
            .order
            .state(self.order.end())
            .map(|state| state.snapshots.keys().copied().collect())
            .unwrap_or_default();
        let one = (!snapshots.is_empty()).then(|| snapshots[self.rng.below(snapshots.len() as u64) as usize]);
        let change = match (self.rng.below(8), one) {
            (0, _) => {
                let cells = 8 + self.rng.below(CELLS_MAX - 8);
                Change::Resize { cells }
            }
            (1 | 2, Some(to)) => Change::RollBack { to },
            (3 | 4, Some(of)) => Change::RemoveSnapshot { of },
            (_, Some(of)) if snapshots.len() > 4 => Change::RemoveSnapshot { of },
            _ => Change::Snapshot,
        };
        self.ordered(|_| change)
    }

    /// A record's number.
    pub(super) fn number(&mut self, change: Change) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.order.ask(number, change, self.now);
        number
    }

    pub(super) fn wish(&mut self, client: usize, wish: Wish) {
        let called = self.now;
        let request = self.next_request(client);
        self.clients[client].call = Some(Call { request, wish, called });
        self.at(30, What::Arrive { client, request });
    }

    fn next_request(&mut self, client: usize) -> u64 {
        let request = self.next_request;
        self.next_request += 1;
        let delay = SECOND + self.rng.below(6 * SECOND);
        self.at(delay, What::GiveUp { client, request });
        request
    }

    pub(super) fn arrive(&mut self, client: usize, request: u64) -> Result<(), Violation> {
        let Some(call) = self.call(client, request).cloned() else { return Ok(()) };
        let slot = self.clients[client].asks;
        if self.machines[slot].paused_until > self.now {
            let delay = self.machines[slot].paused_until - self.now;
            self.at(delay, What::Arrive { client, request });
            return Ok(());
        }
        let Some(replica) = self.replica(slot) else {
            self.ask_elsewhere(client, None);
            return Ok(());
        };
        let begun = match &call.wish {
            Wish::Read { first, count } => return self.begin_read(slot, (client, request), (*first, *count)),
            Wish::Flush => replica.begin_flush(None),
            Wish::Order(numbers) => {
                let drafts: Vec<_> =
                    numbers.iter().map(|number| content::draft(*number, self.order.change(*number))).collect();
                replica.begin_write(&drafts, None)
            }
        };
        match (begun, self.running_mut(slot)) {
            (Some(call), Some(running)) => running.waiting.push(Waiting { client, request, call }),
            _ => self.ask_elsewhere(client, None),
        }
        self.wake(slot);
        self.settle(slot)
    }

    fn begin_read(
        &mut self,
        slot: usize,
        (client, request): (usize, u64),
        (first, count): (u64, u64),
    ) -> Result<(), Violation> {
        let Some(replica) = self.replica(slot) else { return Ok(()) };
        match replica.begin_read(first * CELL_BYTES, count * CELL_BYTES) {
            None => self.ask_elsewhere(client, None),
            Some(Overlay { barrier: Some(_), .. }) => self.at(20 * MS, What::Arrive { client, request }),
            Some(overlay) => {
                let looking = Looking { client, request, start: self.starts[slot], overlay };
                // Some wait for long: meanwhile another node may take over.
                let long = if self.rng.below(16) == 0 { self.rng.below(3 * SECOND) } else { 0 };
                let delay = 20 + long + self.disk_delay(slot, 600);
                self.on(slot, delay, What::Look(looking));
            }
        }
        self.settle(slot)
    }

    /// The store gives what a read wants.
    pub(super) fn look_up(&mut self, slot: usize, looking: Looking) -> Result<(), Violation> {
        let Some(Call { wish: Wish::Read { first, count }, .. }) = self.call(looking.client, looking.request) else {
            return Ok(());
        };
        let (offset, len) = (first * CELL_BYTES, (count * CELL_BYTES) as usize);
        let Some(replica) = self.replica(slot).filter(|_| looking.start == self.starts[slot]) else { return Ok(()) };
        match replica.shared().volume.read(offset, len) {
            Ok(data) => {
                let delay = 20 + self.rng.below(300);
                self.on(slot, delay, What::Judge(looking, data));
            }
            // It does not exist any more where it was cut off meanwhile.
            Err(error) => {
                self.tell_trace(|| format!("#{slot} read: {error}"));
                self.end_call(looking.client);
            }
        }
        self.settle(slot)
    }

    /// A read has what it wants: may it be answered?
    pub(super) fn judge(&mut self, slot: usize, looking: &Looking, data: ReadData) -> Result<(), Violation> {
        let Looking { client, request, start, overlay } = looking;
        let Some(Call { wish: Wish::Read { first, .. }, called, .. }) = self.call(*client, *request).cloned() else {
            return Ok(());
        };
        let Some(replica) = self.replica(slot).filter(|_| *start == self.starts[slot]) else { return Ok(()) };
        if !replica.holds(overlay) && self.bug != Some(Bug::ReadNotHeld) {
            self.ask_elsewhere(*client, Some(slot));
            return Ok(());
        }
        let data =
            if self.bug == Some(Bug::OverlayIgnored) { data } else { overlay.lay_over(data, first * CELL_BYTES) };
        let mut bytes = vec![0; data.len()];
        data.copy_to(&mut bytes);
        let values = content::values_of(first, &bytes)
            .map_err(|why| Violation(format!("a read of {called} by #{slot}: {why}")))?;
        self.tell_trace(|| format!("client {client} read {first}.. of {called} by #{slot}: {values:?}"));
        self.order.read(first, values, called, self.now);
        self.served();
        self.end_call(*client);
        Ok(())
    }

    /// The request was not carried out: it is made again.
    fn ask_elsewhere(&mut self, client: usize, hint: Option<usize>) {
        let anybody = self.rng.below(self.machines.len() as u64) as usize;
        self.clients[client].asks = hint.unwrap_or(anybody);
        let request = self.next_request(client);
        if let Some(call) = &mut self.clients[client].call {
            call.request = request;
        }
        let delay = 2 * MS + self.rng.below(20 * MS);
        self.at(delay, What::Arrive { client, request });
    }

    pub(super) fn reply(&mut self, client: usize, request: u64, outcome: Outcome) -> Result<(), Violation> {
        let Some(call) = self.call(client, request).cloned() else { return Ok(()) };
        let is_one = !matches!(&call.wish, Wish::Order(numbers) if numbers.len() > 1);
        match outcome {
            Outcome::Refused(Refusal::NotPrimary(hint)) if is_one => {
                let hint = hint.and_then(|id| self.slot_of(id));
                self.ask_elsewhere(client, hint);
            }
            Outcome::Refused(_) if is_one => {
                let same = Some(self.clients[client].asks).filter(|_| self.rng.below(4) > 0);
                self.ask_elsewhere(client, same);
            }
            // Of several records some may have been ordered.
            Outcome::Refused(_) | Outcome::Unknown => {
                self.clients[client].asks = self.rng.below(self.machines.len() as u64) as usize;
                self.end_call(client);
            }
            Outcome::Done => {
                match &call.wish {
                    Wish::Order(numbers) => {
                        self.order.answer(numbers, call.called, self.now)?;
                        numbers.iter().for_each(|number| self.note_size(*number));
                    }
                    Wish::Flush => self.order.flush(call.called),
                    Wish::Read { .. } => {}
                }
                self.served();
                self.end_call(client);
            }
        }
        Ok(())
    }

    /// Clients ask for what there is.
    fn note_size(&mut self, number: u64) {
        match self.order.change(number) {
            Change::Resize { .. } | Change::RollBack { .. } => {
                let state = self.order.state(self.order.end()).map(Arc::clone);
                self.cells = state.map_or(self.cells, |state| state.cells.len() as u64);
            }
            _ => {}
        }
    }

    fn served(&mut self) {
        self.report.pause_us = self.report.pause_us.max(self.now - self.answered_at);
        self.answered_at = self.now;
    }

    pub(super) fn give_up(&mut self, client: usize, request: u64) {
        if self.call(client, request).is_some() {
            self.clients[client].asks = self.rng.below(self.machines.len() as u64) as usize;
            self.end_call(client);
        }
    }

    fn end_call(&mut self, client: usize) {
        let call = self.clients[client].call.take();
        self.tell_trace(|| format!("client {client} ends {call:?}"));
        let delay = self.rng.below(if self.rng.below(10) == 0 { 200 * MS } else { 8 * MS });
        self.at(delay, What::Act { client });
    }
}
