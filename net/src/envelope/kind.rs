//! Kinds of messages, in families that share a limit.

/// What a message is: the high byte is its family, the low byte the kind within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Kind(pub u16);

/// Kinds of one purpose, with one limit of length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// The transport's own: hello, welcome, opening of a stream.
    Link,
    /// Joining the cluster.
    Join,
    /// Consensus, configuration, questions and answers.
    Control,
    /// Journal batches and their acknowledgements.
    Journal,
    /// Catch-up, repair, transfers.
    Bulk,
}

impl Family {
    /// Most bytes of a body.
    #[must_use]
    pub const fn body_bytes_max(self) -> u32 {
        match self {
            Self::Link => 1 << 10,
            Self::Join => 16 << 10,
            Self::Control => 1 << 20,
            Self::Journal => 4 << 20,
            Self::Bulk => 4 << 20,
        }
    }
}

impl Kind {
    /// The dialler's first message.
    pub const HELLO: Self = Self(0x0001);
    /// The answer to it.
    pub const WELCOME: Self = Self(0x0002);
    /// The first message of a channel's stream.
    pub const OPENING: Self = Self(0x0003);

    /// A new node asks for its certificate.
    pub const JOIN_REQUEST: Self = Self(0x0101);
    /// It gets it, or not.
    pub const JOIN_ANSWER: Self = Self(0x0102);

    /// Kind `low` of the control family.
    #[must_use]
    pub const fn control(low: u8) -> Self {
        Self(0x0200 | low as u16)
    }

    /// Kind `low` of the journal family.
    #[must_use]
    pub const fn journal(low: u8) -> Self {
        Self(0x0300 | low as u16)
    }

    /// Kind `low` of the bulk family.
    #[must_use]
    pub const fn bulk(low: u8) -> Self {
        Self(0x0400 | low as u16)
    }

    /// Its family; `None` if this version knows none for it.
    #[must_use]
    pub const fn family(self) -> Option<Family> {
        match self.0 >> 8 {
            0 => Some(Family::Link),
            1 => Some(Family::Join),
            2 => Some(Family::Control),
            3 => Some(Family::Journal),
            4 => Some(Family::Bulk),
            _ => None,
        }
    }

    /// Most bytes of a body; 0 for a kind without family.
    #[must_use]
    pub const fn body_bytes_max(self) -> u32 {
        match self.family() {
            Some(family) => family.body_bytes_max(),
            None => 0,
        }
    }
}
