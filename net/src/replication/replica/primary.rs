//! What the primary does: opens its epoch, sends its log, and moves the two watermarks: what every member holds, and what
//! every member has synced.

use std::collections::{BTreeMap, VecDeque};

use super::super::action::{Action, Outcome};
use super::super::id::{Lsn, NodeId, RequestId, Tick};
use super::super::message::{Append, Appended, Body, Greet, Message, Record, Standing, Status};
use super::super::policy::Windows;
use super::credit::Ordered;
use super::habit::Habit;
use super::pause::Pause;
use super::peer::{Peer, Phase};
use super::{Acting, Replica};

/// A request that waits for a watermark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) request: RequestId,
    pub(super) lsn: Lsn,
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Primary {
    /// The first record of the epoch.
    pub(super) opening: Lsn,
    /// No lease that this replica granted is valid from then on.
    pub(super) open_at: Tick,
    pub(super) is_open: bool,
    /// It gives the volume away: it serves nothing more in this epoch.
    pub(super) is_leaving: bool,
    /// Who asked for the volume and has not got it yet.
    pub(super) wished: Option<NodeId>,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    /// The newest records; the last one is the log's last.
    pub(super) recent: VecDeque<Record>,
    /// Bytes of payload in them.
    recent_bytes: u64,
    pub(super) writes: VecDeque<Waiting>,
    pub(super) flushes: VecDeque<Waiting>,
    pub(super) accepted_bytes: u64,
    pub(super) is_admitting: bool,
    /// What was ordered needs so much room.
    pub(super) ordered: Ordered,
    /// Until then members that have not said what their stores can take are waited for.
    pub(super) credit_by: Tick,
    /// A write was refused that another word of a member could let in.
    pub(super) awaits_credit: bool,
    /// Only what belongs to this is ordered while it lasts.
    pub(super) pause: Option<Pause>,
    /// What the members shall sync.
    pub(super) sync_wanted: Lsn,
    /// What the log here had synced, and when that last grew or was all that is wanted.
    synced: Lsn,
    pub(super) synced_at: Tick,
    pub(super) habit: Habit,
}

impl Primary {
    /// Keeps a new record for peers, and as many before it as there is room for.
    fn keep(&mut self, record: Record, windows: &Windows) {
        self.recent_bytes += record.bytes();
        self.recent.push_back(record);
        while self.recent.len() > 1
            && (self.recent.len() > windows.recent || self.recent_bytes > windows.recent_bytes)
            && let Some(oldest) = self.recent.pop_front()
        {
            self.recent_bytes -= oldest.bytes();
        }
    }
}

impl Replica {
    pub(super) fn primary(&mut self) -> Option<&mut Primary> {
        match &mut self.acting {
            Acting::Primary(primary) => Some(primary),
            Acting::Follower(_) => None,
        }
    }

    pub(super) fn become_primary(&mut self, has_served: bool, out: &mut Vec<Action>) {
        // Nobody can have been granted a lease before a volume's first configuration.
        let is_first = self.epoch().0 == 1;
        let open_at = if is_first || has_served { self.now } else { self.granted_until() };
        self.acting = Acting::Primary(Box::new(Primary {
            opening: Lsn(0),
            open_at,
            is_open: false,
            is_leaving: false,
            wished: None,
            peers: BTreeMap::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            writes: VecDeque::new(),
            flushes: VecDeque::new(),
            accepted_bytes: 0,
            is_admitting: true,
            ordered: Ordered::new(self.local.end().lsn),
            credit_by: self.now,
            awaits_credit: false,
            pause: None,
            sync_wanted: Lsn(0),
            synced: Lsn(0),
            synced_at: self.now,
            habit: Habit::default(),
        }));
        if !self.is_sound() {
            self.note(Standing::Sound(self.epoch()), out);
        }
        self.go_on_as_primary(out);
    }

