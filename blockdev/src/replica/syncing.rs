//! The thread that syncs a replica's log, so that the one that owns the log need not wait.

use std::sync::Arc;

use net::replication::{Event, Ticket, VolumeId};
use parking_lot::{Condvar, Mutex};

use super::inbox::Inbox;
use super::log::Syncer;

#[derive(Default)]
struct Wanted {
    ticket: Option<Ticket>,
    is_stopping: bool,
}

/// What is to be synced.
#[derive(Default)]
pub struct Syncing {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

impl Syncing {
    /// Everything that the log was handed by now is to be durable.
    pub fn ask(&self, ticket: Ticket) {
        self.wanted.lock().ticket = Some(ticket);
        self.changed.notify_one();
    }

    /// Ends.
    pub fn stop(&self) {
        self.wanted.lock().is_stopping = true;
        self.changed.notify_one();
    }

    fn next(&self) -> Option<Ticket> {
        let mut wanted = self.wanted.lock();
        self.changed.wait_while(&mut wanted, |wanted| wanted.ticket.is_none() && !wanted.is_stopping);
        if wanted.is_stopping { None } else { wanted.ticket.take() }
    }

    /// True if something is asked for.
    pub fn is_wanted(&self) -> bool {
        self.wanted.lock().ticket.is_some()
    }

    /// What is asked for now, without waiting.
    pub fn take(&self) -> Option<Ticket> {
        self.wanted.lock().ticket.take()
    }

    /// Works until it is told to stop, or a sync fails: then nothing is known of the log any more.
    pub fn run(&self, volume: VolumeId, syncer: &Syncer, inbox: &Arc<Inbox>) {
        while let Some(ticket) = self.next()
            && sync(volume, syncer, inbox, ticket)
        {}
    }
}

/// Syncs, and says so; false if that failed.
pub(super) fn sync(volume: VolumeId, syncer: &Syncer, inbox: &Inbox, ticket: Ticket) -> bool {
    if let Err(error) = syncer.sync() {
        tracing::error!(%volume, error = &error as &dyn std::error::Error, "a replica's log cannot be synced");
        inbox.tell(Event::JournalFailed);
        return false;
    }
    inbox.tell(Event::Synced(ticket));
    true
}
