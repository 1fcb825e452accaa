//! Bugs of nodes, planted around the code that is simulated: in what its devices do, and in what is asked of it.

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// The log says that records were handed to the kernel while they are still in the process: it dies with them.
    AnswersBeforeHanded,
    /// The log says that it has synced, and has not.
    LogNotSynced,
    /// The store gets all that this node's log has, whatever the other members have.
    AppliesAlone,
    /// The log is told what the store has before the store has flushed that.
    NotedBeforeFlushed,
    /// Reads take what the store has, without what lies over it.
    OverlayIgnored,
    /// Reads are answered without asking in the end whether they still may be.
    ReadNotHeld,
    /// Content is replaced before it is durably noted that it is.
    InstallNotNoted,
    /// The start of the kernel is not told from that of the process.
    CutTakenForRestart,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AnswersBeforeHanded,
        Self::LogNotSynced,
        Self::AppliesAlone,
        Self::NotedBeforeFlushed,
        Self::OverlayIgnored,
        Self::ReadNotHeld,
        Self::InstallNotNoted,
        Self::CutTakenForRestart,
    ];
}