    /// Begins the present epoch: with a record of its own, which commits what came before.
    pub(super) fn go_on_as_primary(&mut self, out: &mut Vec<Action>) {
        let (now, me, epoch, member_us) = (self.now, self.me, self.epoch(), self.policy.timing.member_us);
        let Some(configuration) = self.configuration.clone() else { return };
        let Some(primary) = self.primary() else { return };
        let before = std::mem::take(&mut primary.peers);
        out.extend(before.values().filter_map(Peer::transfer).map(Action::CancelTransfer));
        for node in configuration.others(me) {
            let mut peer = Peer::new(now, true);
            peer.granted = before.get(&node).and_then(|before| before.granted);
            primary.peers.insert(node, peer);
        }
        primary.is_leaving = false;
        primary.credit_by = now.plus(member_us);
        self.order(Body::Opening, out);
        let opening = self.local.end().lsn;
        if let Some(primary) = self.primary() {
            primary.opening = opening;
            primary.sync_wanted = primary.sync_wanted.max(opening);
        }
        for node in configuration.others(me) {
            out.push(Action::Send(node, Message::Greet(Greet { epoch, sent: now })));
        }
        self.sync_locally(out);
        self.advance(out);
    }

    /// Appends a record to the log.
    pub(super) fn order(&mut self, body: Body, out: &mut Vec<Action>) {
        let record = Record { epoch: self.epoch(), body };
        self.local.push(record.epoch);
        let (ticket, first) = (self.local.ask(), self.local.end().lsn);
        let windows = self.policy.windows;
        if let Some(primary) = self.primary() {
            primary.keep(record.clone(), &windows);
        }
        out.push(Action::Journal { ticket, first, records: vec![record] });
    }

    pub(super) fn status(&mut self, from: NodeId, status: Status, out: &mut Vec<Action>) {
        self.remember(from, status.clone());
        let is_member = self.configuration.as_ref().is_some_and(|it| it.contains(from));
        let is_wanted = is_member || self.placement.contains(&from);
        let standing = self.standing_of(from, status.standing);
        let now = self.now;
        let Some(primary) = self.primary() else { return };
        if !is_wanted {
            return;
        }
        let peer = primary.peers.entry(from).or_insert_with(|| Peer::new(now, false));
        peer.grant(now, status.granted, status.sent);
        let is_other_start = peer.incarnation.is_some_and(|incarnation| incarnation != status.from);
        if is_other_start {
            if peer.as_member && !matches!(standing, Standing::Sound(_)) {
                (peer.as_member, peer.is_lost) = (false, true);
            }
            out.extend(peer.transfer().map(Action::CancelTransfer));
            (peer.phase, peer.credit) = (Phase::Unknown, None);
        }
        peer.incarnation = Some(status.from);
        self.match_logs(from, &status, out);
        self.advance(out);
    }

    pub(super) fn appended(&mut self, from: NodeId, answer: Appended, out: &mut Vec<Action>) {
        let (now, rewind_us) = (self.now, self.policy.timing.heartbeat_us / 8);
        let Acting::Primary(primary) = &mut self.acting else { return };
        let wanted = primary.sync_wanted;
        let Some(peer) = primary.peers.get_mut(&from) else { return };
        if peer.incarnation != Some(answer.from) {
            return;
        }
        peer.grant(now, answer.granted, answer.sent);
        peer.take(now, &answer, self.local.history(), wanted, rewind_us);
        self.pump(from, out);
        self.advance(out);
        if !self.configuration.as_ref().is_some_and(|it| it.contains(from)) {
            // Under load it has everything for moments only, which a timer would miss.
            self.reshape(out);
        }
    }

    /// Sends a peer what it lacks, as far as its window lets through.
    pub(super) fn pump(&mut self, to: NodeId, out: &mut Vec<Action>) {
        while let Some(progress) = self.progress_of(to)
            && progress.next <= self.local.end().lsn
            && progress.next.0 <= progress.held.max(progress.shared).0 + self.policy.windows.in_flight
            && self.in_flight_bytes(to) < self.policy.windows.in_flight_bytes
        {
            let first = self.local.end().lsn.0 + 1 - self.primary().map_or(0, |primary| primary.recent.len()) as u64;
            if progress.next.0 < first {
                self.read_back(to, out);
                return;
            }
            let windows = self.policy.windows;
            let skip = (progress.next.0 - first) as usize;
            let Some(primary) = self.primary() else { return };
            let count = windows.batch_of(primary.recent.range(skip..));
            let records = primary.recent.range(skip..skip + count).cloned().collect();
            self.send_records(to, records, out);
        }
    }

