//! What the primary knows of another replica.

use std::collections::VecDeque;

use super::super::history::{History, Position};
use super::super::id::{Incarnation, Lsn, Tick, TransferId};
use super::super::message::{Appended, Credit, Shortage};

/// How a peer is brought to what the primary has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It has not said what it has.
    Unknown,
    /// By records.
    Log(Progress),
    /// By all content, which it has been offered.
    Offered(TransferId, Position),
    /// By all content, which is under way.
    Content(TransferId),
}

/// How far a peer's log has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Progress {
    /// Where the logs part: sending never starts before that.
    pub(super) shared: Lsn,
    /// The next to send.
    pub(super) next: Lsn,
    /// What it has said that it holds in this epoch; 0 before.
    pub(super) held: Lsn,
    /// What it has said that it has synced in this epoch.
    pub(super) synced: Lsn,
    /// The journal was asked for records for it, then.
    pub(super) reading: Option<Tick>,
    pub(super) rewound_at: Tick,
}

/// How long after content failed to come it is offered again, in microseconds: each time twice as long, up to 16 s.
const OFFER_US: u64 = 500_000;
const OFFER_DOUBLINGS: u32 = 5;

#[derive(Debug)]
pub(super) struct Peer {
    /// The start of it that this epoch deals with.
    pub(super) incarnation: Option<Incarnation>,
    /// Nothing is acknowledged without it.
    pub(super) as_member: bool,
    /// A member that came back in this epoch without being sure to have what it acknowledged.
    pub(super) is_lost: bool,
    pub(super) phase: Phase,
    /// When the newest message was sent that it granted a lease for.
    pub(super) granted: Option<Tick>,
    pub(super) heard_at: Tick,
    /// When it last got further, or had nothing to do.
    pub(super) progress_at: Tick,
    /// When it last synced something, or had nothing to sync.
    pub(super) synced_at: Tick,
    /// What its store can take, as it said last.
    pub(super) credit: Option<Credit>,
    /// Content is not offered again before then: it has failed to come.
    offer_at: Tick,
    /// How often in a row it has.
    failures: u32,
    flight: Flight,
}

/// Records on the way to a peer: messages not known to have arrived, each with its last record and bytes of payload.
#[derive(Debug, Default)]
struct Flight {
    messages: VecDeque<(Lsn, u64)>,
    bytes: u64,
}

impl Flight {
    fn push(&mut self, last: Lsn, bytes: u64) {
        self.messages.push_back((last, bytes));
        self.bytes += bytes;
    }

    /// The peer has everything up to here.
    fn arrived(&mut self, held: Lsn) {
        while let Some((last, bytes)) = self.messages.front().copied()
            && last <= held
        {
            self.messages.pop_front();
            self.bytes -= bytes;
        }
    }

    /// What is on the way is of no use to the peer.
    fn lost(&mut self) {
        *self = Self::default();
    }
}

impl Peer {
    pub(super) fn new(now: Tick, as_member: bool) -> Self {
        Self {
            incarnation: None,
            as_member,
            is_lost: false,
            phase: Phase::Unknown,
            granted: None,
            heard_at: now,
            progress_at: now,
            synced_at: now,
            credit: None,
            offer_at: now,
            failures: 0,
            flight: Flight::default(),
        }
    }

    /// Content that was sent to it has not come there.
    pub(super) fn transfer_failed(&mut self, now: Tick) {
        self.phase = Phase::Unknown;
        self.offer_at = now.plus(OFFER_US << self.failures.min(OFFER_DOUBLINGS));
        self.failures += 1;
    }

    /// True if content can be offered to it.
    pub(super) fn takes_offers(&self, now: Tick) -> bool {
        now >= self.offer_at
    }

    /// Records were sent to it.
    pub(super) fn sent(&mut self, last: Lsn, bytes: u64) {
        if bytes > 0 {
            self.flight.push(last, bytes);
        }
    }

    /// Bytes of payload on the way to it.
    pub(super) fn in_flight_bytes(&self) -> u64 {
        self.flight.bytes
    }

    pub(super) fn progress(&self) -> Option<&Progress> {
        match &self.phase {
            Phase::Log(progress) => Some(progress),
            _ => None,
        }
    }

    pub(super) fn progress_mut(&mut self) -> Option<&mut Progress> {
        match &mut self.phase {
            Phase::Log(progress) => Some(progress),
            _ => None,
        }
    }

    /// It holds this as a member of the present epoch.
    pub(super) fn member_held(&self) -> Lsn {
        self.progress().filter(|_| self.as_member).map_or(Lsn(0), |progress| progress.held)
    }

    /// It has synced this as a member of the present epoch.
    pub(super) fn member_synced(&self) -> Lsn {
        self.progress().filter(|_| self.as_member).map_or(Lsn(0), |progress| progress.synced)
    }

    pub(super) fn transfer(&self) -> Option<TransferId> {
        match self.phase {
            Phase::Offered(transfer, _) | Phase::Content(transfer) => Some(transfer),
            Phase::Unknown | Phase::Log(_) => None,
        }
    }

    /// For some time its store has had no room for what it has to apply.
    pub(super) fn is_stuck(&self) -> bool {
        self.credit.is_some_and(|credit| credit.shortage == Shortage::Stuck)
    }

    pub(super) fn forgive(&mut self, now: Tick) {
        (self.heard_at, self.progress_at, self.synced_at) = (now, now, now);
    }

    /// Counts it as silent for `us` already.
    pub(super) fn hurry(&mut self, now: Tick, us: u64) {
        self.heard_at = self.heard_at.min(Tick(now.0.saturating_sub(us)));
    }

    pub(super) fn grant(&mut self, now: Tick, granted: bool, sent: Tick) {
        self.heard_at = now;
        // A time that has not come yet was not sent by this primary.
        if granted && sent <= now {
            self.granted = self.granted.max(Some(sent));
        }
    }

    /// Starts sending records behind what both logs have.
    pub(super) fn start_log(&mut self, now: Tick, shared: Position) {
        let (held, synced, reading) = (Lsn(0), Lsn(0), None);
        let next = shared.lsn.next();
        self.phase = Phase::Log(Progress { shared: shared.lsn, next, held, synced, reading, rewound_at: now });
        (self.progress_at, self.synced_at) = (now, now);
        self.failures = 0;
        self.flight.lost();
    }

    /// Takes an answer. `end` is the primary's log, `wanted` what shall be synced.
    pub(super) fn take(&mut self, now: Tick, answer: &Appended, log: &History, wanted: Lsn, rewind_us: u64) {
        let end = log.end().lsn;
        let Some(progress) = self.progress_mut() else { return };
        let (before, mut is_rewound) = ((progress.held, progress.synced), false);
        progress.held = progress.held.max(answer.held.min(end));
        progress.synced = progress.synced.max(answer.synced.min(progress.held));
        progress.next = progress.next.max(progress.held.next());
        if let Some(after) = answer.resend_after
            && now.since(progress.rewound_at) >= rewind_us
        {
            let from = after.max(progress.held).max(progress.shared).next();
            progress.next = progress.next.min(from);
            (progress.rewound_at, progress.reading) = (now, None);
            is_rewound = true;
        }
        let (held, synced) = (progress.held, progress.synced);
        let has_moved = before != (held, synced);
        if has_moved || (held == end && synced >= wanted) {
            self.progress_at = now;
        }
        if before.1 != synced || synced >= wanted {
            self.synced_at = now;
        }
        if is_rewound { self.flight.lost() } else { self.flight.arrived(held) }
    }
}
