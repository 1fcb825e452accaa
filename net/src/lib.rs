//! What Siltstone's nodes and tools say to each other.
//!
//! Nothing here opens a socket, a file or reads a clock: byte streams come from the caller.

pub mod control;
pub mod replication;