    fn in_flight_bytes(&self, to: NodeId) -> u64 {
        let Acting::Primary(primary) = &self.acting else { return 0 };
        primary.peers.get(&to).map_or(0, Peer::in_flight_bytes)
    }

    pub(super) fn progress_of(&self, node: NodeId) -> Option<super::peer::Progress> {
        let Acting::Primary(primary) = &self.acting else { return None };
        primary.peers.get(&node).and_then(Peer::progress).copied()
    }

    /// Sends records from where the peer is, no more than a batch; none, as a heartbeat.
    pub(super) fn send_records(&mut self, to: NodeId, records: Vec<Record>, out: &mut Vec<Action>) {
        let (epoch, sent, committed, flushable) = (self.epoch(), self.now, self.committed, self.flushable);
        let Acting::Primary(primary) = &mut self.acting else { return };
        let sync = primary.sync_wanted.max(flushable);
        let Some(peer) = primary.peers.get_mut(&to) else { return };
        let as_member = peer.as_member;
        let (Some(incarnation), Some(progress)) = (peer.incarnation, peer.progress_mut()) else { return };
        let before = Lsn(progress.next.0 - 1);
        let Some(of) = self.local.history().epoch_of(before) else {
            // Nobody remembers who wrote what the peer has: it says that again, and gets content.
            peer.phase = Phase::Unknown;
            return;
        };
        progress.next.0 += records.len() as u64;
        let last = Lsn(progress.next.0 - 1);
        peer.sent(last, records.iter().map(Record::bytes).sum());
        let prev = super::Position { epoch: of, lsn: before };
        let append = Append { epoch, to: incarnation, sent, as_member, prev, records, committed, flushable, sync };
        out.push(Action::Send(to, Message::Append(append)));
    }

    fn nodes(&self) -> Vec<NodeId> {
        match &self.acting {
            Acting::Primary(primary) => primary.peers.keys().copied().collect(),
            Acting::Follower(_) => Vec::new(),
        }
    }

    pub(super) fn pump_all(&mut self, out: &mut Vec<Action>) {
        self.nodes().into_iter().for_each(|node| self.pump(node, out));
    }

    /// Asks every member to sync what the log holds now.
    pub(super) fn want_sync(&mut self, out: &mut Vec<Action>) {
        let end = self.local.end().lsn;
        let Some(primary) = self.primary() else { return };
        if primary.sync_wanted >= end {
            return;
        }
        primary.sync_wanted = end;
        self.sync_locally(out);
        for node in self.nodes() {
            self.send_records(node, Vec::new(), out);
        }
    }

    pub(super) fn sync_locally(&mut self, out: &mut Vec<Action>) {
        let Some(wanted) = self.primary().map(|primary| primary.sync_wanted) else { return };
        // One at a time: those that come meanwhile share the next.
        if self.local.synced() < wanted && !self.local.has_sync() {
            self.sync(out);
        }
    }

    /// Moves the watermarks as far as every member allows, and answers what waits for them.
    pub(super) fn advance(&mut self, out: &mut Vec<Action>) {
        let Some(configuration) = &self.configuration else { return };
        let (handed, synced, is_enough) =
            (self.local.handed(), self.local.synced(), configuration.members.len() >= self.policy.in_sync_min);
        let members: Vec<NodeId> = configuration.others(self.me).collect();
        let Some(primary) = self.primary() else { return };
        let of = |node: &NodeId| primary.peers.get(node);
        let held = members.iter().map(|node| of(node).map_or(Lsn(0), Peer::member_held)).fold(handed, Lsn::min);
        let durable = members.iter().map(|node| of(node).map_or(Lsn(0), Peer::member_synced)).fold(synced, Lsn::min);
        if held >= primary.opening && is_enough {
            self.raise_committed(held, out);
            self.raise_flushable(durable.min(held), out);
        }
        self.sync_locally(out);
        self.open(out);
        self.answer_waiting(out);
    }

