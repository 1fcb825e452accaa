//! A replica of one volume: takes events, gives actions.
//!
//! What is kept here is what it is in every role: the newest configuration, how far its log can be relied on, and the
//! log. What it does as [`primary`] and as [`follower`] is in files of their own.

mod candidate;
mod catch_up;
mod credit;
mod follower;
mod habit;
mod membership;
mod pause;
mod peer;
mod primary;
mod requests;

use std::collections::BTreeMap;

use super::action::Action;
use super::configuration::Configuration;
use super::event::{Event, Start};
use super::history::{History, Position};
use super::id::{Epoch, Incarnation, Lsn, NodeId, Tick};
use super::local::Local;
use super::message::{Credit, Message, Standing, Status};
use super::policy::{Policy, PolicyError};
use follower::Follower;
pub use pause::PAUSE_US;
use primary::Primary;

/// What a replica is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It orders and acknowledges.
    Primary,
    /// A member that takes what the primary sends and could take its place.
    Backup,
    /// It cannot be relied on until a primary has caught it up.
    Outside,
}

#[derive(Debug)]
enum Acting {
    Follower(Follower),
    Primary(Box<Primary>),
}

/// A replica of one volume.
#[derive(Debug)]
pub struct Replica {
    me: NodeId,
    incarnation: Incarnation,
    policy: Policy,
    now: Tick,
    started_at: Tick,
    timer_at: Tick,
    fetched_at: Tick,
    /// When it last let a primary serve. A start counts: what it granted before is not known any more.
    granted_at: Tick,
    granted_to: Option<NodeId>,
    configuration: Option<Configuration>,
    standing: Standing,
    local: Local,
    acting: Acting,
    committed: Lsn,
    flushable: Lsn,
    journal_start: Lsn,
    placement: Vec<NodeId>,
    /// Snapshots pinned for nodes that were removed, and what they hold once that is known.
    pins: BTreeMap<NodeId, Option<Lsn>>,
    /// What others said of themselves in this epoch, and when.
    others: BTreeMap<NodeId, (Status, Tick)>,
    /// When a proposal was made that has had no outcome yet.
    proposed_at: Option<Tick>,
    /// The first configuration that was certainly the newest at some moment since the start.
    fresh_epoch: Option<Epoch>,
    /// It was primary until this epoch and serves nothing in an older one.
    stepped_down: Option<Epoch>,
    /// Transfers offered since the start.
    transfers: u64,
    /// The epoch in which it may be primary though its tail may be lost, because every member's is.
    decreed: Option<Epoch>,
    /// What the store here can take.
    credit: Option<Credit>,
    failed: bool,
}

impl Replica {
    /// A replica with what its journal holds. It does nothing before it knows a configuration.
    ///
    /// # Errors
    /// If the policy cannot work.
    pub fn new(now: Tick, start: Start, policy: Policy, out: &mut Vec<Action>) -> Result<Self, PolicyError> {
        policy.check()?;
        let Start { me, incarnation, standing, intact, history, synced, floor, journal_start } = start;
        let mut replica = Self {
            me,
            incarnation,
            policy,
            now,
            started_at: now,
            timer_at: now,
            fetched_at: now,
            granted_at: now,
            granted_to: None,
            configuration: None,
            standing,
            local: Local::new(history, synced, floor),
            acting: Acting::Follower(Follower::new(now)),
            committed: floor,
            flushable: floor,
            journal_start,
            placement: Vec::new(),
            pins: BTreeMap::new(),
            others: BTreeMap::new(),
            proposed_at: None,
            fresh_epoch: None,
            stepped_down: None,
            transfers: 0,
            decreed: None,
            credit: None,
            failed: false,
        };
        if let (false, Standing::Sound(epoch)) = (intact, standing) {
            // Noted before anything else, or the next start would take what is left for everything.
            replica.note(Standing::Doubtful(epoch), out);
        }
        out.push(Action::FetchConfiguration);
        Ok(replica)
    }

