//! The first two messages of a connection: who speaks, and which version of the protocol.

use serde::{Deserialize, Serialize};

/// The version of the protocol this program speaks. Additions that an older peer may ignore do not change it.
pub const VERSION: u32 = 1;

/// What every hello says, so that a stranger on the socket is recognised by its first message.
pub(super) const PROTOCOL: &str = "silt-control";

/// Versions a program speaks, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

impl Versions {
    /// What this program speaks.
    pub const OURS: Self = Self { min: VERSION, max: VERSION };

    /// The newest version both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u32> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

/// The client's first message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Always `silt-control`.
    pub protocol: String,
    /// What the client speaks.
    pub versions: Versions,
    /// The client's name and version, for the node's log.
    pub program: String,
}

/// The node's answer to [`Hello`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The version both use from here on.
    pub version: u32,
    /// The node's program and version.
    pub program: String,
    /// The node's process id.
    pub pid: u32,
}
