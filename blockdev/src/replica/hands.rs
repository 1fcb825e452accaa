//! What the threads of a replica do, a piece at a time: for the threads themselves, and for whoever does their work in their
//! place, in one thread and in an order that can be repeated.

use std::sync::Arc;

use net::replication::{Action, Lsn, Replica, Tick};

use super::applier::{Applier, Patience, Pinned, Turn};
use super::executor::Executor;
use super::local::Shared;
use super::log::{ReplicaLog, Syncer};
use super::syncing;

/// A replica's work, and those who do it.
pub struct Hands {
    executor: Executor,
    /// What the protocol wanted at the start, until that was done.
    actions: Vec<Action>,
    applier: Applier,
    syncer: Syncer,
}

/// What a thread does until it ends.
pub(super) type ThreadWork = Box<dyn FnOnce() + Send>;

impl Hands {
    pub(super) fn new(executor: Executor, actions: Vec<Action>, applier: Applier, syncer: Syncer) -> Self {
        Self { executor, actions, applier, syncer }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.executor.shared
    }

    /// What each thread does, with its name.
    pub(super) fn into_threads(self) -> (Arc<Shared>, [(&'static str, ThreadWork); 3]) {
        let Self { executor, actions, applier, syncer } = self;
        let (shared, of_syncer) = (Arc::clone(&executor.shared), Arc::clone(&executor.shared));
        let sync = move || of_syncer.syncing.run(of_syncer.id, &syncer, &of_syncer.inbox);
        let execute = move || executor.run(actions);
        let apply = move || applier.run();
        (shared, [("sync", Box::new(sync)), ("apply", Box::new(apply)), ("replica", Box::new(execute))])
    }

    /// Takes what has come, as the replica's own thread does. When that is to be done again at the latest; `None` if the
    /// replica has ended.
    pub fn execute(&mut self) -> Option<Tick> {
        let mut inputs = Vec::new();
        self.executor.carry_out(std::mem::take(&mut self.actions));
        self.executor.shared.inbox.take_all(&mut inputs);
        self.executor.work(&mut inputs).then(|| self.executor.replica.deadline())
    }

    /// Does a piece of the applier's work. `was_idle`: there has been none for some seconds.
    pub fn apply(&mut self, was_idle: bool) -> Turn {
        self.applier.work(Patience::None { was_idle })
    }

    /// Syncs the log if that is asked for; false if it is not.
    pub fn sync(&mut self) -> bool {
        let shared = &self.executor.shared;
        let ticket = shared.syncing.take();
        ticket.is_some_and(|ticket| syncing::sync(shared.id, &self.syncer, &shared.inbox, ticket))
    }

    /// True if something has come that was not taken.
    #[must_use]
    pub fn has_input(&self) -> bool {
        !self.executor.shared.inbox.is_empty()
    }

    /// True if the log is to be synced.
    #[must_use]
    pub fn wants_sync(&self) -> bool {
        self.executor.shared.syncing.is_wanted()
    }

    /// The protocol's state.
    #[must_use]
    pub fn protocol(&self) -> &Replica {
        &self.executor.replica
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &ReplicaLog {
        &self.executor.log
    }

    /// Works for somebody who waits for what the threads do, as far as that goes at once.
    pub(super) fn work_while(&mut self, is_waiting: impl Fn(&Shared) -> bool) {
        while is_waiting(&self.executor.shared) && self.apply(false) == Turn::Worked {
            self.execute();
        }
    }

    pub(super) fn pin(&mut self, at_least: Lsn) -> Option<Pinned> {
        self.executor.shared.applying.ask_pin(at_least);
        self.work_while(|shared| shared.applying.awaits_pin());
        self.executor.shared.applying.take_pin()
    }
}