    /// Takes one event at time `now` and appends what is to be done to `out`.
    ///
    /// # Panics
    /// If a payload is longer than [`PAYLOAD_BYTES_MAX`](super::wire::PAYLOAD_BYTES_MAX).
    pub fn step(&mut self, now: Tick, event: Event, out: &mut Vec<Action>) {
        self.now = self.now.max(now);
        if self.failed {
            self.refuse_after_failure(&event, out);
            return;
        }
        match event {
            Event::Write { request, payload, room, pause } => self.write(request, payload, (room, pause), out),
            Event::Pause { request, id } => self.pause(request, id, out),
            Event::Resume(id) => self.resume(id, out),
            Event::Credit(credit) => self.credit_here(credit, out),
            Event::Flush { request } => self.flush(request, out),
            Event::Read { request } => self.read(request, out),
            Event::ReadDone { request } => self.read_done(request, out),
            Event::NeedSync => self.need_sync(out),
            Event::Journaled(ticket) => {
                self.local.journaled(ticket);
                self.local_advanced(out);
            }
            Event::Synced(ticket) => {
                self.local.synced_up_to(ticket);
                self.local_advanced(out);
            }
            Event::JournalFailed => self.fail(out),
            Event::JournalRead { to, after, records } => self.journal_read(to, after, records, out),
            Event::JournalStarts(lsn) => self.journal_start = self.journal_start.max(lsn),
            Event::Floor(lsn) => self.local.floor = self.local.floor.max(lsn),
            Event::Message { from, message } => self.message(from, message, out),
            Event::PeerDown(node) => self.peer_down(node, out),
            Event::Configuration { configuration, is_fresh } => {
                if is_fresh {
                    self.fresh_epoch.get_or_insert(configuration.epoch);
                }
                self.learn(configuration, out);
            }
            Event::ProposalFailed => self.proposal_failed(out),
            Event::Placement(nodes) => self.placement = nodes,
            Event::InSyncMin(count) => {
                self.policy.in_sync_min = count.max(1);
                self.advance(out);
            }
            Event::Windows(windows) => self.policy.windows = windows,
            Event::HandOver { request, to } => self.wish(request, to, out),
            Event::Pinned { node, at } => self.pinned(node, at),
            Event::PinLost(node) => _ = self.pins.remove(&node),
            Event::TransferFailed(transfer) => self.transfer_failed(transfer),
            Event::Installed { transfer, history } => self.installed(transfer, history, out),
            Event::Timer => self.timer(out),
        }
    }

    /// When [`Event::Timer`] is due: never after a failure.
    #[must_use]
    pub fn deadline(&self) -> Tick {
        if self.failed { Tick(u64::MAX) } else { self.timer_at }
    }

    /// What it is at the moment.
    #[must_use]
    pub fn role(&self) -> Role {
        match (&self.acting, self.standing()) {
            (Acting::Primary(_), _) => Role::Primary,
            (Acting::Follower(_), Standing::Sound(_)) => Role::Backup,
            (Acting::Follower(_), _) => Role::Outside,
        }
    }

    /// The newest configuration it knows.
    #[must_use]
    pub fn configuration(&self) -> Option<&Configuration> {
        self.configuration.as_ref()
    }

    /// The last record it has.
    #[must_use]
    pub fn end(&self) -> Position {
        self.local.end()
    }

    /// Its log.
    #[must_use]
    pub fn history(&self) -> &History {
        self.local.history()
    }

    /// Every member holds everything up to here, as far as it knows.
    #[must_use]
    pub fn committed(&self) -> Lsn {
        self.committed
    }

    /// Every member has synced everything up to here, as far as it knows.
    #[must_use]
    pub fn flushable(&self) -> Lsn {
        self.flushable
    }

    fn epoch(&self) -> Epoch {
        self.configuration.as_ref().map_or(Epoch(0), |configuration| configuration.epoch)
    }

