//! Where scrubs stand, for others to see.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::place::Place;
use super::trace::Touched;
use crate::store::inner::Inner;

/// A pass under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrubPass {
    /// When it began, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// Bytes verified.
    pub bytes_done: u64,
    /// Bytes to verify in all, as far as that is known now.
    pub bytes_total: u64,
}

/// How scrubs are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrubSettings {
    /// Bytes read in a second at most, at least [`super::SCRUB_RATE_MIN`].
    pub rate_bytes: u64,
    /// How often the layer above should begin a pass; `None`: never by itself.
    pub every: Option<Duration>,
}

/// What decides whether a pass is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrubSchedule {
    /// How often, if at all.
    pub every: Option<Duration>,
    /// When the last pass ended, or else the store was made, in milliseconds since the Unix epoch.
    pub last_ms: u64,
    /// One is under way or paused.
    pub under_way: bool,
}

/// A place that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScrubDamage {
    /// The file, relative to the data directory.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What does not hold.
    pub what: &'static str,
    /// When it was found, in milliseconds since the Unix epoch.
    pub found_ms: u64,
    /// Whom it touches; `None` if that is not known yet.
    pub touched: Option<Touched>,
}

/// Where scrubs stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScrubStatus {
    /// How they are done.
    pub settings: ScrubSettings,
    /// A pass waits to be resumed, and none begins.
    pub paused: bool,
    /// The pass under way, paused or not.
    pub pass: Option<ScrubPass>,
    /// When the last pass ended that went to its end, in milliseconds since the Unix epoch.
    pub completed_ms: Option<u64>,
    /// Damage that is known: at most 256 places.
    pub damages: Vec<ScrubDamage>,
    /// Places the last pass found beside these.
    pub damages_left_out: u64,
    /// Places that a later look found gone, ever.
    pub damages_gone: u64,
}

impl Inner {
    pub(in crate::store) fn scrub_schedule(&self) -> ScrubSchedule {
        let created_ms = self.meta.lock().created_ms();
        let progress = &self.scrub.state.lock().progress;
        ScrubSchedule {
            every: progress.every,
            last_ms: progress.completed_ms.unwrap_or(created_ms),
            under_way: progress.pass.is_some() || progress.paused,
        }
    }

    pub(in crate::store) fn scrub_status(&self) -> ScrubStatus {
        let under_way = self.scrub.state.lock().progress.pass;
        let pass = under_way.map(|pass| {
            let left = self.bytes_left(&pass);
            let in_file = self.scrub.in_file.load(Ordering::Relaxed).min(left);
            ScrubPass {
                began_ms: pass.began_ms,
                bytes_done: pass.bytes_done + in_file,
                bytes_total: pass.bytes_done + left,
            }
        });
        let state = self.scrub.state.lock();
        let damage = |place: &Place| ScrubDamage {
            file: place.file.path(),
            offset: place.offset,
            what: place.kind.text(),
            found_ms: place.found_ms,
            touched: place.touched.clone(),
        };
        ScrubStatus {
            settings: ScrubSettings { rate_bytes: state.progress.rate_bytes, every: state.progress.every },
            paused: state.progress.paused,
            pass,
            completed_ms: state.progress.completed_ms,
            damages: state.places.iter().map(damage).collect(),
            damages_left_out: state.places.left_out,
            damages_gone: state.progress.gone,
        }
    }

    /// How many damaged places are known, and how many are gone.
    pub(in crate::store) fn scrub_counts(&self) -> (u64, u64) {
        let state = self.scrub.state.lock();
        (state.places.len() as u64 + state.places.left_out, state.progress.gone)
    }
}
