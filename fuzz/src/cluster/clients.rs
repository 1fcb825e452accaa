//! Clients: each has one operation under way, and asks around for who serves it.

use net::replication::{Event, Outcome, Refusal, RequestId, Role};

use super::bug::Bug;
use super::disk::{BLOCKS, payload};
use super::oracle::{Done, Kind};
use super::world::{MS, SECOND, What, World};
use crate::model::Violation;

#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) request: RequestId,
    pub(super) kind: Kind,
    pub(super) called: u64,
    /// What a read found, for it to be answered with.
    pub(super) found: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) call: Option<Call>,
    /// The slot it asks.
    pub(super) asks: usize,
}

impl Client {
    pub(super) fn new() -> Self {
        Self { call: None, asks: 0 }
    }
}

impl World {
    pub(super) fn look(&mut self, slot: usize, generation: u64, request: RequestId) -> Result<(), Violation> {
        let node = &self.nodes[slot];
        if !self.is_current(slot, generation) {
            return Ok(());
        }
        if node.paused_until > self.now {
            let delay = node.paused_until - self.now;
            self.at(delay, What::Look { slot, generation, request });
            return Ok(());
        }
        let seen = if self.bug == Some(Bug::ReadUncommitted) { node.disk.live.end() } else { node.visible };
        let image = node.disk.live.image_at(seen);
        if let Some(call) = self.requests.get(&request).and_then(|client| self.clients[*client].call.as_mut())
            && let Kind::Read { block } = call.kind
            && call.request == request
        {
            call.found = Some(image[block]);
        }
        let delay = 20 + self.rng.below(300);
        self.at(delay, What::Tell { slot, generation, event: Event::ReadDone { request } });
        Ok(())
    }

    pub(super) fn answer(&mut self, slot: usize, request: RequestId, outcome: Outcome) -> Result<(), Violation> {
        let Some(client) = self.requests.get(&request).copied() else { return Ok(()) };
        let mut outcome = outcome;
        let call = self.clients[client].call.filter(|call| call.request == request);
        if let (Some(Bug::ReadWithoutLease), Outcome::Refused(Refusal::NotReady), Some(call)) =
            (self.bug, outcome, call)
            && let Kind::Read { block } = call.kind
        {
            let node = &self.nodes[slot];
            let found = node.disk.live.image_at(node.visible)[block];
            self.clients[client].call = Some(Call { found: Some(found), ..call });
            outcome = Outcome::Done;
        }
        if outcome == Outcome::Done
            && let Some(replica) = &self.nodes[slot].replica
            && let (Some(configuration), Role::Primary) = (replica.configuration(), replica.role())
        {
            let epoch = configuration.epoch;
            self.oracle.acknowledges(epoch, slot, self.nodes[slot].generation)?;
        }
        let delay = 20 + self.rng.below(200);
        self.at(delay, What::Reply { client, request, outcome });
        Ok(())
    }

    pub(super) fn act(&mut self, client: usize) {
        if self.clients[client].call.is_some() || self.has_served_enough() {
            return;
        }
        let block = self.rng.below(BLOCKS as u64) as usize;
        let kind = match self.rng.below(20) {
            0..=9 => {
                self.next_value += 1;
                Kind::Write { block, value: self.next_value }
            }
            10..=17 => Kind::Read { block },
            _ => Kind::Flush,
        };
        let request = self.new_request(client);
        self.clients[client].call = Some(Call { request, kind, called: self.now, found: None });
        self.at(30, What::Arrive { client, request });
    }

    pub(super) fn new_request(&mut self, client: usize) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.requests.insert(request, client);
        let delay = SECOND + self.rng.below(6 * SECOND);
        self.at(delay, What::GiveUp { client, request });
        request
    }

    pub(super) fn arrive(&mut self, client: usize, request: RequestId) -> Result<(), Violation> {
        let Some(call) = self.clients[client].call.filter(|call| call.request == request) else { return Ok(()) };
        let slot = self.clients[client].asks;
        if self.nodes[slot].replica.is_none() {
            self.ask_elsewhere(client, request);
            return Ok(());
        }
        let event = match call.kind {
            Kind::Write { block, value } => {
                Event::Write { request, payload: payload(block, value), room: 0, pause: None }
            }
            Kind::Read { .. } => Event::Read { request },
            Kind::Flush => Event::Flush { request },
        };
        self.step(slot, event)
    }

    /// The request was not carried out: it is made again, of somebody else.
    pub(super) fn ask_elsewhere(&mut self, client: usize, request: RequestId) {
        self.requests.remove(&request);
        self.clients[client].asks = self.rng.below(self.nodes.len() as u64) as usize;
        let renewed = self.new_request(client);
        if let Some(call) = &mut self.clients[client].call {
            (call.request, call.found) = (renewed, None);
        }
        let delay = 2 * MS + self.rng.below(20 * MS);
        self.at(delay, What::Arrive { client, request: renewed });
    }

    pub(super) fn reply(&mut self, client: usize, request: RequestId, outcome: Outcome) {
        let Some(call) = self.clients[client].call.filter(|call| call.request == request) else { return };
        match outcome {
            Outcome::Refused(Refusal::NotPrimary(hint)) => {
                self.ask_elsewhere(client, request);
                if let Some(slot) = hint.and_then(|id| self.slot_of(id)) {
                    self.clients[client].asks = slot;
                }
            }
            Outcome::Refused(_) => {
                let asks = self.clients[client].asks;
                self.ask_elsewhere(client, request);
                if self.rng.below(4) > 0 {
                    self.clients[client].asks = asks;
                }
            }
            Outcome::Unknown => self.end_call(client, None),
            Outcome::Done => {
                self.report.pause_us = self.report.pause_us.max(self.now - self.answered_at);
                self.answered_at = self.now;
                self.end_call(client, Some(call.found));
            }
        }
    }

    pub(super) fn give_up(&mut self, client: usize, request: RequestId) {
        if self.clients[client].call.is_some_and(|call| call.request == request) {
            self.clients[client].asks = self.rng.below(self.nodes.len() as u64) as usize;
            self.end_call(client, None);
        }
    }

    pub(super) fn end_call(&mut self, client: usize, done: Option<Option<u64>>) {
        let Some(call) = self.clients[client].call.take() else { return };
        self.requests.remove(&call.request);
        match done {
            Some(found) => {
                self.oracle.done(Done { kind: call.kind, called: call.called, answered: self.now }, found);
            }
            None => self.oracle.lost(call.kind, call.called),
        }
        self.tell_trace(|| format!("client {client}: {call:?} {done:?}"));
        let delay = self.rng.below(if self.rng.below(10) == 0 { 200 * MS } else { 8 * MS });
        self.at(delay, What::Act { client });
    }
}
