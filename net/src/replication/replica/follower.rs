//! What a replica does that is not primary: takes records, grants leases, becomes sound.

use super::super::action::Action;
use super::super::history::History;
use super::super::id::{Lsn, NodeId, Tick, Ticket, TransferId};
use super::super::message::{Append, Appended, Greet, Message, Offer, Record, Standing, Status};
use super::{Acting, Replica};

#[derive(Debug)]
pub(super) struct Follower {
    /// When it last heard of the primary.
    pub(super) heard_at: Tick,
    /// Up to here the log is the primary's in this epoch.
    matched: Lsn,
    sync_wanted: Lsn,
    /// When the primary sent what was last taken from it, and whether a lease was granted then.
    answering: (Tick, bool),
    /// What the primary was last told: held and synced.
    told: (Lsn, Lsn),
    /// The primary counts on it.
    as_member: bool,
    /// The primary has still to be told what the store here can take.
    owes_credit: bool,
    /// When it began to ask the others whether it should take over.
    pub(super) asked_at: Option<Tick>,
    transfer: Option<Transfer>,
}

/// Content that comes instead of records.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    offer: Offer,
    /// This sync makes it durable that the content cannot be relied on; `None` once it has.
    noted: Option<Ticket>,
}

impl Follower {
    pub(super) fn new(now: Tick) -> Self {
        Self {
            heard_at: now,
            matched: Lsn(0),
            sync_wanted: Lsn(0),
            answering: (Tick(0), false),
            told: (Lsn(0), Lsn(0)),
            as_member: false,
            owes_credit: true,
            asked_at: None,
            transfer: None,
        }
    }
}

impl Replica {
    pub(super) fn follower(&mut self) -> Option<&mut Follower> {
        match &mut self.acting {
            Acting::Follower(follower) => Some(follower),
            Acting::Primary(_) => None,
        }
    }

    /// The transfer that it receives, or is getting ready for.
    #[must_use]
    pub fn receiving(&self) -> Option<TransferId> {
        match &self.acting {
            Acting::Follower(follower) => follower.transfer.map(|transfer| transfer.offer.transfer),
            Acting::Primary(_) => None,
        }
    }

    pub(super) fn is_my_primary(&self, node: NodeId) -> bool {
        node != self.me && self.configuration.as_ref().is_some_and(|it| it.primary == node)
    }

    pub(super) fn sees_primary(&self) -> bool {
        match &self.acting {
            Acting::Primary(_) => true,
            Acting::Follower(follower) => {
                let is_me = self.configuration.as_ref().is_none_or(|it| it.primary == self.me);
                !is_me && self.now.since(follower.heard_at) < 3 * self.policy.timing.heartbeat_us
            }
        }
    }

    /// Lets the primary serve for a lease's time, if `node` is the primary and this replica could take its place.
    pub(super) fn grant(&mut self, node: NodeId) -> bool {
        if !self.is_my_primary(node) || !self.is_sound() || matches!(self.acting, Acting::Primary(_)) {
            return false;
        }
        self.granted_at = self.now;
        self.granted_to = Some(node);
        true
    }

    fn hear(&mut self, from: NodeId) {
        let now = self.now;
        if self.is_my_primary(from)
            && let Some(follower) = self.follower()
        {
            follower.heard_at = now;
            follower.asked_at = None;
        }
    }

    pub(super) fn greeted(&mut self, from: NodeId, greet: Greet, out: &mut Vec<Action>) {
        self.hear(from);
        self.report_status(from, greet.sent, out);
        if self.is_my_primary(from) {
            self.resign_to(from, out);
        }
    }

