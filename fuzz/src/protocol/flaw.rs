//! Rules of the protocol that can be left out, to see that the exploration notices.

/// A rule that does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// A member's grace is as long as the lease: enough only for clocks that do not drift.
    GraceWithoutDrift,
    /// The primary serves whatever became of its lease.
    LeaseIgnored,
    /// A lease counts from when the grant arrives, not from when it was asked for.
    LeaseFromArrival,
    /// A start does not count as a grant: whoever restarts forgets what it promised.
    StartGrantsNothing,
    /// Backups take what primaries of older epochs send.
    EpochIgnored,
    /// The primary takes what it has for what its backups hold.
    AcknowledgedBeforeBackups,
    /// Whoever wants to be primary is, member or not.
    AnybodyPromoted,
    /// The configuration service accepts a change whatever it was based on.
    ChangeNotCompared,
    /// A primary that was restarted goes on in its epoch.
    EpochUsedTwice,
    /// After a power cut a replica claims to have all that it acknowledged.
    CutTakenForRestart,
    /// A standing counts though it was noted before the node became a member.
    SinceIgnored,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::GraceWithoutDrift,
        Self::LeaseIgnored,
        Self::LeaseFromArrival,
        Self::StartGrantsNothing,
        Self::EpochIgnored,
        Self::AcknowledgedBeforeBackups,
        Self::AnybodyPromoted,
        Self::ChangeNotCompared,
        Self::EpochUsedTwice,
        Self::CutTakenForRestart,
        Self::SinceIgnored,
    ];
}
