//! What Siltstone's nodes and tools say to each other.
//!
//! Nothing here opens a socket or reads a clock: byte streams and ways to peers come from the caller. The one file is that
//! of [`config`], whose path comes from the caller too.

pub mod config;
pub mod control;
