//! What becomes of a message that arrives.

use super::flaw::Flaw;
use super::journal::{Log, Standing};
use super::message::{Body, Message};
use super::state::{Rules, State, Wrong};

impl State {
    /// A node takes a message.
    pub(super) fn deliver(&mut self, rules: &Rules, mut message: Message) {
        let id = message.to;
        if !rules.keep(Flaw::EpochIgnored)
            && matches!(message.body, Body::Append { .. })
            && message.epoch < self.node(id).epoch
            && let Some(primary) = self.configuration_of(id).map(|it| it.primary)
        {
            (message.epoch, message.from) = (self.node(id).epoch, primary);
        }
        // A log that is ahead of the configuration belongs to one that is not known yet.
        if message.epoch != self.node(id).epoch || self.node(id).journal.log().epoch() > message.epoch {
            return;
        }
        let from = message.from;
        match message.body {
            Body::Greet { age } => {
                self.report(rules, id, from, age);
                if self.is_primary_of(id, from) {
                    self.resign(rules, id, from);
                }
            }
            Body::Status { start, age, granted, standing, end } => {
                self.take_status(rules, id, from, (start, standing, end));
                self.take_grant(rules, id, from, (age, granted));
                self.advance(rules, id);
            }
            Body::Append { to, age, as_member, log, committed, flushable } => {
                if !self.is_primary_of(id, from) {
                    return;
                }
                if to != self.node(id).start {
                    self.report(rules, id, from, rules.scope.clocks.lease);
                    return;
                }
                let granted = self.grant(rules, id, from);
                if self.take_log(id, &log) {
                    self.take_marks(id, (log.len(), as_member, committed, flushable));
                    self.become_sound(rules, id);
                    self.answer(rules, id, from, (age, granted));
                }
            }
            Body::Appended { start, age, granted, held, synced } => {
                let end = self.node(id).journal.log().len();
                let Some(primary) = self.node_mut(id).primary_mut() else { return };
                let peer = &mut primary.peers[usize::from(from)];
                if peer.start != start {
                    return;
                }
                peer.held = peer.held.max(held.min(end));
                peer.synced = peer.synced.max(synced.min(peer.held));
                self.take_grant(rules, id, from, (age, granted));
                self.advance(rules, id);
            }
            Body::Resigned => self.take_resignation(rules, id, from),
        }
    }

    fn is_primary_of(&self, id: u8, other: u8) -> bool {
        id != other && self.configuration_of(id).is_some_and(|it| it.primary == other)
    }

    /// Lets the primary serve for a lease, if this node could take its place.
    fn grant(&mut self, rules: &Rules, id: u8, to: u8) -> bool {
        let grants = self.is_primary_of(id, to) && self.is_sound(rules, id) && self.node(id).primary().is_none();
        if grants {
            let node = self.node_mut(id);
            (node.granted_ago, node.granted_to) = (0, Some(to));
        }
        grants
    }

    /// Says what a node has. `age` is that of the question, a lease if there was none.
    pub(super) fn report(&mut self, rules: &Rules, id: u8, to: u8, age: u8) {
        let granted = self.grant(rules, id, to);
        let node = self.node(id);
        let end = if rules.scope.losses { node.end() } else { (0, 0) };
        let body = Body::Status { start: node.start, age, granted, standing: node.journal.standing(), end };
        let mut message = Message { from: id, to, epoch: node.epoch, body };
        message.forget_old_grant(rules.oldest_grant());
        self.send(rules, message);
    }

    fn answer(&mut self, rules: &Rules, id: u8, to: u8, (age, granted): (u8, bool)) {
        let node = self.node_mut(id);
        let (handed, durable) = (node.journal.handed(), node.journal.synced());
        let matched = node.follower_mut().map_or(0, |follower| follower.matched);
        let (held, synced) = (handed.min(matched), durable.min(matched));
        let body = Body::Appended { start: node.start, age, granted, held, synced };
        let mut message = Message { from: id, to, epoch: node.epoch, body };
        message.forget_old_grant(rules.oldest_grant());
        self.send(rules, message);
    }

