//! What is asked of a volume, and what block status and the fingerprint map answer.

use crate::fingerprint::Fingerprint;

/// One write of a group.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// First byte to write.
    pub offset: u64,
    /// What to write there.
    pub data: &'a [u8],
}

/// What a zeroed range becomes; both read as zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Zeroing {
    /// Unallocated (TRIM; WRITE_ZEROES without NO_HOLE).
    Hole,
    /// Allocated (WRITE_ZEROES with NO_HOLE).
    Allocated,
}

/// State of a range of an export, as block status reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockState {
    /// Holds data.
    Data,
    /// Allocated, reads as zeros.
    Zero,
    /// Not allocated, reads as zeros.
    Hole,
}

/// A range in which two volumes or snapshots hold the same, or may not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangedExtent {
    /// Length in bytes, at least 1.
    pub len: u64,
    /// True if all of it was written since the two had the same content.
    pub changed: bool,
}

/// A range of one state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusExtent {
    /// Length in bytes, at least 1.
    pub len: u64,
    /// The state of all of it.
    pub state: BlockState,
}

/// What adjacent blocks hold: an entry of the fingerprint map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockIdentity {
    /// So many blocks, at least 1, read as zeros: holes and allocated zeros alike.
    Zeros(u64),
    /// One block has content with this fingerprint.
    Data(Fingerprint),
}

impl BlockIdentity {
    /// How many blocks it is of.
    #[must_use]
    pub fn block_count(&self) -> u64 {
        match self {
            Self::Zeros(count) => *count,
            Self::Data(_) => 1,
        }
    }
}
