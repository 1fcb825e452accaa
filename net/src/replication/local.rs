//! What the local journal has: the log, and how far it was handed to the kernel and synced.
//!
//! Everything asked of the journal gets a ticket, so that a late answer about records that were truncated is never
//! taken for one about those that came in their place.

use std::collections::VecDeque;

use super::history::{History, Position};
use super::id::{Epoch, Lsn, Ticket};

/// The local log.
#[derive(Debug)]
pub(super) struct Local {
    history: History,
    handed: Lsn,
    synced: Lsn,
    /// Up to here it cannot be truncated.
    pub(super) floor: Lsn,
    next: Ticket,
    last_synced: Ticket,
    /// Asked of the journal and not handed yet: ticket, and where the log ends then.
    unhanded: VecDeque<(Ticket, Lsn)>,
    /// Syncs under way: ticket, and what they cover.
    syncs: VecDeque<(Ticket, Lsn)>,
}

impl Local {
    pub(super) fn new(history: History, synced: Lsn, floor: Lsn) -> Self {
        let handed = history.end().lsn;
        let (next, unhanded, syncs) = (Ticket(1), VecDeque::new(), VecDeque::new());
        Self { history, handed, synced: synced.min(handed), floor, next, last_synced: Ticket(0), unhanded, syncs }
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn end(&self) -> Position {
        self.history.end()
    }

    pub(super) fn handed(&self) -> Lsn {
        self.handed
    }

    pub(super) fn synced(&self) -> Lsn {
        self.synced
    }

    /// Adds a record; the caller asks the journal for it with a ticket from [`Self::ask`].
    pub(super) fn push(&mut self, epoch: Epoch) {
        self.history.extend(epoch, 1);
    }

    /// A ticket for what was changed since the last one.
    pub(super) fn ask(&mut self) -> Ticket {
        let ticket = self.next;
        self.next.0 += 1;
        self.unhanded.push_back((ticket, self.history.end().lsn));
        ticket
    }

    /// A ticket for a sync of everything asked before.
    pub(super) fn ask_sync(&mut self) -> Ticket {
        let ticket = self.next;
        self.next.0 += 1;
        self.syncs.push_back((ticket, self.history.end().lsn));
        ticket
    }

    /// Everything asked up to this ticket is durable.
    pub(super) fn last_synced(&self) -> Ticket {
        self.last_synced
    }

    /// True if a sync is under way.
    pub(super) fn has_sync(&self) -> bool {
        !self.syncs.is_empty()
    }

    /// True if a sync is under way that covers `lsn`.
    pub(super) fn is_syncing(&self, lsn: Lsn) -> bool {
        self.syncs.back().is_some_and(|(_, covered)| *covered >= lsn)
    }

    pub(super) fn truncate(&mut self, beyond: Lsn) -> Ticket {
        self.history.truncate(beyond);
        self.handed = self.handed.min(beyond);
        self.synced = self.synced.min(beyond);
        for (_, end) in self.unhanded.iter_mut().chain(&mut self.syncs) {
            *end = (*end).min(beyond);
        }
        self.ask()
    }

    /// Replaces the log by one that was installed and is durable.
    pub(super) fn replace(&mut self, history: History) {
        let end = history.end().lsn;
        self.history = history;
        (self.handed, self.synced, self.floor) = (end, end, end);
        self.unhanded.clear();
        self.syncs.clear();
    }

    pub(super) fn journaled(&mut self, ticket: Ticket) {
        while let Some((asked, end)) = self.unhanded.front().copied()
            && asked <= ticket
        {
            self.handed = self.handed.max(end);
            self.unhanded.pop_front();
        }
    }

    pub(super) fn synced_up_to(&mut self, ticket: Ticket) {
        self.journaled(ticket);
        self.last_synced = self.last_synced.max(ticket);
        while let Some((asked, end)) = self.syncs.front().copied()
            && asked <= ticket
        {
            self.synced = self.synced.max(end);
            self.syncs.pop_front();
        }
    }
}
