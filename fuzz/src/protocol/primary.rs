//! What the primary does: opens its epoch, moves the watermarks, serves. And how a node becomes primary, and ends being it.

use super::flaw::Flaw;
use super::journal::{Record, Standing};
use super::message::{Body, Message};
use super::node::{Follower, NODES_MAX, Peer, Primary, Role};
use super::state::{Rules, State};

impl State {
    /// A client's write is ordered.
    pub(super) fn write(&mut self, rules: &Rules, id: u8) {
        self.writes += 1;
        let write = self.writes;
        let node = self.node_mut(id);
        node.journal.push(Record { epoch: node.epoch, write });
        self.advance(rules, id);
    }

    pub(super) fn may_write(&self, id: u8) -> bool {
        self.node(id).primary().is_some_and(|primary| primary.is_open && !primary.is_leaving)
    }

    /// True if the primary has something to say to a node: it does not know it, the node lacks something, or a lease has aged.
    pub(super) fn has_news(&self, id: u8, to: u8) -> bool {
        let (node, other) = (self.node(id), self.node(to));
        let Some(peer) = node.primary().map(|primary| primary.peers[usize::from(to)]) else { return false };
        let end = node.journal.log().len();
        let knows_less = (other.committed, other.flushable) < (node.committed, node.flushable);
        peer.start == 0 || peer.held < end || peer.synced < end || peer.lease_age > 0 || knows_less
    }

    /// The primary asks a node for what it has, or sends it the log.
    pub(super) fn send_log(&mut self, rules: &Rules, id: u8, to: u8) {
        let node = self.node(id);
        let Some(primary) = node.primary() else { return };
        let peer = primary.peers[usize::from(to)];
        let body = if peer.start == 0 {
            Body::Greet { age: 0 }
        } else {
            Body::Append {
                to: peer.start,
                age: 0,
                as_member: peer.as_member,
                log: *node.journal.log(),
                committed: node.committed,
                flushable: node.flushable,
            }
        };
        let message = Message { from: id, to, epoch: node.epoch, body };
        self.send(rules, message);
    }

    /// A node learns a configuration that is newer than the one it knows.
    pub(super) fn learn(&mut self, rules: &Rules, id: u8, epoch: u8) {
        let last = self.configuration_of(id).copied();
        let last_epoch = self.node(id).epoch;
        let next = self.configurations[usize::from(epoch) - 1];
        let was_open = self.node(id).primary().map(|primary| primary.is_open);
        self.node_mut(id).epoch = epoch;
        if was_open.is_some() && next.primary == id {
            self.go_on(rules, id);
        } else {
            if was_open == Some(true) {
                self.node_mut(id).stepped_down = epoch;
                self.resign(rules, id, next.primary);
            }
            let has_served = last.is_some_and(|last| last.primary == id) && self.has_written_in(id, last_epoch);
            self.node_mut(id).role = Role::Follower(Follower::default());
            if next.primary == id && self.may_act(rules, id, next.loss == epoch) {
                self.become_primary(rules, id, has_served && self.node(id).granted_to.is_none());
            }
        }
        self.forget_messages(rules);
    }

    /// Its log shows that it served in this epoch: then no lease from before holds any more.
    fn has_written_in(&self, id: u8, epoch: u8) -> bool {
        let log = self.node(id).journal.log();
        epoch > 0 && log.epoch() == epoch && log.opening_of(epoch) < log.len()
    }

    pub(super) fn resign(&mut self, rules: &Rules, id: u8, next: u8) {
        let epoch = self.node(id).epoch;
        if self.node(id).stepped_down == epoch && next != id {
            self.send(rules, Message { from: id, to: next, epoch, body: Body::Resigned });
        }
    }

