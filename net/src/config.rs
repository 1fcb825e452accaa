//! The configuration of a cluster: what all its nodes agree on. Nodes, volumes and who holds them, names of snapshots,
//! schedules, settings, join tokens; never data.
//!
//! [`state`] is a pure state machine: commands in, outcomes or rejections out. [`storage`] keeps its log and
//! snapshots. [`raft`] has several nodes agree on it. [`tokens`] lets new nodes in by it.

#[cfg(test)]
mod disk;
mod forms;
pub mod id;
pub mod name;
pub mod raft;
mod record;
pub mod state;
pub mod storage;
pub mod tokens;
