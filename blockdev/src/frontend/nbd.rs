//! Network Block Device: a server for exports, and a client.
//!
//! Fixed newstyle with simple and structured replies, and for the server TLS; no extended headers. Byte formats are in
//! [`wire`], the handshake is a state machine without I/O in [`handshake`], a connection is one blocking thread.
//! Specification: `doc/proto.md` of <https://github.com/NetworkBlockDevice/nbd>.

use std::time::Duration;

#[cfg(feature = "nbd")]
mod channel;
pub mod client;
#[cfg(feature = "nbd")]
mod connection;
#[cfg(feature = "nbd")]
pub mod counters;
pub mod handshake;
mod inbox;
#[cfg(feature = "nbd")]
mod outbox;
#[cfg(feature = "nbd")]
pub mod server;
mod socket;
#[cfg(test)]
mod testing;
#[cfg(feature = "nbd")]
mod transmission;
pub mod uri;
pub mod wire;

pub use client::{Client, ClientError};
#[cfg(feature = "nbd")]
pub use server::Server;
pub use uri::NbdUri;

/// What a server grants its clients. The defaults suit a node with some hundred volumes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at a time; further ones are told so and closed.
    pub connections_max: usize,
    /// From connecting to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Requests of one connection in flight or answered and not yet taken by the client.
    pub requests_max: usize,
    /// Bytes of replies waiting for one client to read them, or being read for it. At least the largest payload.
    pub queued_bytes_max: usize,
    /// How long a client may leave its replies unread.
    pub slow_reader_timeout: Duration,
    /// A connection without traffic for so long gives its buffers back.
    pub idle_after: Duration,
    /// Bytes of a busy connection's receive buffer; at least 128 KiB.
    pub receive_buffer_bytes: usize,
    /// Extents in the answer to one BLOCK_STATUS; at most 2^20.
    pub status_extents_max: usize,
    /// How long a stopping server waits for its clients to read what is owed to them.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            handshake_timeout: Duration::from_secs(10),
            requests_max: 64,
            queued_bytes_max: 64 << 20,
            slow_reader_timeout: Duration::from_secs(30),
            idle_after: Duration::from_secs(1),
            receive_buffer_bytes: 256 << 10,
            status_extents_max: 8192,
            drain_timeout: Duration::from_secs(10),
        }
    }
}
