//! What Siltstone's nodes and tools say to each other.
//!
//! [`transport::quic`] is the one place that opens a socket; elsewhere byte streams and ways to peers come from the caller.
//! The files are those of [`config`] and [`identity`], whose places come from the caller too.

pub mod config;
pub mod control;
pub mod envelope;
pub mod environment;
pub mod identity;
pub mod join;
pub mod replication;
pub mod transport;
