//! The library as programs of C see it.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod compiler;
mod header;
mod programs;
#[path = "../../../tests/store.rs"]
mod store;

use std::path::PathBuf;

/// The directory of this crate.
fn crate_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
