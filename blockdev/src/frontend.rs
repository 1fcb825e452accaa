//! Ways to reach an [`Export`](crate::export::Export) from outside the process.
//!
//! A frontend knows [`crate::export`] and nothing below it, so a new one (ublk, vhost-user-blk) needs no change to the store.

pub mod memory;
#[cfg(feature = "nbd-client")]
#[cfg_attr(
    not(feature = "nbd"),
    expect(dead_code, reason = "the client alone needs a part of what it shares with the server")
)]
pub mod nbd;
