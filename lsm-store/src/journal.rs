//! The journal: accepted writes that are not yet in segments, in the store's order.
//!
//! One file per *generation*, preallocated and zero-written, so that a sync writes no metadata. A generation holds what
//! one memtable holds and is recycled when that memtable has been flushed. Inside it, checksummed *batches* follow one
//! another; each names the checksum of its predecessor, so that a batch counts only if all before it do. Batches also
//! name the synced-up-to sequence at the time they were written: a break below any surviving such mark is damage, a
//! break above all of them is where the machine stopped. `docs/disk-format.md`, "Journal".

pub(crate) mod batch;
pub(crate) mod generation;
pub(crate) mod replay;
pub(crate) mod watermark;

/// The directory of journal files.
pub(crate) const JOURNAL_DIRECTORY: &str = "journal";

#[cfg(test)]
mod tests;
