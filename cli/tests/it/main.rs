//! The real command, end to end.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod attach;
mod changes;
mod check;
mod cluster;
mod control_socket;
mod daemon;
mod events;
mod exchange_kills;
mod images;
mod library;
mod load;
mod objects;
mod replicated;
mod schedule;
mod scratch;
mod scrub;
mod silt;
mod snapshots;
mod space;
mod tls;
mod transfer;
mod trash;
mod volumes;
