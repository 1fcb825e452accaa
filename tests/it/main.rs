//! The library as its users see it. `cli/tests/it/library.rs` runs [`behaviour`] against a daemon too.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[cfg(feature = "async")]
mod aio;
mod behaviour;
mod embedded;
mod scratch;
