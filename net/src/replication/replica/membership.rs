//! Which configuration the primary wants next. It never wants one with fewer members than may acknowledge, unless there
//! were fewer before.

use super::super::action::{Action, Outcome, Refusal};
use super::super::configuration::Configuration;
use super::super::id::{Lsn, NodeId, RequestId};
use super::peer::Peer;
use super::{Acting, Replica};

impl Replica {
    /// Proposes the next configuration, if another one is wanted.
    pub(super) fn reshape(&mut self, out: &mut Vec<Action>) {
        let Acting::Primary(primary) = &self.acting else { return };
        // Until no older lease is valid, what this primary decides could reach who does not wait for it.
        if self.now < primary.open_at || !self.may_propose() {
            return;
        }
        if primary.is_leaving {
            // Nothing came of it. Only another change makes sure that nothing will.
            let next = self.configuration.as_ref().map(|it| it.keeping(self.me, |_| true));
            next.into_iter().for_each(|next| self.propose(next, out));
        } else if let Some(next) = self.wanted_configuration() {
            self.propose(next, out);
        } else if let Some(to) =
            self.wanted_primary().or_else(|| self.relieving_primary()).or_else(|| self.wished_primary())
        {
            self.hand_over(to, out);
        }
    }

    fn wanted_configuration(&self) -> Option<Configuration> {
        let (Acting::Primary(primary), Some(now)) = (&self.acting, &self.configuration) else { return None };
        let end = self.local.end().lsn;
        let is_failing = |node: &NodeId| primary.peers.get(node).is_none_or(|peer| self.is_failing(peer, end));
        let mut failing: Vec<NodeId> = now.others(self.me).filter(is_failing).collect();
        let is_new = |node: &NodeId| !now.contains(*node) && self.placement.contains(node);
        let returned = primary.peers.iter().find(|(node, peer)| is_new(node) && self.is_caught_up(peer));
        let most = (now.members.len() + usize::from(returned.is_some())).saturating_sub(self.policy.in_sync_min);
        let is_hanging = |node: &NodeId| primary.peers.get(node).is_some_and(|peer| self.is_hanging(peer));
        // Without one that hangs flushes would go on. Without the others writes do too, so they go first.
        let hanging = now.others(self.me).filter(|node| is_hanging(node) && !is_failing(node));
        failing.extend(hanging.take(most.saturating_sub(failing.len())).collect::<Vec<_>>());
        let is_enough = failing.len() <= most;
        let next = now.keeping(self.me, |node| !is_enough || !failing.contains(&node));
        if let Some((node, _)) = returned {
            return Some(next.with(*node));
        }
        if is_enough && !failing.is_empty() {
            return Some(next);
        }
        // A lost member that cannot be spared starts afresh in a new epoch.
        let is_lost = primary.peers.iter().any(|(node, peer)| peer.is_lost && now.contains(*node));
        if is_lost {
            return Some(next);
        }
        self.without_unwanted(now)
    }

    /// Members that are to go, once those that shall stay are all there.
    fn without_unwanted(&self, now: &Configuration) -> Option<Configuration> {
        let is_complete = !self.placement.is_empty() && self.placement.iter().all(|node| now.contains(*node));
        let is_wanted = |node| self.placement.contains(&node);
        let next = now.keeping(self.me, is_wanted);
        let is_enough = next.members.len() >= self.policy.in_sync_min;
        (is_complete && is_enough && next.members.len() < now.members.len()).then_some(next)
    }

    /// Whom to hand the volume to, if this node is to go.
    fn wanted_primary(&self) -> Option<NodeId> {
        let (Acting::Primary(primary), Some(now)) = (&self.acting, &self.configuration) else { return None };
        let is_complete = !self.placement.is_empty() && self.placement.iter().all(|node| now.contains(*node));
        if !is_complete || self.placement.contains(&self.me) {
            return None;
        }
        let is_ready = |node: &NodeId| primary.peers.get(node).is_some_and(|peer| self.could_lead(peer));
        self.placement.iter().copied().find(is_ready)
    }

