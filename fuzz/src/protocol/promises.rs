//! What must hold in every state.

use super::journal::Record;
use super::state::{Rules, State, Wrong};

impl State {
    /// At most one node serves.
    pub(super) fn has_one_primary(&self, rules: &Rules) -> bool {
        rules.nodes().filter(|id| self.serves(rules, *id)).count() <= 1
    }

    /// Whoever serves shows everything that was answered, or seen in an answer, before.
    pub(super) fn shows_what_was_told(&self, rules: &Rules) -> bool {
        let shows = |id: u8| self.told & !self.node(id).journal.log().writes_up_to(self.node(id).committed) == 0;
        rules.nodes().filter(|id| self.serves(rules, *id)).all(shows)
    }

    /// The primary of the newest configuration has everything that was answered, lease or not; what was flushed too.
    pub(super) fn keeps_what_was_told(&self) -> bool {
        let has_all = |id: u8| (self.told | self.flushed) & !self.node(id).journal.log().writes_up_to(u8::MAX) == 0;
        let is_newest = |id: &u8| self.node(*id).epoch == self.newest();
        let is_open = |id: &u8| self.node(*id).primary().is_some_and(|primary| primary.is_open);
        (0..self.nodes.len() as u8).filter(is_newest).filter(is_open).all(has_all)
    }

    /// An epoch and an LSN name one record for ever.
    pub(super) fn names_are_unique(&self) -> bool {
        let logs = || self.nodes.iter().map(|node| node.journal.log().records());
        let differ = |(one, other): (&Record, &Record)| one.epoch == other.epoch && one.write != other.write;
        logs().all(|one| logs().all(|other| !one.iter().zip(other).any(differ)))
    }

    /// Nothing that must stay was to be cut off.
    pub(super) fn has_not_diverged(&self) -> bool {
        self.wrong != Some(Wrong::Diverged)
    }

    /// A loss was decreed only after every member had lost its power.
    pub(super) fn losses_are_true(&self) -> bool {
        self.wrong != Some(Wrong::FalseLoss)
    }
}