    /// What a standing is worth in the present configuration: that of a time before it became a member is worth nothing.
    fn standing_of(&self, node: NodeId, standing: Standing) -> Standing {
        let since = self.configuration.as_ref().and_then(|it| it.member(node)).map(|member| member.since);
        match (standing, since) {
            (Standing::Sound(epoch) | Standing::Doubtful(epoch), Some(since)) if epoch >= since => standing,
            _ => Standing::Outside,
        }
    }

    fn standing(&self) -> Standing {
        self.standing_of(self.me, self.standing)
    }

    fn is_sound(&self) -> bool {
        matches!(self.standing(), Standing::Sound(_))
    }

    /// The present configuration, or one before it, was certainly the newest at some moment since the start: what this
    /// replica acknowledged in an earlier start was in no later one.
    fn is_current(&self) -> bool {
        self.fresh_epoch.is_some_and(|fresh| self.epoch() >= fresh)
    }

    fn note(&mut self, standing: Standing, out: &mut Vec<Action>) {
        self.standing = standing;
        out.push(Action::Note { ticket: self.local.ask(), standing });
    }

    fn sync(&mut self, out: &mut Vec<Action>) {
        out.push(Action::Sync { ticket: self.local.ask_sync() });
    }

    fn fetch(&mut self, out: &mut Vec<Action>) {
        self.fetched_at = self.now;
        out.push(Action::FetchConfiguration);
    }

    fn message(&mut self, from: NodeId, message: Message, out: &mut Vec<Action>) {
        let (epoch, theirs) = (self.epoch(), message.epoch());
        // A log that is ahead of the configuration belongs to one that is not known yet.
        if theirs > epoch || self.local.end().epoch > epoch {
            self.fetch(out);
            return;
        }
        if theirs < epoch {
            if !matches!(message, Message::Stale(_)) {
                out.push(Action::Send(from, Message::Stale(epoch)));
            }
            return;
        }
        match message {
            Message::Greet(greet) => self.greeted(from, greet, out),
            Message::Status(status) => self.status(from, status, out),
            Message::Append(append) => self.append(from, append, out),
            Message::Appended(appended) => self.appended(from, appended, out),
            Message::Offer(offer) => self.offered(from, offer, out),
            Message::Ready(offer) => self.ready(from, offer, out),
            Message::WantSync(_) => self.need_sync(out),
            Message::Resigned(_) => self.resigned(from, out),
            Message::Credit { from: start, credit, .. } => self.credited(from, start, credit, out),
            Message::Stale(_) => {}
        }
    }

    fn local_advanced(&mut self, out: &mut Vec<Action>) {
        match self.acting {
            Acting::Primary(_) => self.advance(out),
            Acting::Follower(_) => self.follow_up(out),
        }
    }

    fn learn(&mut self, next: Configuration, out: &mut Vec<Action>) {
        if next.epoch <= self.epoch() || !next.is_valid() {
            return;
        }
        let last = self.configuration.replace(next.clone());
        self.proposed_at = None;
        self.others.clear();
        self.pin_for_removed(last.as_ref(), out);
        let was_primary = matches!(self.acting, Acting::Primary(_));
        if was_primary && next.primary == self.me {
            self.go_on_as_primary(out);
        } else {
            if self.close(out) {
                self.stepped_down = Some(next.epoch);
                self.resign_to(next.primary, out);
            }
            let has_served = self.has_served(last.as_ref());
            self.acting = Acting::Follower(Follower::new(self.now));
            if next.primary == self.me && self.may_act() {
                self.become_primary(has_served, out);
            }
        }
    }

    /// It may act as primary of the present configuration: it has everything that was acknowledged, and has not been
    /// primary of it in an earlier start, which may have given out LSNs that it does not know of.
    fn may_act(&self) -> bool {
        let is_loss = self.configuration.as_ref().is_some_and(|it| it.loss == it.epoch);
        let may_serve = self.is_sound() || (is_loss && self.decreed == Some(self.epoch()));
        may_serve && self.epoch() > self.local.end().epoch && self.is_made_since_start()
    }

