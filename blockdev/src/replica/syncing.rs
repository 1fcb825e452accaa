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

    /// Works until it is told to stop, or a sync fails: then nothing is known of the log any more.
    pub fn run(&self, volume: VolumeId, syncer: &Syncer, inbox: &Arc<Inbox>) {
        while let Some(ticket) = self.next() {
            if let Err(error) = syncer.sync() {
                tracing::error!(%volume, error = &error as &dyn std::error::Error, "a replica's log cannot be synced");
                inbox.tell(Event::JournalFailed);
                return;
            }
            inbox.tell(Event::Synced(ticket));
        }
    }
}
