//! Where messages go: links, and the channels on them.

use std::fmt;

use crate::envelope::Family;
use crate::identity::NodeId;

/// A session with a peer, as one side sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Link {
    /// The peer.
    pub peer: NodeId,
    /// Counts this transport's sessions; never used twice by it.
    pub session: u64,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {} with {}", self.session, self.peer)
    }
}

/// What a message is for, by urgency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Consensus and configuration: short, before everything else.
    Control,
    /// What clients wait for.
    Journal,
    /// Catch-up and repair: whatever is left.
    Bulk,
}

impl Class {
    /// All of them; a class's place is its number.
    pub const ALL: [Self; 3] = [Self::Control, Self::Journal, Self::Bulk];

    /// Its number, as on the wire.
    #[must_use]
    pub const fn number(self) -> usize {
        match self {
            Self::Control => 0,
            Self::Journal => 1,
            Self::Bulk => 2,
        }
    }

    /// The family its messages belong to.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Control => Family::Control,
            Self::Journal => Family::Journal,
            Self::Bulk => Family::Bulk,
        }
    }

    /// The class of a family's messages; none for the transport's own.
    #[must_use]
    pub const fn of(family: Family) -> Option<Self> {
        match family {
            Family::Control => Some(Self::Control),
            Family::Journal => Some(Self::Journal),
            Family::Bulk => Some(Self::Bulk),
            Family::Link | Family::Join => None,
        }
    }
}

/// Messages that arrive in the order they were sent. Channels do not wait for one another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Channel {
    /// What its messages are for.
    pub class: Class,
    /// Which one: a volume's id, or whatever the class's users agree on.
    pub id: u64,
}

impl Channel {
    /// A channel of consensus and configuration.
    #[must_use]
    pub const fn control(id: u64) -> Self {
        Self { class: Class::Control, id }
    }

    /// The channel of a volume's journal.
    #[must_use]
    pub const fn journal(id: u64) -> Self {
        Self { class: Class::Journal, id }
    }

    /// A channel of catch-up or repair.
    #[must_use]
    pub const fn bulk(id: u64) -> Self {
        Self { class: Class::Bulk, id }
    }
}
