//! Ids and units of replication, beside those that other rooms know too.

use crate::id::id;
pub use crate::id::{Epoch, Lsn, NodeId, VolumeId};

id! {
    /// One start of a replica: a random number, drawn anew at each.
    Incarnation
}
id! {
    /// A client's request, as the executor knows it.
    RequestId
}
id! {
    /// One pause of a volume's changes: a random number, drawn by whoever asks for it, and for one question only.
    PauseId
}
id! {
    /// Position in the order of what a replica asked of its journal.
    Ticket
}
id! {
    /// One copying of a volume's content to a peer.
    TransferId
}
id! {
    /// Microseconds of a node's own clock, which goes on while the machine sleeps (`CLOCK_BOOTTIME`). Means nothing to
    /// another node.
    Tick
}

impl Tick {
    /// This moment and `us` microseconds.
    #[must_use]
    pub fn plus(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// Microseconds since `earlier`; 0 if it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
