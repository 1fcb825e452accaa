//! Pauses: for a moment nothing is ordered but what belongs to the pause, so that snapshots of several volumes can be ordered
//! with nothing between the first pause and the last snapshot (`docs/decisions/2026-11-28-common-snapshots.md`).
//!
//! A pause is known to this primary in this run of its process only, and is never begun twice: what is ordered in it was
//! preceded by no other change since the pause was answered. Clocks decide how long others wait, and nothing else.

use super::super::action::{Action, Outcome, Refusal};
use super::super::id::{PauseId, RequestId, Tick};
use super::primary::Waiting;
use super::{Acting, Replica};

/// How long changes are held back at most, in microseconds of the primary's clock.
pub const PAUSE_US: u64 = 2_000_000;

/// A pause, and when it is over if nobody ends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    id: PauseId,
    until: Tick,
}

impl Replica {
    /// Until when changes are held back; `None` if they are not.
    #[must_use]
    pub fn paused_until(&self) -> Option<Tick> {
        self.present_pause().map(|pause| pause.until)
    }

    fn present_pause(&self) -> Option<Pause> {
        let Acting::Primary(primary) = &self.acting else { return None };
        primary.pause.filter(|pause| self.now < pause.until)
    }

    /// Holds changes back. Whoever asked is told when every member has what was ordered before, so that nobody is who finds no
    /// primary in office.
    pub(super) fn pause(&mut self, request: RequestId, id: PauseId, out: &mut Vec<Action>) {
        if self.refuses(request, out) {
            return;
        }
        if self.present_pause().is_some() {
            out.push(Action::Answer(request, Outcome::Refused(Refusal::Busy)));
            return;
        }
        let (lsn, until) = (self.local.end().lsn, self.now.plus(PAUSE_US));
        if let Some(primary) = self.primary() {
            primary.pause = Some(Pause { id, until });
            primary.writes.push_back(Waiting { request, lsn, bytes: 0 });
        }
        self.advance(out);
    }

    pub(super) fn resume(&mut self, id: PauseId, out: &mut Vec<Action>) {
        if let Some(primary) = self.primary()
            && primary.pause.is_some_and(|pause| pause.id == id)
        {
            primary.pause = None;
            out.push(Action::Admit(true));
        }
    }

    /// Refuses a change that a pause keeps waiting, and one that was to come in a pause that is over.
    pub(super) fn holds_back(&self, request: RequestId, pause: Option<PauseId>, out: &mut Vec<Action>) -> bool {
        let present = self.present_pause().map(|present| present.id);
        let refusal = match (present, pause) {
            (None, None) => return false,
            (Some(present), Some(wanted)) if present == wanted => return false,
            (Some(_), None) => Refusal::Busy,
            (_, Some(_)) => Refusal::NotReady,
        };
        out.push(Action::Answer(request, Outcome::Refused(refusal)));
        true
    }
}
