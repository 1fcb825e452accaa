//! Volumes, and the frontends that serve them as block devices.

pub mod access;
#[cfg(feature = "attach")]
pub mod attach;
pub mod catalog;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod events;
pub mod export;
pub mod frontend;
mod jumps;
pub mod name;
pub mod node;
pub mod object;
#[cfg(feature = "cluster")]
pub mod replica;
pub mod root;
pub mod schedule;
pub mod span;
#[cfg(feature = "tls")]
pub mod tls;
pub mod transfer;

pub use lsm_store;
#[cfg(feature = "control")]
pub use net;