    fn open(&mut self, out: &mut Vec<Action>) {
        let (now, committed, epoch) = (self.now, self.committed, self.epoch());
        let loss = self.configuration.as_ref().map(|it| it.loss);
        let Some(primary) = self.primary() else { return };
        if !primary.is_open && committed >= primary.opening && now >= primary.open_at {
            primary.is_open = true;
            out.extend(loss.map(|loss| Action::Opened { epoch, loss }));
        }
    }

    fn answer_waiting(&mut self, out: &mut Vec<Action>) {
        if !self.serves_reads(self.now) {
            return;
        }
        let (committed, flushable, windows) = (self.committed, self.flushable, self.policy.windows);
        let Some(primary) = self.primary() else { return };
        while let Some(write) = take_reached(&mut primary.writes, committed) {
            primary.accepted_bytes -= write.bytes;
            out.push(Action::Answer(write.request, Outcome::Done));
        }
        while let Some(flush) = take_reached(&mut primary.flushes, flushable) {
            out.push(Action::Answer(flush.request, Outcome::Done));
        }
        let has_room = primary.has_room(windows.accepted_bytes, windows.accepted);
        if has_room && !primary.is_admitting {
            primary.is_admitting = true;
            out.push(Action::Admit(true));
        }
    }

    /// Ends being primary, if it was. True if it may have served.
    pub(super) fn close(&mut self, out: &mut Vec<Action>) -> bool {
        let Some(primary) = self.primary() else { return false };
        out.extend(primary.peers.values().filter_map(Peer::transfer).map(Action::CancelTransfer));
        let waiting = primary.writes.drain(..).chain(primary.flushes.drain(..)).map(|waiting| waiting.request);
        out.extend(waiting.map(|request| Action::Answer(request, Outcome::Unknown)));
        if primary.is_open {
            out.push(Action::Closed);
        }
        primary.is_open
    }

    /// Tells the next primary that it need not wait for the lease.
    pub(super) fn resign_to(&self, next: NodeId, out: &mut Vec<Action>) {
        if self.stepped_down == Some(self.epoch()) {
            out.push(Action::Send(next, Message::Resigned(self.epoch())));
        }
    }

    pub(super) fn primary_timer(&mut self, out: &mut Vec<Action>) {
        let (epoch, sent) = (self.epoch(), self.now);
        for node in self.nodes() {
            let phase =
                self.primary().and_then(|primary| primary.peers.get(&node)).map(|peer| (peer.phase, peer.incarnation));
            match phase {
                Some((Phase::Log(_), _)) => {
                    self.forget_lost_reading(node);
                    self.pump(node, out);
                    self.send_records(node, Vec::new(), out);
                }
                Some((Phase::Offered(..), Some(incarnation))) => self.offer_again(node, incarnation, out),
                _ => out.push(Action::Send(node, Message::Greet(Greet { epoch, sent }))),
            }
        }
        self.watch_sync();
        self.reshape(out);
        self.advance(out);
        self.wake_to_open();
    }

    fn watch_sync(&mut self) {
        let (now, synced) = (self.now, self.local.synced());
        let Some(primary) = self.primary() else { return };
        if synced != primary.synced || synced >= primary.sync_wanted {
            (primary.synced, primary.synced_at) = (synced, now);
        }
    }

    fn wake_to_open(&mut self) {
        let now = self.now;
        if let Some(open_at) = self.primary().filter(|it| !it.is_open && it.open_at > now).map(|it| it.open_at) {
            self.timer_at = self.timer_at.min(open_at);
        }
    }
}

impl Primary {
    pub(super) fn has_room(&self, bytes_max: u64, count_max: usize) -> bool {
        self.accepted_bytes < bytes_max && self.writes.len() + self.flushes.len() < count_max
    }
}

/// Takes the first request if its watermark has been reached.
fn take_reached(waiting: &mut VecDeque<Waiting>, reached: Lsn) -> Option<Waiting> {
    let is_due = waiting.front().is_some_and(|first| first.lsn <= reached);
    if is_due { waiting.pop_front() } else { None }
}
