//! Snapshots: what volumes held at one moment.

use std::ops::Deref;
use std::time::{Duration, SystemTime};

use crate::view::View;

/// A snapshot as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Its name, `VOLUME@NAME`.
    pub name: String,
    /// The volume it is of.
    pub volume: String,
    /// Its id, never used for another volume or snapshot of the store. Ids grow, so a later snapshot has a larger one.
    pub id: u64,
    /// The size in bytes that the volume had.
    pub size_bytes: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How many have it open now.
    pub connections: u64,
}

impl SnapshotInfo {
    /// When it was made.
    #[must_use]
    pub fn created(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.created_ms)
    }
}

/// An open snapshot, to read; all it can do is in [`View`]. As long as it is open it is neither removed nor renamed.
#[derive(Debug)]
pub struct Snapshot {
    view: View,
}

impl Snapshot {
    pub(crate) fn new(view: View) -> Self {
        Self { view }
    }
}

impl Deref for Snapshot {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}
