//! Bugs, planted to prove the harnesses: a harness that does not catch them proves nothing.
//!
//! They sit at the two seams of the store and need no hook inside it: [`device::LyingDevice`] does to the store's I/O what a
//! forgotten sync or a lost write in its code would do, [`system::Planted`] does to its answers what a bug in its logic would,
//! and [`collector::Careless`] does both while the store collects, and only then.

pub mod collector;
pub mod device;
pub mod system;
