//! Exchanges by the network, under TLS: [`connect`] leads a sender to a volume of another machine, and a [`ReceiveServer`] there answers
//! it as `silt recv --serve` does. What comes before the exchange is in `docs/stream-format.md`, "By TLS".
//!
//! Nobody is let in without a certificate of an authority that the receiver names.

mod client;
mod hello;
mod server;
mod watched;

pub use client::{Line, RemoteError, connect};
pub use server::{IsTaken, ReceiveError, ReceiveServer};

/// Where receivers listen unless they are told.
pub const PORT: u16 = 10810;
