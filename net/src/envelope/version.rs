//! Versions of the messages, and how two nodes agree on one.

/// The newest version of the messages this program speaks. Raised when a body's type or a kind's meaning changes.
pub const VERSION: u16 = 1;

/// The version in envelopes of the families link and join, which precede any agreement and never change.
pub const LINK_VERSION: u16 = 0;

/// Versions a program speaks, both ends included: its own and the one before, so that nodes can be renewed one by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl Versions {
    /// What this program speaks. There is no version before the first.
    pub const OURS: Self = Self { min: VERSION, max: VERSION };

    /// The newest version both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u16> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}