    fn may_act(&self, rules: &Rules, id: u8, is_loss: bool) -> bool {
        let node = self.node(id);
        let has_all = self.is_sound(rules, id) || (is_loss && node.decreed == node.epoch);
        // In any other an earlier start may have been primary, and have sent what it did not keep.
        let is_first = node.epoch == 1 && node.journal.log().len() == 0;
        let is_new = node.epoch > node.fresh_from || is_first || !rules.keep(Flaw::EpochUsedTwice);
        (has_all || !rules.keep(Flaw::AnybodyPromoted)) && is_new
    }

    fn become_primary(&mut self, rules: &Rules, id: u8, at_once: bool) {
        let epoch = self.node(id).epoch;
        if !self.is_sound(rules, id) {
            self.node_mut(id).journal.note(Standing::Sound(epoch));
        }
        let peers = [self.new_peer(rules, false); NODES_MAX];
        self.node_mut(id).role = Role::Primary(Primary { waits: !at_once, is_open: false, is_leaving: false, peers });
        self.go_on(rules, id);
    }

    fn new_peer(&self, rules: &Rules, as_member: bool) -> Peer {
        Peer { start: 0, as_member, is_lost: false, held: 0, synced: 0, lease_age: rules.scope.clocks.lease }
    }

    /// Begins the epoch: with its opening, and with members that have to say what they have.
    fn go_on(&mut self, rules: &Rules, id: u8) {
        let epoch = self.node(id).epoch;
        let configuration = self.configurations[usize::from(epoch) - 1];
        for other in 0..NODES_MAX as u8 {
            let fresh = self.new_peer(rules, configuration.has(other) && other != id);
            if let Some(primary) = self.node_mut(id).primary_mut() {
                let peer = &mut primary.peers[usize::from(other)];
                *peer = Peer { lease_age: peer.lease_age, ..fresh };
                primary.is_leaving = false;
            }
        }
        self.node_mut(id).journal.push(Record { epoch, write: 0 });
        self.advance(rules, id);
    }

    /// It waits for no lease that it granted to another.
    pub(super) fn may_open(&self, rules: &Rules, id: u8) -> bool {
        let node = self.node(id);
        node.primary().is_some_and(|primary| !primary.waits || node.granted_ago >= rules.scope.clocks.grace)
    }

    /// Moves the watermarks as far as every member allows, opens, and answers what they cover.
    pub(super) fn advance(&mut self, rules: &Rules, id: u8) {
        let (Some(configuration), Some(primary)) =
            (self.configuration_of(id).copied(), self.node(id).primary().copied())
        else {
            return;
        };
        let node = self.node(id);
        let opening = node.journal.log().opening_of(node.epoch);
        let (mut held, mut synced) = (node.journal.handed(), node.journal.synced());
        for peer in configuration.others(id).map(|other| primary.peers[usize::from(other)]) {
            let counts = |lsn| if peer.as_member { lsn } else { 0 };
            (held, synced) = (held.min(counts(peer.held)), synced.min(counts(peer.synced)));
        }
        if !rules.keep(Flaw::AcknowledgedBeforeBackups) {
            held = node.journal.handed();
        }
        let is_enough = configuration.members().count() >= usize::from(rules.scope.in_sync_min);
        let may_open = self.may_open(rules, id);
        let node = self.node_mut(id);
        if is_enough && held >= opening {
            node.committed = node.committed.max(held);
            node.flushable = node.flushable.max(synced.min(held));
            node.floor = node.floor.max(node.flushable);
        }
        if node.committed >= opening
            && may_open
            && let Some(primary) = node.primary_mut()
        {
            (primary.is_open, primary.waits) = (true, false);
        }
        self.tell_clients(rules, id);
    }

    /// Whoever serves has answered all that its watermarks allow, and all of it has been read.
    fn tell_clients(&mut self, rules: &Rules, id: u8) {
        if self.serves(rules, id) {
            let node = self.node(id);
            let (seen, durable) = (node.committed, node.flushable);
            let log = *node.journal.log();
            self.told |= log.writes_up_to(seen);
            self.flushed |= log.writes_up_to(durable);
        }
    }
}