    /// The present configuration did not exist before this start. Or it is the volume's first, and nothing is in the log: then
    /// an earlier start has given out no LSN but that of the opening.
    fn is_made_since_start(&self) -> bool {
        let is_untouched = self.epoch() == Epoch(1) && self.local.end() == Position::default();
        is_untouched || self.fresh_epoch.is_some_and(|fresh| self.epoch() > fresh)
    }

    /// Its log shows that it served the volume in the last epoch, in an earlier start: then it has granted no lease since
    /// the one before.
    fn has_served(&self, last: Option<&Configuration>) -> bool {
        let starts = self.local.history().starts();
        let has_written = |epoch| starts.last().is_some_and(|(of, first)| *of == epoch && *first < self.end().lsn);
        last.is_some_and(|last| last.primary == self.me && has_written(last.epoch)) && self.granted_to.is_none()
    }

    fn timer(&mut self, out: &mut Vec<Action>) {
        let late = self.now.since(self.timer_at) > 2 * self.policy.timing.heartbeat_us;
        self.timer_at = self.now.plus(self.policy.timing.heartbeat_us);
        if late {
            // It was stopped: that it heard of nobody says nothing about them.
            self.forgive();
        }
        match self.acting {
            Acting::Primary(_) => self.primary_timer(out),
            Acting::Follower(_) => self.follower_timer(out),
        }
        self.unpin_returned(out);
        if self.now.since(self.fetched_at) > 4 * self.policy.timing.heartbeat_us && !self.is_in_touch() {
            self.fetch(out);
        }
    }

    fn forgive(&mut self) {
        let now = self.now;
        match &mut self.acting {
            Acting::Primary(primary) => {
                primary.synced_at = now;
                primary.peers.values_mut().for_each(|peer| peer.forgive(now));
            }
            Acting::Follower(follower) => follower.heard_at = now,
        }
    }

    /// The configuration is likely to be the newest: as primary it serves, as a member it hears of its primary.
    fn is_in_touch(&self) -> bool {
        match &self.acting {
            Acting::Primary(_) => self.serves_reads(self.now),
            Acting::Follower(_) => self.is_sound() && self.sees_primary(),
        }
    }

    /// The latest moment from which another one may serve, for all that this replica granted.
    fn granted_until(&self) -> Tick {
        self.granted_at.plus(self.policy.timing.grace_us)
    }

    fn may_propose(&self) -> bool {
        self.proposed_at.is_none_or(|at| self.now.since(at) > self.policy.timing.proposal_us)
    }

    fn propose(&mut self, next: Configuration, out: &mut Vec<Action>) {
        self.proposed_at = Some(self.now);
        out.push(Action::Propose(next));
    }

    fn proposal_failed(&mut self, out: &mut Vec<Action>) {
        // The next attempt is left to the timer, so that two candidates do not hurry each other.
        self.fetch(out);
    }

    fn report_status(&mut self, to: NodeId, sent: Tick, out: &mut Vec<Action>) {
        let granted = self.grant(to);
        let status = Status {
            epoch: self.epoch(),
            from: self.incarnation,
            sent,
            granted,
            standing: self.standing,
            history: self.local.history().clone(),
            floor: self.local.floor,
            transfer: self.receiving(),
            sees_primary: self.sees_primary(),
        };
        out.push(Action::Send(to, Message::Status(status)));
    }

    fn raise_committed(&mut self, lsn: Lsn, out: &mut Vec<Action>) {
        if lsn > self.committed {
            self.committed = lsn;
            out.push(Action::Visible(lsn));
        }
    }

    fn raise_flushable(&mut self, lsn: Lsn, out: &mut Vec<Action>) {
        if lsn > self.flushable {
            self.flushable = lsn;
            out.push(Action::Flushable(lsn));
        }
    }
}

#[cfg(test)]
mod tests;
