//! Tests of the crate from outside, in one binary.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod attach;
#[cfg(feature = "cluster")]
mod cluster;
