//! Times and sizes. They are chosen for failover within 5 seconds (`docs/decisions/2026-11-26-configuration.md`).

use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

/// Longest that proposing or reading takes: two elections, and some.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a follower or keeper that waits for a leader waits before it looks again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How often the leader looks whether membership is to change, if nothing else makes it.
pub(super) const KEEP_PERIOD: Duration = Duration::from_secs(1);

/// Most bytes of a snapshot in one message: with what is around them they fit a message between nodes.
const PIECE_BYTES: u64 = 512 << 10;

/// The times of elections, and when the log is cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timing {
    /// How often a leader shows that it is there. A message with entries may take this long before it is sent again, so it
    /// is longer than a sync on a busy disk.
    pub heartbeat: Duration,
    /// A follower stands for election after it has heard nothing for `election_max` and between these two more.
    pub election_min: Duration,
    /// See there. Also how long a vote keeps others from being given.
    pub election_max: Duration,
    /// How many entries are applied before the next snapshot is made.
    pub snapshot_every: u64,
    /// How many entries that are in a snapshot stay, so that a peer that was away for a moment gets entries.
    pub keep: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(300),
            election_min: Duration::from_millis(700),
            election_max: Duration::from_millis(1200),
            snapshot_every: 1000,
            keep: 1000,
        }
    }
}

impl Timing {
    pub(super) fn config(&self) -> Config {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Config {
            cluster_name: "siltstone".to_owned(),
            heartbeat_interval: ms(self.heartbeat),
            election_timeout_min: ms(self.election_min),
            election_timeout_max: ms(self.election_max),
            install_snapshot_timeout: 10_000,
            snapshot_max_chunk_size: PIECE_BYTES,
            max_payload_entries: 256,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.keep,
            replication_lag_threshold: self.snapshot_every + self.keep,
            ..Config::default()
        }
    }
}
