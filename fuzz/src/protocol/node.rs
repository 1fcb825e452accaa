//! A node and what it is of the volume.

use super::journal::{Journal, Standing};

/// Nodes there are at most.
pub(super) const NODES_MAX: usize = 3;

/// A node, with what outlives its process first.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Node {
    pub(super) journal: Journal,
    /// Runs hold everything up to here.
    pub(super) floor: u8,
    /// Which start of the process this is, from 1.
    pub(super) start: u8,
    /// The configuration it knows, 0 for none.
    pub(super) epoch: u8,
    /// No configuration from this one on was over before this start.
    pub(super) fresh_from: u8,
    pub(super) committed: u8,
    pub(super) flushable: u8,
    /// How long ago it granted a lease, by its own clock, and at most the grace.
    pub(super) granted_ago: u8,
    pub(super) granted_to: Option<u8>,
    /// It served until this epoch.
    pub(super) stepped_down: u8,
    /// The epoch in which it may be primary though its tail may be lost.
    pub(super) decreed: u8,
    pub(super) role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Role {
    Follower(Follower),
    Primary(Primary),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Follower {
    /// Up to here its log is the primary's of this epoch.
    pub(super) matched: u8,
    /// The primary counts on it.
    pub(super) as_member: bool,
    /// What others said of themselves in this epoch.
    pub(super) heard: [Option<(Standing, (u8, u8))>; NODES_MAX],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Primary {
    /// It opens only when its own grace is over.
    pub(super) waits: bool,
    pub(super) is_open: bool,
    /// It gives the volume away, or has tried to.
    pub(super) is_leaving: bool,
    pub(super) peers: [Peer; NODES_MAX],
}

/// What the primary knows of another node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Peer {
    /// The start of it that this epoch deals with, 0 if it has not said.
    pub(super) start: u8,
    pub(super) as_member: bool,
    /// It came back in this epoch without being sure of what it has.
    pub(super) is_lost: bool,
    pub(super) held: u8,
    pub(super) synced: u8,
    /// How long ago the message was sent that it granted a lease for, at most a lease.
    pub(super) lease_age: u8,
}

impl Node {
    pub(super) fn primary(&self) -> Option<&Primary> {
        match &self.role {
            Role::Primary(primary) => Some(primary),
            Role::Follower(_) => None,
        }
    }

    pub(super) fn primary_mut(&mut self) -> Option<&mut Primary> {
        match &mut self.role {
            Role::Primary(primary) => Some(primary),
            Role::Follower(_) => None,
        }
    }

    pub(super) fn follower_mut(&mut self) -> Option<&mut Follower> {
        match &mut self.role {
            Role::Follower(follower) => Some(follower),
            Role::Primary(_) => None,
        }
    }

    /// Where its log ends.
    pub(super) fn end(&self) -> (u8, u8) {
        let log = self.journal.log();
        (log.epoch(), log.len())
    }

    /// The process begins with what the machine has.
    pub(super) fn begin(&mut self, newest: u8, granted_ago: u8) {
        (self.start, self.epoch, self.fresh_from) = (self.start + 1, 0, newest);
        (self.committed, self.flushable) = (self.floor, self.floor);
        (self.granted_ago, self.granted_to) = (granted_ago, None);
        (self.stepped_down, self.decreed) = (0, 0);
        self.role = Role::Follower(Follower::default());
    }
}
