//! What clients ask of a replica, and when the primary may serve it.

use bytes::Bytes;

use super::super::action::{Action, Outcome, Refusal};
use super::super::event::Event;
use super::super::id::{NodeId, PauseId, RequestId, Tick};
use super::super::message::{Body, Message};
use super::super::wire::PAYLOAD_BYTES_MAX;
use super::primary::Waiting;
use super::{Acting, Replica};

impl Replica {
    /// True if a read may begin at `now`, and if one that has begun may be answered at `now`. Both must be asked: a
    /// process that was stopped in between may have been replaced.
    #[must_use]
    pub fn serves_reads(&self, now: Tick) -> bool {
        self.serves_until().is_some_and(|until| now < until)
    }

    /// Until when this replica may serve reads for all it knows; `None` if it may not.
    #[must_use]
    pub fn serves_until(&self) -> Option<Tick> {
        let Acting::Primary(primary) = &self.acting else { return None };
        if self.failed || !primary.is_open || primary.is_leaving {
            return None;
        }
        let lease_us = self.policy.timing.lease_us;
        let of = |node: NodeId| primary.peers.get(&node).and_then(|peer| peer.granted);
        let mut others = self.configuration.as_ref()?.others(self.me);
        others.try_fold(Tick(u64::MAX), |until, node| Some(until.min(of(node)?.plus(lease_us))))
    }

    /// Why a request cannot be taken, if it cannot.
    fn refusal(&self) -> Option<Refusal> {
        let primary = self.configuration.as_ref().map(|it| it.primary).filter(|node| *node != self.me);
        match &self.acting {
            Acting::Follower(_) => Some(Refusal::NotPrimary(primary)),
            Acting::Primary(primary) if !primary.is_open || primary.is_leaving => Some(Refusal::NotReady),
            Acting::Primary(_) => None,
        }
    }

    pub(super) fn refuses(&self, request: RequestId, out: &mut Vec<Action>) -> bool {
        let refusal = self.refusal();
        out.extend(refusal.map(|refusal| Action::Answer(request, Outcome::Refused(refusal))));
        refusal.is_some()
    }

    fn admits(&mut self, request: RequestId, out: &mut Vec<Action>) -> bool {
        let windows = self.policy.windows;
        let has_room = self.primary().is_some_and(|it| it.has_room(windows.accepted_bytes, windows.accepted));
        if !has_room {
            out.push(Action::Answer(request, Outcome::Refused(Refusal::Busy)));
        }
        has_room
    }

    /// Tells the executor when the windows are full.
    fn note_room(&mut self, out: &mut Vec<Action>) {
        let windows = self.policy.windows;
        if let Some(primary) = self.primary()
            && primary.is_admitting
            && !primary.has_room(windows.accepted_bytes, windows.accepted)
        {
            primary.is_admitting = false;
            out.push(Action::Admit(false));
        }
    }

    pub(super) fn write(
        &mut self,
        request: RequestId,
        payload: Bytes,
        (room, pause): (u64, Option<PauseId>),
        out: &mut Vec<Action>,
    ) {
        let is_refused = self.refuses(request, out) || self.holds_back(request, pause, out);
        if is_refused || !self.admits(request, out) || self.lacks_room(request, room, out) {
            return;
        }
        let bytes = payload.len() as u64;
        assert!(bytes <= PAYLOAD_BYTES_MAX, "the executor splits writes that no message holds");
        self.order(Body::Write(payload), out);
        let lsn = self.local.end().lsn;
        if let Some(primary) = self.primary() {
            primary.writes.push_back(Waiting { request, lsn, bytes });
            primary.accepted_bytes += bytes;
            primary.ordered.push(lsn, room);
            if primary.habit.note_write() {
                primary.sync_wanted = lsn;
            }
        }
        self.note_room(out);
        self.pump_all(out);
        self.sync_locally(out);
    }

    pub(super) fn flush(&mut self, request: RequestId, out: &mut Vec<Action>) {
        if self.refuses(request, out) || !self.admits(request, out) {
            return;
        }
        let lsn = self.local.end().lsn;
        if let Some(primary) = self.primary() {
            primary.flushes.push_back(Waiting { request, lsn, bytes: 0 });
            primary.habit.note_flush();
        }
        self.note_room(out);
        self.want_sync(out);
        self.advance(out);
    }

    pub(super) fn need_sync(&mut self, out: &mut Vec<Action>) {
        if let Acting::Primary(_) = self.acting {
            self.want_sync(out);
            self.advance(out);
        } else if let Some(primary) = self.configuration.as_ref().map(|it| it.primary).filter(|node| *node != self.me) {
            out.push(Action::Send(primary, Message::WantSync(self.epoch())));
        }
    }

    pub(super) fn read(&mut self, request: RequestId, out: &mut Vec<Action>) {
        if self.refuses(request, out) {
            return;
        }
        out.push(if self.serves_reads(self.now) {
            Action::AdmitRead(request)
        } else {
            Action::Answer(request, Outcome::Refused(Refusal::NotReady))
        });
    }

    pub(super) fn read_done(&mut self, request: RequestId, out: &mut Vec<Action>) {
        let outcome = match self.refusal() {
            Some(refusal) => Outcome::Refused(refusal),
            None if self.serves_reads(self.now) => Outcome::Done,
            None => Outcome::Refused(Refusal::NotReady),
        };
        out.push(Action::Answer(request, outcome));
    }

    /// The journal takes nothing more: this replica is silent from now on, and the others go on without it.
    pub(super) fn fail(&mut self, out: &mut Vec<Action>) {
        self.close(out);
        self.failed = true;
    }

    pub(super) fn refuse_after_failure(&self, event: &Event, out: &mut Vec<Action>) {
        if let Event::Write { request, .. }
        | Event::Pause { request, .. }
        | Event::Flush { request }
        | Event::Read { request }
        | Event::ReadDone { request }
        | Event::HandOver { request: Some(request), .. } = event
        {
            out.push(Action::Answer(*request, Outcome::Refused(Refusal::NotReady)));
        }
    }
}
