//! The manifest: the durable list of volumes, catalog records, segments and runs, and where the journal starts.
//!
//! A file of checksummed commits, each a list of edits, appended and synced before anything relies on it. When it has
//! grown past [`CHECKPOINT_BYTES`] the whole state is written as the first commit of a new file, and the superblock
//! then names that one. A commit is all or nothing. `docs/disk-format.md`, "Manifest".

mod edit;
mod log;
mod state;

pub use edit::{Edit, JournalStart, VolumeRecord};
pub(crate) use log::{MANIFEST_DIRECTORY, Manifest, replay, verify};
pub use state::State;

#[cfg(test)]
mod tests;
