//! Volumes, and the frontends that serve them as block devices.

pub mod access;
pub mod attach;
pub mod catalog;
pub mod export;
pub mod frontend;
pub mod name;
pub mod node;
pub mod schedule;
pub mod span;

pub use {lsm_store, net};