    pub(super) fn append(&mut self, from: NodeId, append: Append, out: &mut Vec<Action>) {
        if !self.is_my_primary(from) {
            return;
        }
        self.hear(from);
        if append.to != self.incarnation {
            self.report_status(from, Tick(0), out);
            return;
        }
        let granted = self.grant(from);
        let Some(follower) = self.follower() else { return };
        if follower.transfer.is_some() {
            return;
        }
        if append.sent >= follower.answering.0 {
            follower.answering = (append.sent, granted);
        }
        let Append { prev, records, committed, flushable, sync, as_member, .. } = append;
        if !self.local.history().has(prev) {
            let after = self.matched().min(prev.lsn);
            self.tell(from, Some(after), out);
            return;
        }
        let last = Lsn(prev.lsn.0 + records.len() as u64);
        if !self.take(from, prev.lsn, records, out) {
            return;
        }
        let Some(follower) = self.follower() else { return };
        follower.matched = follower.matched.max(last);
        follower.as_member |= as_member;
        follower.sync_wanted = follower.sync_wanted.max(sync);
        let matched = follower.matched;
        // Before the primary hears that this replica could be a member.
        self.tell_credit(out);
        self.raise_committed(committed.min(matched), out);
        // What it has beyond that is of an older epoch and may be cut off.
        self.raise_flushable(flushable.min(matched).min(self.local.synced()).min(self.committed), out);
        // Records are answered when they are in the journal, anything else at once.
        if self.local.handed() >= matched {
            self.tell(from, None, out);
        }
        self.follow_up(out);
    }

    fn matched(&mut self) -> Lsn {
        self.follower().map_or(Lsn(0), |follower| follower.matched)
    }

    /// Puts the records behind `after` into the log, and cuts off what is there instead. False if that would undo what
    /// must stay.
    fn take(&mut self, from: NodeId, after: Lsn, records: Vec<Record>, out: &mut Vec<Action>) -> bool {
        let has = |(index, record): &(usize, &Record)| {
            self.local.history().epoch_of(Lsn(after.0 + 1 + *index as u64)) == Some(record.epoch)
        };
        let known = records.iter().enumerate().take_while(has).count();
        let keep = Lsn(after.0 + known as u64);
        if known == records.len() {
            return true;
        }
        if !epochs_ascend(self.local.history().epoch_of(keep), &records[known..]) {
            return false;
        }
        if keep < self.local.end().lsn {
            // What every member held may still be undone by a loss; what every member synced may not.
            let must_stay = self.local.floor.max(self.flushable).max(self.matched());
            if keep < must_stay {
                // A primary that was forgotten long ago knows nothing of what an earlier start took in a newer epoch.
                if self.is_current() {
                    out.push(Action::Diverged(from));
                } else {
                    self.fetch(out);
                }
                return false;
            }
            self.committed = self.committed.min(keep);
            out.push(Action::Truncate { ticket: self.local.truncate(keep), beyond: keep });
        }
        let new = records.into_iter().skip(known).collect::<Vec<_>>();
        new.iter().for_each(|record| self.local.push(record.epoch));
        out.push(Action::Journal { ticket: self.local.ask(), first: keep.next(), records: new });
        true
    }

    fn tell(&mut self, primary: NodeId, resend_after: Option<Lsn>, out: &mut Vec<Action>) {
        let (epoch, from) = (self.epoch(), self.incarnation);
        let (handed, durable) = (self.local.handed(), self.local.synced());
        let Some(follower) = self.follower() else { return };
        let (held, synced) = (handed.min(follower.matched), durable.min(follower.matched));
        follower.told = (held, synced);
        let (sent, granted) = follower.answering;
        let answer = Appended { epoch, from, sent, granted, held, synced, resend_after };
        out.push(Action::Send(primary, Message::Appended(answer)));
    }

    /// Does what becomes possible when the journal has got further.
    pub(super) fn follow_up(&mut self, out: &mut Vec<Action>) {
        self.prepare_transfer(out);
        let (handed, synced) = (self.local.handed(), self.local.synced());
        let Some(follower) = self.follower() else { return };
        let (matched, wanted) = (follower.matched, follower.sync_wanted.min(follower.matched));
        let told = follower.told;
        if (handed.min(matched), synced.min(matched)) > told
            && let Some(primary) = self.configuration.as_ref().map(|it| it.primary)
        {
            self.tell(primary, None, out);
        }
        if synced < wanted && !self.local.is_syncing(wanted) {
            self.sync(out);
        }
        self.become_sound(out);
    }

    /// What is told is about the primary's log: told once the log here is that.
    fn tell_credit(&mut self, out: &mut Vec<Action>) {
        let (epoch, from, credit) = (self.epoch(), self.incarnation, self.credit);
        let Some(follower) = self.follower() else { return };
        let due = credit.filter(|credit| follower.owes_credit && credit.at <= follower.matched);
        let Some(credit) = due else { return };
        follower.owes_credit = false;
        if let Some(primary) = self.configuration.as_ref().map(|it| it.primary) {
            out.push(Action::Send(primary, Message::Credit { epoch, from, credit }));
        }
    }

