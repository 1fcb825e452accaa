//! Bringing a peer to what the primary has: by records while the journal reaches back, else by content, of which only
//! what differs from a snapshot travels if one is pinned for it.

use super::super::action::{Action, Base};
use super::super::configuration::Configuration;
use super::super::history::Position;
use super::super::id::{Incarnation, Lsn, NodeId, TransferId};
use super::super::message::{Message, Offer, Record, Status};
use super::peer::Phase;
use super::{Acting, Replica};

impl Replica {
    /// Finds where a peer's log parts from this one, and how it is brought along.
    pub(super) fn match_logs(&mut self, node: NodeId, status: &Status, out: &mut Vec<Action>) {
        let shared = self.local.history().shared_with(&status.history);
        let reaches = self.local.history().reaches_from(shared.lsn);
        let by_log = shared.lsn >= status.floor && shared.lsn.next() >= self.journal_start && reaches;
        let by_log = by_log && status.transfer.is_none();
        let now = self.now;
        let Some(peer) = self.primary().and_then(|primary| primary.peers.get_mut(&node)) else { return };
        if matches!(peer.phase, Phase::Log(_)) && status.transfer.is_some() {
            // A late offer has reached it, and it has given up what it had.
            peer.phase = Phase::Unknown;
        }
        match peer.phase {
            Phase::Log(_) => {}
            _ if by_log => {
                out.extend(peer.transfer().map(Action::CancelTransfer));
                peer.start_log(now, shared);
                self.pump(node, out);
                if !self.has_in_flight(node) {
                    self.send_records(node, Vec::new(), out);
                }
            }
            // What it has received has been overtaken, or it has given up.
            Phase::Content(transfer) if status.transfer != Some(transfer) => {
                peer.phase = Phase::Unknown;
                out.push(Action::CancelTransfer(transfer));
            }
            Phase::Unknown if peer.takes_offers(now) => {
                let base = if shared.lsn >= status.floor { shared } else { Position::default() };
                self.offer_content(node, status.from, base, out);
            }
            Phase::Unknown | Phase::Offered(..) | Phase::Content(_) => {}
        }
    }

    /// The nodes that are being brought along by records, and how many of those each of them lacks.
    #[must_use]
    pub fn behind(&self) -> Vec<(NodeId, u64)> {
        let Acting::Primary(primary) = &self.acting else { return Vec::new() };
        let end = self.end().lsn;
        let lacks = |phase: Phase| match phase {
            Phase::Log(progress) => Some(end.0.saturating_sub(progress.held.max(progress.shared).0)),
            Phase::Unknown | Phase::Offered(..) | Phase::Content(_) => None,
        };
        let outside = primary.peers.iter().filter(|(_, peer)| !peer.as_member);
        outside.filter_map(|(node, peer)| Some((*node, lacks(peer.phase)?))).collect()
    }

    fn has_in_flight(&self, node: NodeId) -> bool {
        self.progress_of(node).is_some_and(|progress| progress.next > progress.shared.next())
    }

    fn offer_content(&mut self, node: NodeId, to: Incarnation, base: Position, out: &mut Vec<Action>) {
        let transfer = TransferId(self.incarnation.0.wrapping_add(self.transfers));
        self.transfers += 1;
        let epoch = self.epoch();
        if let Some(peer) = self.primary().and_then(|primary| primary.peers.get_mut(&node)) {
            peer.phase = Phase::Offered(transfer, base);
            out.push(Action::Send(node, Message::Offer(Offer { epoch, to, transfer })));
        }
    }

    pub(super) fn offer_again(&mut self, node: NodeId, to: Incarnation, out: &mut Vec<Action>) {
        let epoch = self.epoch();
        if let Some(Phase::Offered(transfer, _)) = self.primary().and_then(|it| it.peers.get(&node)).map(|it| it.phase)
        {
            out.push(Action::Send(node, Message::Offer(Offer { epoch, to, transfer })));
        }
    }

