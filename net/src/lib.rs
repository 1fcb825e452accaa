//! What Siltstone's nodes and tools say to each other.
//!
//! [`control`] is what tools say to a node; byte streams come from the caller. All else is what nodes say to each other, and is
//! there with the feature `cluster` only: it has two dozen crates below it, which an embedded store needs none of. There,
//! `transport::quic` is the one place that opens a socket, and `config` and `identity` keep files where the caller says.

pub mod control;

#[cfg(feature = "cluster")]
pub mod config;
#[cfg(feature = "cluster")]
pub mod content;
#[cfg(feature = "cluster")]
pub mod envelope;
#[cfg(feature = "cluster")]
pub mod environment;
#[cfg(feature = "cluster")]
pub mod forward;
#[cfg(feature = "cluster")]
pub mod id;
#[cfg(feature = "cluster")]
pub mod identity;
#[cfg(feature = "cluster")]
pub mod installation;
#[cfg(feature = "cluster")]
pub mod join;
#[cfg(feature = "cluster")]
pub mod news;
#[cfg(feature = "cluster")]
pub mod replication;
#[cfg(feature = "cluster")]
pub mod transport;
