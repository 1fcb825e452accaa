//! Proof of the store: a model of what it must hold, and harnesses that drive the store and the model side by side.
//!
//! Everything is decided by a seed: a failure prints the command that repeats it.

pub mod cluster;
pub mod content;
pub mod control;
pub mod crash;
pub mod fault;
pub mod full;
pub mod machine;
pub mod mark;
pub mod model;
pub mod nbd;
pub mod nodes;
pub mod peer;
pub mod planted;
pub mod protocol;
pub mod random;
pub mod rot;
pub mod runner;
pub mod specimen;
pub mod store;
pub mod stream;
pub mod system;
pub mod transfer;
pub mod workload;
