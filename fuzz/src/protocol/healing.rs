//! What happens when nothing fails any more: sooner or later the volume is served again.

use super::change::Change;
use super::journal::Standing;
use super::message::Body;
use super::state::{Rules, State};

/// Rounds that are enough. In each everybody does what it can, and a unit of time passes.
const ROUNDS_MAX: usize = 64;

impl State {
    /// True if it comes to serve when nothing fails any more.
    pub(super) fn heals(&self, rules: &Rules) -> bool {
        let (mut state, mut rules) = (self.clone(), *rules);
        (rules.scope.late_proposals, rules.scope.hands_over) = (false, false);
        rules.scope.on_the_way = u8::MAX;
        state.proposals.clear();
        for round in 0..ROUNDS_MAX {
            if rules.nodes().any(|id| state.node(id).epoch == state.newest() && state.serves(&rules, id)) {
                return true;
            }
            state.round(&rules);
            // Only so often that who is there can be heard in between.
            if round % 8 == 7 {
                state.reshape(&rules);
            }
        }
        false
    }

    fn round(&mut self, rules: &Rules) {
        for id in rules.nodes() {
            if self.node(id).epoch < self.newest() {
                let newest = self.newest();
                self.learn(rules, id, newest);
            }
            self.hand(rules, id);
            self.sync(rules, id);
        }
        for (id, to) in rules.nodes().flat_map(|id| rules.nodes().map(move |to| (id, to))).filter(|(id, to)| id != to) {
            self.send_log(rules, id, to);
            self.tell_other(rules, id, to);
        }
        // Answers are delivered within the same unit of time, so that leases hold.
        while !self.messages.is_empty() {
            let message = self.messages.remove(0);
            self.deliver(rules, message);
            if !matches!(message.body, Body::Status { .. } | Body::Appended { .. }) {
                self.sync(rules, message.to);
            }
        }
        if !rules.nodes().any(|id| self.node(id).epoch == self.newest() && self.serves(rules, id)) {
            self.tick(rules, 0);
        }
    }

    /// A follower that is not sound says so.
    fn tell_other(&mut self, rules: &Rules, id: u8, to: u8) {
        if self.may_tell(rules, id, to) {
            self.report(rules, id, to, rules.scope.clocks.lease);
        }
    }

    /// True if a node tells another one what it has without being asked.
    pub(super) fn may_tell(&self, rules: &Rules, id: u8, to: u8) -> bool {
        let is_asked = self.configuration_of(id).is_some_and(|it| it.has(to));
        let is_unsure = !matches!(self.standing_of(rules, id), Standing::Sound(_));
        rules.scope.losses && id != to && is_asked && is_unsure && self.node(id).primary().is_none()
    }

    fn reshape(&mut self, rules: &Rules) {
        let is_wanted = |change: &Change| !matches!(change, Change::Remove(_) | Change::Add(_));
        for id in rules.nodes() {
            if self.node(id).epoch < self.newest() {
                continue;
            }
            let change = self.changes(rules, id).into_iter().find(is_wanted);
            let primary = self.configuration_of(id).map(|it| it.primary);
            let acts = primary.is_some_and(|primary| {
                self.node(primary).epoch == self.newest() && self.node(primary).primary().is_some()
            });
            // A member takes over only from a primary that does nothing.
            let is_due = !(acts && matches!(change, Some(Change::TakeOver(_))));
            if let Some(change) = change.filter(|_| is_due) {
                self.propose(rules, id, change);
                return;
            }
        }
    }
}
