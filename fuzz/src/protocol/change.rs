//! Which configurations nodes propose, and what the service makes of them.

use super::flaw::Flaw;
use super::journal::Standing;
use super::node::Primary;
use super::state::{Configuration, Proposal, Rules, State, Wrong};

/// What a node wants changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// The primary goes on without a member.
    Remove(u8),
    /// The primary takes a node in that has what it needs.
    Add(u8),
    /// The primary begins a new epoch of the same members.
    Again,
    /// The primary gives the volume to a member.
    HandOver(u8),
    /// A member takes over, with all or without one.
    TakeOver(Option<u8>),
    /// A primary that was restarted begins a new epoch.
    TakeUp,
    /// Every member has lost its tail: one of them goes on.
    Decree,
}

impl State {
    /// What a node may propose.
    pub(super) fn changes(&self, rules: &Rules, id: u8) -> Vec<Change> {
        let node = self.node(id);
        let Some(configuration) = self.configuration_of(id) else { return Vec::new() };
        // A proposal from an old configuration is refused, whatever it is.
        if node.epoch < self.newest() && rules.keep(Flaw::ChangeNotCompared) {
            return Vec::new();
        }
        if let Some(primary) = node.primary() {
            // Until then its successor could outrun a lease that it knows of and the successor does not.
            let may = self.may_open(rules, id);
            return if may { self.changes_of_primary(rules, id, primary, configuration) } else { Vec::new() };
        }
        match self.standing_of(rules, id) {
            Standing::Sound(_) if configuration.primary == id => vec![Change::TakeUp],
            Standing::Sound(_) => take_overs(rules, id, configuration),
            Standing::Doubtful(_) if self.may_decree(rules, id, configuration) => vec![Change::Decree],
            _ if !rules.keep(Flaw::AnybodyPromoted) => take_overs(rules, id, configuration),
            _ => Vec::new(),
        }
    }

    fn changes_of_primary(&self, rules: &Rules, id: u8, primary: &Primary, now: &Configuration) -> Vec<Change> {
        let node = self.node(id);
        let peer = |other: u8| primary.peers[usize::from(other)];
        let mut changes = Vec::new();
        if now.members().count() > usize::from(rules.scope.in_sync_min) {
            changes.extend(now.others(id).map(Change::Remove));
        }
        let is_caught_up = |other: &u8| {
            let peer = peer(*other);
            peer.start > 0 && peer.held > 0 && peer.held >= node.committed && peer.synced >= node.flushable
        };
        changes.extend(rules.nodes().filter(|other| !now.has(*other)).filter(is_caught_up).map(Change::Add));
        if primary.is_leaving || now.others(id).any(|other| peer(other).is_lost) {
            changes.push(Change::Again);
        }
        if rules.scope.hands_over && primary.is_open {
            let could_lead = |other: &u8| {
                let peer = peer(*other);
                peer.lease_age < rules.scope.clocks.lease && peer.as_member && peer.held >= node.committed
            };
            changes.extend(now.others(id).filter(could_lead).map(Change::HandOver));
        }
        changes
    }

    /// Every other member said that it is not sure of what it has, and this one's log is the longest of those that know
    /// what they had.
    fn may_decree(&self, rules: &Rules, id: u8, now: &Configuration) -> bool {
        let super::node::Role::Follower(follower) = &self.node(id).role else { return false };
        let mine = (self.node(id).end(), id);
        let is_less = |other: u8| match follower.heard[usize::from(other)] {
            None | Some((Standing::Sound(_), _)) => false,
            Some((Standing::Doubtful(_), end)) => (end, other) < mine,
            Some((Standing::Outside, _)) => true,
        };
        rules.scope.losses && self.is_current(id) && now.others(id).all(is_less)
    }

    /// A node proposes a change.
    pub(super) fn propose(&mut self, rules: &Rules, id: u8, change: Change) {
        let base = self.node(id).epoch;
        let Some(now) = self.configuration_of(id) else { return };
        let (mut next, epoch) = (*now, base + 1);
        match change {
            Change::Remove(other) => next.since[usize::from(other)] = 0,
            Change::Add(other) => next.since[usize::from(other)] = epoch,
            Change::Again | Change::TakeUp => {}
            Change::HandOver(other) => {
                next.primary = other;
                if let Some(primary) = self.node_mut(id).primary_mut() {
                    primary.is_leaving = true;
                }
            }
            Change::TakeOver(without) => {
                next.primary = id;
                if let Some(other) = without {
                    next.since[usize::from(other)] = 0;
                }
                if !next.has(id) {
                    next.since[usize::from(id)] = epoch;
                }
            }
            Change::Decree => {
                (next.primary, next.loss) = (id, epoch);
                self.node_mut(id).decreed = epoch;
            }
        }
        let proposal = Proposal { by: id, base, next };
        if rules.scope.late_proposals {
            self.proposals.push(proposal);
            self.proposals.sort_unstable();
        } else {
            self.decide(rules, &proposal);
        }
    }

    /// A proposal reaches the service.
    pub(super) fn accept(&mut self, rules: &Rules, proposal: &Proposal) {
        self.proposals.retain(|other| other != proposal);
        self.decide(rules, proposal);
    }

    fn decide(&mut self, rules: &Rules, proposal: &Proposal) {
        let (compares, mut next) = (rules.keep(Flaw::ChangeNotCompared), proposal.next);
        let newest = self.newest();
        if compares && proposal.base != newest {
            return;
        }
        let now = self.configurations[usize::from(newest) - 1];
        if !now.has(next.primary) && rules.keep(Flaw::AnybodyPromoted) && compares {
            return;
        }
        if next.loss == proposal.base + 1 {
            next.loss = newest + 1;
            self.told &= self.flushed;
            if now.members().any(|id| self.cut_nodes >> id & 1 == 0) {
                self.wrong = Some(Wrong::FalseLoss);
            }
        }
        self.configurations.push(next);
        if compares {
            self.proposals.clear();
        }
    }
}

/// A member takes over with all, or without the primary; never with too few.
fn take_overs(rules: &Rules, id: u8, now: &Configuration) -> Vec<Change> {
    let is_new = usize::from(!now.has(id));
    let may_spare = now.members().count() + is_new > usize::from(rules.scope.in_sync_min);
    let without = may_spare.then_some(Change::TakeOver(Some(now.primary)));
    std::iter::once(Change::TakeOver(None)).chain(without).collect()
}
