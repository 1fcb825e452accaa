//! Ids and units of replication, one type each. Every id only grows, and none is used twice.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Fencing number of a volume's configuration, from 1. 0 is before any.
    Epoch
}
id! {
    /// Position in a volume's write order, from 1. 0 is before any record.
    Lsn
}
id! {
    /// A node of the cluster. A node that lost its disk comes back under another.
    NodeId
}
id! {
    /// A replicated volume, the same on every node.
    VolumeId
}
id! {
    /// One start of a replica: a random number, drawn anew at each.
    Incarnation
}
id! {
    /// A client's request, as the executor knows it.
    RequestId
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

impl Lsn {
    /// The position behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
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
