//! Whether what is stored is what was written.

use std::ops::Range;

use blockdev::lsm_store::id::BLOCK_BYTES;
use blockdev::lsm_store::store;

/// Where the verification of a whole store stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ScrubStatus {
    /// One is under way, or paused.
    pub is_running: bool,
    /// Bytes it has verified.
    pub done_bytes: u64,
    /// Bytes it has to verify in all, as far as that is known now.
    pub total_bytes: u64,
    /// Damaged places that are known, of this one and those before.
    pub damaged_places: u64,
}

/// What the verification of a volume or snapshot found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Verified {
    /// Bytes that match their fingerprints, in whole blocks.
    pub good_bytes: u64,
    /// Bytes that do not, or cannot be read.
    pub damaged_bytes: u64,
    /// Where these are: the first 1024 ranges.
    pub damage: Vec<Damage>,
}

/// A damaged range of a volume or snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Damage {
    /// Where it is, in bytes.
    pub range: Range<u64>,
    /// What does not hold.
    pub what: String,
    /// The damaged file, relative to the data directory.
    pub file: String,
}

impl From<store::ScrubStatus> for ScrubStatus {
    fn from(status: store::ScrubStatus) -> Self {
        Self {
            is_running: status.pass.is_some(),
            done_bytes: status.pass.map_or(0, |pass| pass.bytes_done),
            total_bytes: status.pass.map_or(0, |pass| pass.bytes_total),
            damaged_places: status.damages.len() as u64 + status.damages_left_out,
        }
    }
}

impl From<store::VolumeScrub> for Verified {
    fn from(scrubbed: store::VolumeScrub) -> Self {
        let damage = |damaged: store::DamagedRange| {
            let (start, len) = (damaged.first.byte_offset(), damaged.count * BLOCK_BYTES as u64);
            Damage { range: start..start + len, what: damaged.what.into(), file: damaged.file }
        };
        Self {
            good_bytes: scrubbed.blocks_good * BLOCK_BYTES as u64,
            damaged_bytes: scrubbed.blocks_damaged * BLOCK_BYTES as u64,
            damage: scrubbed.ranges.into_iter().map(damage).collect(),
        }
    }
}