    pub(super) fn owe_credit(&mut self, out: &mut Vec<Action>) {
        if let Some(follower) = self.follower() {
            follower.owes_credit = true;
            self.tell_credit(out);
        }
    }

    /// A member that has synced the first record of its primary's epoch has everything that was acknowledged before, and
    /// nothing is acknowledged without it from then on.
    fn become_sound(&mut self, out: &mut Vec<Action>) {
        let epoch = self.epoch();
        let Some(follower) = self.follower() else { return };
        let (matched, as_member) = (follower.matched, follower.as_member);
        if !as_member || !self.is_current() || self.is_sound() || self.local.history().epoch_of(matched) != Some(epoch)
        {
            return;
        }
        if self.local.history().epoch_of(self.local.synced().min(matched)) == Some(epoch) {
            self.note(Standing::Sound(epoch), out);
            self.sync(out);
        } else if !self.local.is_syncing(matched) {
            self.sync(out);
        }
    }

    pub(super) fn offered(&mut self, from: NodeId, offer: Offer, out: &mut Vec<Action>) {
        if !self.is_my_primary(from) || offer.to != self.incarnation {
            return;
        }
        self.hear(from);
        if self.is_sound() {
            // What a sound member holds is never thrown away. The offer is a late one, from before it was sound.
            self.report_status(from, Tick(0), out);
            return;
        }
        let Some(follower) = self.follower() else { return };
        match follower.transfer {
            Some(transfer) if transfer.offer == offer => {
                if transfer.noted.is_none() {
                    out.push(Action::Send(from, Message::Ready(offer)));
                }
                return;
            }
            Some(other) => out.push(Action::CancelTransfer(other.offer.transfer)),
            None => {}
        }
        self.note(Standing::Outside, out);
        let noted = Some(self.local.ask_sync());
        out.extend(noted.map(|ticket| Action::Sync { ticket }));
        if let Some(follower) = self.follower() {
            follower.transfer = Some(Transfer { offer, noted });
        }
    }

    fn prepare_transfer(&mut self, out: &mut Vec<Action>) {
        let synced = self.local.last_synced();
        let Some(primary) = self.configuration.as_ref().map(|it| it.primary) else { return };
        if let Some(Transfer { offer, noted }) = self.follower().and_then(|follower| follower.transfer.as_mut())
            && noted.is_some_and(|ticket| ticket <= synced)
        {
            *noted = None;
            let offer = *offer;
            out.push(Action::ReceiveContent { from: primary, transfer: offer.transfer });
            out.push(Action::Send(primary, Message::Ready(offer)));
        }
    }

    pub(super) fn installed(&mut self, transfer: TransferId, history: History, out: &mut Vec<Action>) {
        let Some(follower) = self.follower() else { return };
        if follower.transfer.is_none_or(|it| it.offer.transfer != transfer) {
            return;
        }
        (follower.transfer, follower.matched) = (None, Lsn(0));
        let end = history.end().lsn;
        self.local.replace(history);
        self.journal_start = end.next();
        self.raise_committed(end, out);
        self.raise_flushable(end, out);
        if let Some(primary) = self.configuration.as_ref().map(|it| it.primary) {
            self.report_status(primary, Tick(0), out);
        }
    }

    pub(super) fn transfer_failed_here(&mut self, transfer: TransferId) {
        if let Some(follower) = self.follower()
            && follower.transfer.is_some_and(|it| it.offer.transfer == transfer)
        {
            follower.transfer = None;
        }
    }

    /// The last primary that was granted a lease has stopped.
    pub(super) fn resigned(&mut self, from: NodeId, out: &mut Vec<Action>) {
        if self.granted_to != Some(from) {
            return;
        }
        self.granted_to = None;
        self.granted_at = Tick(self.now.0.saturating_sub(self.policy.timing.grace_us));
        if let Acting::Primary(primary) = &mut self.acting {
            primary.open_at = primary.open_at.min(self.now);
            self.advance(out);
        }
    }

    pub(super) fn remember(&mut self, from: NodeId, status: Status) {
        self.others.insert(from, (status, self.now));
    }
}

/// No record is of an older epoch than the one before it.
fn epochs_ascend(before: Option<super::Epoch>, records: &[Record]) -> bool {
    records.is_sorted_by_key(|record| record.epoch)
        && before.zip(records.first()).is_none_or(|(before, first)| before <= first.epoch)
}