    /// Who asked for the volume, once it can have it.
    fn wished_primary(&self) -> Option<NodeId> {
        let (Acting::Primary(primary), Some(now)) = (&self.acting, &self.configuration) else { return None };
        let is_wanted = |node: &NodeId| self.placement.is_empty() || self.placement.contains(node);
        let is_ready = |node: &NodeId| primary.peers.get(node).is_some_and(|peer| self.could_lead(peer));
        primary.wished.filter(|node| now.contains(*node) && is_wanted(node) && is_ready(node))
    }

    /// Whom to hand the volume to, if the store here has no room for what it has to apply and another's has, or if a sync here
    /// does not come back and another's did.
    fn relieving_primary(&self) -> Option<NodeId> {
        let (Acting::Primary(primary), Some(now)) = (&self.acting, &self.configuration) else { return None };
        let is_syncing = self.now.since(primary.synced_at) > self.policy.timing.sync_us;
        if !self.is_stuck() && !is_syncing {
            return None;
        }
        let is_better = |peer: &Peer| self.is_stuck() || peer.member_synced() > self.local.synced();
        let is_ready =
            |node: &NodeId| primary.peers.get(node).is_some_and(|peer| self.could_lead(peer) && is_better(peer));
        now.others(self.me).find(is_ready)
    }

    fn could_lead(&self, peer: &Peer) -> bool {
        // Only a sound member grants a lease.
        let is_sound = peer.granted.is_some_and(|at| self.now.since(at) < self.policy.timing.lease_us);
        is_sound && peer.member_held() >= self.committed && !peer.is_stuck()
    }

    /// Gives the volume to a node that asks for it: at once if nothing else is being decided and it could serve, else
    /// when that is so, and again if nothing comes of it. The newest wish counts.
    pub(super) fn wish(&mut self, request: Option<RequestId>, to: NodeId, out: &mut Vec<Action>) {
        let outcome = match &mut self.acting {
            Acting::Primary(primary) if !primary.is_leaving => {
                primary.wished = Some(to);
                Outcome::Done
            }
            Acting::Primary(_) => Outcome::Refused(Refusal::NotReady),
            Acting::Follower(_) => Outcome::Refused(Refusal::NotPrimary(None)),
        };
        out.extend(request.map(|request| Action::Answer(request, outcome)));
        self.reshape(out);
    }

    /// Gives the volume to a member. Nothing is answered from here until it is known what came of it.
    fn hand_over(&mut self, to: NodeId, out: &mut Vec<Action>) {
        let Some(next) = self.configuration.as_ref().filter(|it| it.contains(to)).map(|it| it.keeping(to, |_| true))
        else {
            return;
        };
        let may_propose = self.may_propose();
        let Some(primary) = self.primary() else { return };
        if !primary.is_open || !may_propose || next.primary == self.me {
            return;
        }
        if let Some(primary) = self.primary() {
            primary.is_leaving = true;
        }
        self.propose(next, out);
    }

    fn is_failing(&self, peer: &Peer, end: Lsn) -> bool {
        let (now, member_us) = (self.now, self.policy.timing.member_us);
        let is_silent = now.since(peer.heard_at) > member_us;
        let is_behind = peer.progress().is_none_or(|progress| progress.held < end || progress.synced < self.flushable);
        peer.is_lost || peer.is_stuck() || is_silent || (is_behind && now.since(peer.progress_at) > member_us)
    }

    /// Its sync does not come back.
    fn is_hanging(&self, peer: &Peer) -> bool {
        self.now.since(peer.synced_at) > self.policy.timing.sync_us
    }

    /// It has what every member has, and has synced what every member has synced: nothing would have to be taken back
    /// if it became one.
    fn is_caught_up(&self, peer: &Peer) -> bool {
        let Some(progress) = peer.progress() else { return false };
        let is_near = progress.held >= self.committed && progress.synced >= self.flushable;
        let is_heard = self.now.since(peer.heard_at) <= self.policy.timing.member_us;
        is_near && is_heard && progress.held > Lsn(0) && !peer.is_stuck()
    }
}
