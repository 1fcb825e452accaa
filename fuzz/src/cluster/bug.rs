//! Bugs of a cluster, planted around the protocol: in what carries out its actions and tells it what happened.

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// The primary takes what it sent for what its backups hold.
    AckBeforeBackup,
    /// Syncs are reported done and are not.
    SyncSkipped,
    /// Backups take what primaries of older epochs send.
    EpochIgnored,
    /// The configuration service accepts a change whatever it was based on.
    ChangeNotCompared,
    /// Reads are answered without asking whether the lease still holds.
    ReadWithoutLease,
    /// Reads see what is in the primary's own journal.
    ReadUncommitted,
    /// A truncation takes one acknowledged record too many.
    TruncatesTooFar,
    /// After a power cut the replica claims to have all that it acknowledged.
    CutTakenForRestart,
    /// A node that lost its disk comes back under its old id, and claims what that was.
    NodeIdReused,
    /// Content is reported complete before it has come.
    HealthyBeforeVerified,
    /// Flush jobs take what this node has synced, whatever the others have.
    FlushesAlone,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::AckBeforeBackup,
        Self::SyncSkipped,
        Self::EpochIgnored,
        Self::ChangeNotCompared,
        Self::ReadWithoutLease,
        Self::ReadUncommitted,
        Self::TruncatesTooFar,
        Self::CutTakenForRestart,
        Self::NodeIdReused,
        Self::HealthyBeforeVerified,
        Self::FlushesAlone,
    ];
}
