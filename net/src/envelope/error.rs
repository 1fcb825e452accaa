//! What can be wrong with bytes from a peer.

/// A message that is not one. The stream it came by is of no further use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes are missing.
    #[error("a message ends before its length")]
    Short,
    /// It does not start as a message does.
    #[error("not a message of this protocol")]
    Magic,
    /// It is of another version than was agreed on.
    #[error("a message of version {found}, agreed on was {agreed}")]
    Version {
        /// Its version.
        found: u16,
        /// What the hellos agreed on.
        agreed: u16,
    },
    /// It belongs to no family of kinds.
    #[error("a message of unknown kind {0:#06x}")]
    Kind(u16),
    /// It is of a kind that does not belong where it came.
    #[error("a message of kind {0:#06x} where none belongs")]
    Misplaced(u16),
    /// It is longer than its kind may be.
    #[error("a message of {found} bytes where {max} are the limit")]
    TooLong {
        /// Its length.
        found: u32,
        /// The limit.
        max: u32,
    },
    /// Header or body are damaged.
    #[error("a message with a wrong checksum")]
    Checksum,
    /// The body is not an archive of the type its kind has.
    #[error("a message whose body is not what its kind says")]
    Body,
}