    fn take_grant(&mut self, rules: &Rules, id: u8, from: u8, (age, granted): (u8, bool)) {
        let age = if rules.keep(Flaw::LeaseFromArrival) { age } else { 0 };
        if let Some(primary) = self.node_mut(id).primary_mut()
            && granted
        {
            let peer = &mut primary.peers[usize::from(from)];
            peer.lease_age = peer.lease_age.min(age);
        }
    }

    fn take_status(&mut self, rules: &Rules, id: u8, from: u8, (start, standing, end): (u8, Standing, (u8, u8))) {
        let worth = self.configuration_of(id).map_or(Standing::Outside, |it| it.worth(rules, from, standing));
        let node = self.node_mut(id);
        if let Some(primary) = node.primary_mut() {
            let peer = &mut primary.peers[usize::from(from)];
            if peer.start != 0 && peer.start != start {
                if peer.as_member && !matches!(worth, Standing::Sound(_)) {
                    (peer.as_member, peer.is_lost) = (false, true);
                }
                (peer.held, peer.synced) = (0, 0);
            }
            peer.start = start;
        } else if rules.scope.losses
            && let Some(follower) = node.follower_mut()
        {
            follower.heard[usize::from(from)] = Some((worth, end));
        }
    }

    /// Cuts off what is not the primary's, and takes what is missing. False if that would undo what must stay.
    fn take_log(&mut self, id: u8, log: &Log) -> bool {
        let is_current = self.is_current(id);
        let node = self.node_mut(id);
        let keep = node.journal.log().shared_with(log);
        if keep == log.len() {
            return true;
        }
        let matched = node.follower_mut().map_or(0, |follower| follower.matched);
        if keep < node.journal.log().len() {
            if keep < node.floor.max(node.flushable).max(matched) {
                // A primary that was forgotten long ago knows nothing of what an earlier start took in a newer epoch.
                if is_current {
                    self.wrong = Some(Wrong::Diverged);
                }
                return false;
            }
            node.committed = node.committed.min(keep);
            node.journal.truncate(keep);
        }
        log.records()[usize::from(keep)..].iter().for_each(|record| node.journal.push(*record));
        node.journal.hand();
        true
    }

    fn take_marks(&mut self, id: u8, (end, as_member, committed, flushable): (u8, bool, u8, u8)) {
        let node = self.node_mut(id);
        let synced = node.journal.synced();
        let Some(follower) = node.follower_mut() else { return };
        follower.matched = follower.matched.max(end);
        follower.as_member |= as_member;
        let matched = follower.matched;
        node.committed = node.committed.max(committed.min(matched));
        node.flushable = node.flushable.max(flushable.min(matched).min(synced).min(node.committed));
        node.floor = node.floor.max(node.flushable);
    }

    /// A member that has synced the opening of its primary's epoch has everything that was acknowledged before.
    pub(super) fn become_sound(&mut self, rules: &Rules, id: u8) {
        let (is_sound, is_current) = (self.is_sound(rules, id), self.is_current(id));
        let node = self.node_mut(id);
        let (epoch, synced) = (node.epoch, node.journal.synced());
        let Some(follower) = node.follower_mut().copied() else { return };
        let has_opening = node.journal.log().epoch_of(synced.min(follower.matched)) == epoch;
        if follower.as_member && is_current && !is_sound && has_opening && epoch > 0 {
            node.journal.note(Standing::Sound(epoch));
            node.journal.hand();
        }
    }

    fn take_resignation(&mut self, rules: &Rules, id: u8, from: u8) {
        let grace = rules.scope.clocks.grace;
        let node = self.node_mut(id);
        if node.granted_to == Some(from) {
            (node.granted_to, node.granted_ago) = (None, grace);
            self.advance(rules, id);
        }
    }
}
