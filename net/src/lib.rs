//! What Siltstone's nodes and tools say to each other.
//!
//! [`control`] opens no socket: byte streams come from the caller. [`transport::quic`] is the one place that does.

pub mod control;
pub mod envelope;
pub mod environment;
pub mod identity;
pub mod join;
pub mod transport;
