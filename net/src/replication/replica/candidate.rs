//! Taking over: when the primary is silent, when this replica was primary before it was restarted, and when every member
//! has lost its tail.

use super::super::action::Action;
use super::super::configuration::Configuration;
use super::super::history::Position;
use super::super::id::{NodeId, Tick};
use super::super::message::{Greet, Message, Standing};
use super::{Acting, Replica};

impl Replica {
    pub(super) fn follower_timer(&mut self, out: &mut Vec<Action>) {
        let Some(configuration) = self.configuration.clone() else { return };
        match self.standing() {
            Standing::Sound(_) if configuration.primary == self.me => self.take_up_again(&configuration, out),
            Standing::Sound(_) => self.watch_primary(&configuration, out),
            Standing::Doubtful(_) => {
                configuration.others(self.me).for_each(|node| self.report_status(node, Tick(0), out));
                self.consider_decree(&configuration, out);
            }
            Standing::Outside => {
                let members = configuration.others(self.me).collect::<Vec<_>>();
                members.into_iter().for_each(|node| self.report_status(node, Tick(0), out));
            }
        }
    }

    /// It was primary of this epoch in an earlier start, which may have given LSNs to records that nobody here knows of:
    /// a new epoch keeps them apart from what comes.
    fn take_up_again(&mut self, configuration: &Configuration, out: &mut Vec<Action>) {
        if self.may_propose() {
            self.propose(configuration.keeping(self.me, |_| true), out);
        }
    }

    fn watch_primary(&mut self, configuration: &Configuration, out: &mut Vec<Action>) {
        let (now, timing) = (self.now, self.policy.timing);
        let rank = configuration.others(configuration.primary).position(|node| node == self.me).unwrap_or(0) as u64;
        let Some(follower) = self.follower() else { return };
        let silent_us = now.since(follower.heard_at);
        match follower.asked_at {
            None if silent_us > timing.grace_us + rank * timing.ask_us => self.ask_around(configuration, out),
            Some(asked) if now.since(asked) >= timing.ask_us => {
                let is_seen = self.fresh_others(asked).any(|(_, status)| status.sees_primary);
                if is_seen && silent_us < 3 * timing.grace_us {
                    // The link may be all that failed; whoever sees the primary lets it remove this member.
                    self.ask_around(configuration, out);
                } else if self.may_propose() {
                    self.propose_promotion(configuration, asked, out);
                }
            }
            _ => {}
        }
    }

    pub(super) fn ask_around(&mut self, configuration: &Configuration, out: &mut Vec<Action>) {
        let (epoch, sent) = (self.epoch(), self.now);
        if let Some(follower) = self.follower() {
            follower.asked_at = Some(sent);
        }
        for node in configuration.others(self.me) {
            out.push(Action::Send(node, Message::Greet(Greet { epoch, sent })));
        }
        self.fetch(out);
        self.timer_at = self.timer_at.min(sent.plus(self.policy.timing.ask_us));
    }

    fn propose_promotion(&mut self, configuration: &Configuration, asked: Tick, out: &mut Vec<Action>) {
        let is_there = |node: &NodeId| {
            self.fresh_others(asked).any(|(other, status)| {
                other == *node && matches!(self.standing_of(other, status.standing), Standing::Sound(_))
            })
        };
        let there: Vec<NodeId> = configuration.others(self.me).filter(is_there).collect();
        let is_enough = there.len() + 1 >= self.policy.in_sync_min;
        let next = configuration.keeping(self.me, |node| !is_enough || there.contains(&node));
        self.ask_around(configuration, out);
        self.propose(next, out);
    }

    fn fresh_others(&self, since: Tick) -> impl Iterator<Item = (NodeId, &super::Status)> {
        self.others.iter().filter(move |(_, (_, at))| *at >= since).map(|(node, (status, _))| (*node, status))
    }

    /// If no member can be relied on there is nobody to be caught up by. The one with the longest log goes on: it has
    /// everything that was flushed, as all of them do.
    fn consider_decree(&mut self, configuration: &Configuration, out: &mut Vec<Action>) {
        let timing = self.policy.timing;
        let recent = Tick(self.now.0.saturating_sub(4 * timing.heartbeat_us));
        let heard_long = Tick(self.now.0.saturating_sub(timing.doubt_us));
        let is_sound = |(node, status): (NodeId, &super::Status)| {
            matches!(self.standing_of(node, status.standing), Standing::Sound(_))
        };
        let has_waited = self.now.since(self.started_at) > timing.doubt_us;
        if self.fresh_others(if has_waited { heard_long } else { recent }).any(is_sound) {
            return;
        }
        let there = |node| self.fresh_others(recent).any(|(other, _)| other == node);
        let is_complete = configuration.others(self.me).all(there);
        let mine = (self.local.end(), self.me);
        let rivals: Vec<(Position, NodeId)> = self
            .fresh_others(recent)
            .filter(|(node, status)| matches!(self.standing_of(*node, status.standing), Standing::Doubtful(_)))
            .map(|(node, status)| (status.history.end(), node))
            .collect();
        let is_enough = is_complete || (has_waited && rivals.len() + 1 >= self.policy.in_sync_min);
        // Made from an old configuration, it could be taken for one that was made in an earlier start.
        if is_enough && self.is_current() && rivals.iter().all(|rival| *rival < mine) && self.may_propose() {
            let mut next = configuration.keeping(self.me, |_| true);
            next.loss = next.epoch;
            self.decreed = Some(next.epoch);
            self.propose(next, out);
        }
    }

    pub(super) fn peer_down(&mut self, node: NodeId, out: &mut Vec<Action>) {
        let Some(configuration) = self.configuration.clone() else { return };
        let (now, timing) = (self.now, self.policy.timing);
        match &mut self.acting {
            Acting::Primary(primary) => {
                if let Some(peer) = primary.peers.get_mut(&node) {
                    peer.hurry(now, timing.member_us.saturating_sub(2 * timing.heartbeat_us));
                }
            }
            Acting::Follower(follower) => {
                let may_ask = follower.asked_at.is_none() && now.since(follower.heard_at) > timing.heartbeat_us;
                if may_ask && self.is_my_primary(node) && self.is_sound() {
                    self.ask_around(&configuration, out);
                }
            }
        }
    }
}
