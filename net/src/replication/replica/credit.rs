//! Room in the members' stores: nothing is ordered that one of them could not apply.
//!
//! A replica says how much the records behind a place of its log may need ([`Credit`]); the primary counts what it has ordered
//! behind that place against it. What a member has said once holds until it says something about a later place, so that
//! neither what is lost nor what is late lets in too much.

use std::collections::VecDeque;

use super::super::action::{Action, Outcome, Refusal};
use super::super::id::{Incarnation, Lsn, NodeId, RequestId};
use super::super::message::{Credit, Shortage};
use super::{Acting, Replica};

/// What records of this primary need.
#[derive(Debug)]
pub(super) struct Ordered {
    /// What records up to here need is not known, or no longer.
    since: Lsn,
    /// What was needed by then, in all.
    before: u64,
    /// Records that need room, each with what is needed up to it.
    records: VecDeque<(Lsn, u64)>,
}

impl Ordered {
    /// Nothing is known of what comes before the record behind `since`.
    pub(super) fn new(since: Lsn) -> Self {
        Self { since, before: 0, records: VecDeque::new() }
    }

    pub(super) fn push(&mut self, lsn: Lsn, room: u64) {
        if room > 0 {
            self.records.push_back((lsn, self.total().saturating_add(room)));
        }
    }

    fn total(&self) -> u64 {
        self.records.back().map_or(self.before, |(_, total)| *total)
    }

    /// What the records behind `at` need; `None` if that is not known.
    fn behind(&self, at: Lsn) -> Option<u64> {
        let count = self.records.partition_point(|(lsn, _)| *lsn <= at);
        let upto = count.checked_sub(1).map_or(self.before, |index| self.records[index].1);
        (at >= self.since).then(|| self.total() - upto)
    }

    /// Nobody asks about places before `at` any more.
    fn forget(&mut self, at: Lsn) {
        while let Some((lsn, total)) = self.records.front().copied()
            && lsn <= at
        {
            self.before = total;
            self.records.pop_front();
        }
        self.since = self.since.max(at);
    }
}

impl Replica {
    /// True if the store here has had no room for some time for what it has to apply.
    pub(super) fn is_stuck(&self) -> bool {
        self.credit.is_some_and(|credit| credit.shortage == Shortage::Stuck)
    }

    /// The store here can take this.
    pub(super) fn credit_here(&mut self, credit: Credit, out: &mut Vec<Action>) {
        self.credit = Some(credit);
        match self.acting {
            Acting::Primary(_) => self.credit_changed(out),
            Acting::Follower(_) => self.owe_credit(out),
        }
    }

    /// Another one's can take this.
    pub(super) fn credited(&mut self, node: NodeId, start: Incarnation, credit: Credit, out: &mut Vec<Action>) {
        let Some(primary) = self.primary() else { return };
        let Some(peer) = primary.peers.get_mut(&node).filter(|peer| peer.incarnation == Some(start)) else { return };
        // One that was overtaken on its way.
        if peer.credit.is_some_and(|newer| newer.at > credit.at) {
            return;
        }
        peer.credit = Some(credit);
        self.credit_changed(out);
    }

    fn credit_changed(&mut self, out: &mut Vec<Action>) {
        let (me, own) = (self.me, self.credit);
        let Some(members) = self.configuration.as_ref().map(|now| now.others(me).collect::<Vec<_>>()) else { return };
        let Some(primary) = self.primary() else { return };
        // Only members are asked, and who becomes one is asked in a new epoch. One that has said nothing may still ask about any
        // place.
        let others = members.iter().filter_map(|node| primary.peers.get(node)).map(|peer| peer.credit);
        let oldest = others.chain([own]).map(|credit| credit.map_or(Lsn(0), |credit| credit.at)).min();
        oldest.into_iter().for_each(|at| primary.ordered.forget(at));
        if std::mem::take(&mut primary.awaits_credit) {
            out.push(Action::Admit(true));
        }
    }

    /// Refuses a request that some member's store could not apply.
    pub(super) fn lacks_room(&mut self, request: RequestId, room: u64, out: &mut Vec<Action>) -> bool {
        let refusal = if room > 0 { self.shortage_of(room) } else { None };
        let Some(refusal) = refusal else { return false };
        if let (Refusal::Busy, Some(primary)) = (refusal, self.primary()) {
            primary.awaits_credit = true;
        }
        out.push(Action::Answer(request, Outcome::Refused(refusal)));
        true
    }

    fn shortage_of(&self, room: u64) -> Option<Refusal> {
        let (Acting::Primary(primary), Some(now)) = (&self.acting, &self.configuration) else { return None };
        let of = |node| primary.peers.get(&node).and_then(|peer| peer.credit);
        let credits = now.others(self.me).map(of).chain([self.credit]);
        let mut refusal = None;
        for credit in credits {
            let needed = credit.and_then(|credit| primary.ordered.behind(credit.at)).map(|behind| behind + room);
            match (credit, needed) {
                (Some(credit), Some(needed)) if needed <= credit.bytes => {}
                (Some(Credit { shortage: Shortage::Full | Shortage::Stuck, .. }), Some(_)) => {
                    return Some(Refusal::OutOfSpace);
                }
                (Some(_), Some(_)) => refusal = Some(Refusal::Busy),
                // One that never says it is of an older program.
                _ if self.now < primary.credit_by => refusal = Some(Refusal::Busy),
                _ => {}
            }
        }
        refusal
    }
}