    pub(super) fn ready(&mut self, from: NodeId, offer: Offer, out: &mut Vec<Action>) {
        let pinned = self.pins.get(&from).copied().flatten();
        let now = self.now;
        let Some(peer) = self.primary().and_then(|primary| primary.peers.get_mut(&from)) else { return };
        peer.heard_at = now;
        let (Phase::Offered(transfer, shared), Some(incarnation)) = (peer.phase, peer.incarnation) else { return };
        if transfer != offer.transfer || incarnation != offer.to {
            return;
        }
        peer.phase = Phase::Content(transfer);
        let base = pinned.filter(|at| *at > Lsn(0) && *at <= shared.lsn).map_or(Base::Nothing, Base::Pinned);
        out.push(Action::SendContent { to: from, transfer, base });
    }

    pub(super) fn transfer_failed(&mut self, transfer: TransferId) {
        let now = self.now;
        if let Acting::Primary(primary) = &mut self.acting {
            let broken = primary.peers.values_mut().filter(|peer| peer.transfer() == Some(transfer));
            broken.for_each(|peer| peer.transfer_failed(now));
        }
        self.transfer_failed_here(transfer);
    }

    pub(super) fn read_back(&mut self, to: NodeId, out: &mut Vec<Action>) {
        let (now, windows, start) = (self.now, self.policy.windows, self.journal_start);
        let Some(peer) = self.primary().and_then(|primary| primary.peers.get_mut(&to)) else { return };
        let Some(progress) = peer.progress_mut() else { return };
        if progress.next < start {
            // The journal was cut meanwhile; the peer says again what it has.
            peer.phase = Phase::Unknown;
            return;
        }
        if progress.reading.is_none() {
            progress.reading = Some(now);
            let (count_max, bytes_max) = (windows.batch, windows.batch_bytes);
            out.push(Action::ReadJournal { to, after: Lsn(progress.next.0 - 1), count_max, bytes_max });
        }
    }

    pub(super) fn forget_lost_reading(&mut self, node: NodeId) {
        let (now, member_us) = (self.now, self.policy.timing.member_us);
        if let Some(progress) =
            self.primary().and_then(|primary| primary.peers.get_mut(&node)).and_then(|peer| peer.progress_mut())
        {
            progress.reading = progress.reading.filter(|at| now.since(*at) < member_us);
        }
    }

    pub(super) fn journal_read(&mut self, to: NodeId, after: Lsn, mut records: Vec<Record>, out: &mut Vec<Action>) {
        // What was read beyond a message is read again.
        records.truncate(self.policy.windows.batch_of(records.iter()));
        let Some(peer) = self.primary().and_then(|primary| primary.peers.get_mut(&to)) else { return };
        let Some(progress) = peer.progress_mut() else { return };
        if progress.reading.take().is_none() || progress.next.0 != after.0 + 1 {
            return;
        }
        self.send_records(to, records, out);
        self.pump(to, out);
    }

    /// Keeps what a node had that is no longer a member, so that only what changed has to travel when it is back.
    pub(super) fn pin_for_removed(&mut self, last: Option<&Configuration>, out: &mut Vec<Action>) {
        let (Some(last), Some(next)) = (last, self.configuration.as_ref()) else { return };
        if !next.contains(self.me) {
            let all = std::mem::take(&mut self.pins);
            out.extend(all.into_keys().map(Action::Unpin));
            return;
        }
        let at_most = self.flushable;
        for node in last.others(self.me).filter(|node| !next.contains(*node)) {
            if let std::collections::btree_map::Entry::Vacant(entry) = self.pins.entry(node) {
                entry.insert(None);
                out.push(Action::Pin { node, at_most });
            }
        }
    }

    pub(super) fn pinned(&mut self, node: NodeId, at: Lsn) {
        if let Some(pin) = self.pins.get_mut(&node) {
            *pin = Some(at);
        }
    }

    /// Gives up what was kept for nodes that are members again, once every member has synced a record of that time, or
    /// that will not come back.
    pub(super) fn unpin_returned(&mut self, out: &mut Vec<Action>) {
        let Some(configuration) = &self.configuration else { return };
        let newest = self.local.history().epoch_of(self.flushable.min(self.local.end().lsn));
        let has_settled = |node: NodeId| configuration.member(node).is_some_and(|it| newest >= Some(it.since));
        let is_unwanted = |node: NodeId| !self.placement.is_empty() && !self.placement.contains(&node);
        let gone: Vec<NodeId> =
            self.pins.keys().copied().filter(|node| has_settled(*node) || is_unwanted(*node)).collect();
        for node in gone {
            self.pins.remove(&node);
            out.push(Action::Unpin(node));
        }
    }
}
