//! The configuration's log and state on disk, in one redb file that openraft works with.
//!
//! What is durable when: a vote before it is answered, log entries before they are acknowledged, a snapshot before the log it
//! replaces is purged. The state itself lives in memory; it is the last snapshot and the log after it. The file knows which
//! cluster and node it belongs to from the moment it does; it is made once and never made anew for the same node.
//!
//! After an error of the disk redb refuses everything, and openraft stops: nothing is tried again.

mod error;
mod file;
mod log;
mod machine;
mod records;

#[cfg(test)]
mod tests;

pub use error::StorageError;
pub use file::{FILE_NAME, Identity, Storage};
pub(super) use machine::Machine;
pub use machine::View;
