//! What scrubs remember: settings, and how far the pass has come.

use std::time::Duration;

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::place::ScrubFile;
use crate::id::{RunId, SegmentId};

/// What a scrub reads in a second unless it is told otherwise.
pub const SCRUB_RATE_DEFAULT: u64 = 50 << 20;

/// How often all is verified unless somebody says otherwise.
const EVERY_DEFAULT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A pass under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pass {
    /// When it began, since the Unix epoch.
    pub(super) began_ms: u64,
    /// The last file that was verified.
    pub(super) after: Option<ScrubFile>,
    /// The last run and segment that it takes in: newer ones have just been written.
    pub(super) last_run: RunId,
    pub(super) last_segment: SegmentId,
    pub(super) bytes_done: u64,
}

/// Settings and progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Progress {
    pub(super) rate_bytes: u64,
    pub(super) every: Option<Duration>,
    pub(super) paused: bool,
    pub(super) pass: Option<Pass>,
    /// When the last pass ended that went to its end.
    pub(super) completed_ms: Option<u64>,
    /// Damaged places that a later look found gone.
    pub(super) gone: u64,
}

impl Default for Progress {
    fn default() -> Self {
        let (rate_bytes, every) = (SCRUB_RATE_DEFAULT, Some(EVERY_DEFAULT));
        Self { rate_bytes, every, paused: false, pass: None, completed_ms: None, gone: 0 }
    }
}

const VERSION: u8 = 1;
const PAUSED: u8 = 1;
const UNDER_WAY: u8 = 2;
const COMPLETED: u8 = 4;
const SCHEDULED: u8 = 8;

/// As it is stored (`docs/disk-format.md`, "Scrub").
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct ProgressV1 {
    version: u8,
    flags: u8,
    after_kind: u8,
    zeros: [u8; 5],
    rate_bytes: U64,
    every_ms: U64,
    completed_ms: U64,
    gone: U64,
    began_ms: U64,
    after: U64,
    last_run: U64,
    last_segment: U64,
    bytes_done: U64,
}

const _: () = assert!(size_of::<ProgressV1>() == 80);

impl Progress {
    pub(super) fn encode(&self) -> Vec<u8> {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let pass = self.pass.unwrap_or(Pass {
            began_ms: 0,
            after: None,
            last_run: RunId(0),
            last_segment: SegmentId(0),
            bytes_done: 0,
        });
        let (after_kind, after) = pass.after.map_or((0, 0), ScrubFile::to_stored);
        let stored = ProgressV1 {
            version: VERSION,
            flags: flag(self.paused, PAUSED)
                | flag(self.pass.is_some(), UNDER_WAY)
                | flag(self.completed_ms.is_some(), COMPLETED)
                | flag(self.every.is_some(), SCHEDULED),
            after_kind,
            zeros: [0; 5],
            rate_bytes: self.rate_bytes.into(),
            every_ms: self.every.map_or(0, |every| u64::try_from(every.as_millis()).unwrap_or(u64::MAX)).into(),
            completed_ms: self.completed_ms.unwrap_or(0).into(),
            gone: self.gone.into(),
            began_ms: pass.began_ms.into(),
            after: after.into(),
            last_run: pass.last_run.0.into(),
            last_segment: u64::from(pass.last_segment.0).into(),
            bytes_done: pass.bytes_done.into(),
        };
        stored.as_bytes().to_vec()
    }

    /// `None` if that is not what this program wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let stored = ProgressV1::ref_from_bytes(bytes).ok().filter(|stored| stored.version == VERSION)?;
        let is_set = |flag: u8| stored.flags & flag != 0;
        let after = match stored.after_kind {
            0 => None,
            kind => Some(ScrubFile::from_stored(kind, stored.after.get())?),
        };
        let pass = Pass {
            began_ms: stored.began_ms.get(),
            after,
            last_run: RunId(stored.last_run.get()),
            last_segment: SegmentId(u32::try_from(stored.last_segment.get()).ok()?),
            bytes_done: stored.bytes_done.get(),
        };
        Some(Self {
            rate_bytes: stored.rate_bytes.get().max(1),
            every: is_set(SCHEDULED).then(|| Duration::from_millis(stored.every_ms.get())),
            paused: is_set(PAUSED),
            pass: is_set(UNDER_WAY).then_some(pass),
            completed_ms: is_set(COMPLETED).then(|| stored.completed_ms.get()),
            gone: stored.gone.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_frozen() {
        let pass = Pass {
            began_ms: 0x0102,
            after: Some(ScrubFile::Segment(SegmentId(7))),
            last_run: RunId(8),
            last_segment: SegmentId(9),
            bytes_done: 10,
        };
        let progress = Progress {
            rate_bytes: 0x0506,
            every: Some(Duration::from_millis(11)),
            paused: true,
            pass: Some(pass),
            completed_ms: Some(12),
            gone: 13,
        };
        let mut golden = vec![1, 15, 4, 0, 0, 0, 0, 0, 6, 5, 0, 0, 0, 0, 0, 0];
        for number in [11, 12, 13, 0x0102, 7, 8, 9, 10_u64] {
            golden.extend_from_slice(&number.to_le_bytes());
        }
        assert_eq!(progress.encode(), golden);
        assert_eq!(Progress::decode(&golden), Some(progress));
        let idle = Progress { every: None, ..Progress::default() };
        assert_eq!(Progress::decode(&idle.encode()), Some(idle));
    }

    #[test]
    fn what_is_of_another_version_or_length_is_not_taken_for_progress() {
        let good = Progress::default().encode();
        let mut newer = good.clone();
        newer[0] = 2;
        assert_eq!(Progress::decode(&newer), None);
        (0..good.len()).for_each(|len| assert_eq!(Progress::decode(&good[..len]), None));
    }
}
