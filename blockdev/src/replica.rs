//! A replica: this node's copy of a volume of the cluster.
//!
//! `net::replication` says what is to be done; here it is done. A replica is a log of its own ([`log`]), which has what the
//! primary ordered, and a volume of the node's store below it, which gets from the log what every member has synced. What
//! lies between is in memory, and reads see it over the store's content.
//! `docs/decisions/2026-11-26-replicas-have-logs.md` says why the log is not the store's journal.

mod applier;
mod calls;
mod changes;
pub mod content;
mod ending;
mod executor;
mod hands;
mod inbox;
pub mod installation;
pub mod ledger;
mod local;
pub mod log;
mod made;
mod mapped;
pub mod memory;
pub mod operation;
mod outside;
mod pausing;
pub mod pending;
mod planting;
mod quota;
mod serving;
mod syncing;
pub mod ticks;

pub use applier::{Pinned, Turn};
pub use calls::{Call, Ended};
pub use executor::Bounds;
pub use hands::Hands;
pub use local::{LocalReplica, Setting, Shared, StartError};
pub use outside::{Outside, Sending};
