//! What scrubs know, and how it gets into the manifest and back.

use std::collections::BTreeSet;
use std::time::Duration;

use super::place::{Change, Places, ScrubFile};
use super::progress::Progress;
use crate::error::{Error, Result};
use crate::manifest::{Edit, State as ManifestState};
use crate::store::inner::{Inner, chain};

const PROGRESS_KEY: &[u8] = b"scrub/progress";
const PLACES_KEY: &[u8] = b"scrub/damage";

/// How often the position is written down: what a crash has a scrub repeat.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// Locked for moments only, after any other lock.
pub(super) struct State {
    pub(super) progress: Progress,
    pub(super) places: Places,
    /// To be looked at.
    pub(super) suspects: BTreeSet<ScrubFile>,
    /// Were suspects in this opening.
    pub(super) suspected: BTreeSet<ScrubFile>,
    /// It is known whom all places touch.
    pub(super) traced: bool,
    /// Something is not in the manifest yet, and when that was written last.
    pub(super) unsaved: bool,
    places_unsaved: bool,
    saved_at: Duration,
}

impl State {
    pub(super) fn load(records: &ManifestState) -> Self {
        let record = |key: &[u8]| records.records.get(key);
        let progress = record(PROGRESS_KEY).map(|bytes| Progress::decode(bytes));
        let places = record(PLACES_KEY).map(|bytes| Places::decode(bytes));
        if progress == Some(None) || places == Some(None) {
            tracing::warn!("another version has left scrub records that make no sense here; scrubs start anew");
        }
        let (progress, places) = (progress.flatten().unwrap_or_default(), places.flatten().unwrap_or_default());
        let traced = places.len() == 0;
        Self {
            progress,
            places,
            suspects: BTreeSet::new(),
            suspected: BTreeSet::new(),
            traced,
            unsaved: false,
            places_unsaved: false,
            saved_at: Duration::ZERO,
        }
    }

    pub(super) fn note(&mut self, change: Change) {
        if change != Change::default() {
            self.progress.gone += change.gone as u64;
            self.traced &= change.new == 0;
            self.unsaved = true;
            self.places_unsaved = true;
        }
    }
}

impl Inner {
    pub(super) fn save_scrub_now_and_then(&self) -> Result<()> {
        let now = self.clock.monotonic();
        let mut state = self.scrub.state.lock();
        // All places are written each time: where files are many, not after each.
        let is_news = state.places_unsaved && !state.places.is_crowded();
        let is_time = is_news || now.saturating_sub(state.saved_at) >= SAVE_EVERY;
        state.unsaved = true;
        drop(state);
        if is_time { self.save_scrub() } else { Ok(()) }
    }

    /// Writes down what is not in the manifest yet. Without room for it that is put off: what is lost is verified again.
    pub(super) fn save_scrub(&self) -> Result<()> {
        let mut meta = self.meta.lock();
        let mut state = self.scrub.state.lock();
        if !std::mem::take(&mut state.unsaved) {
            return Ok(());
        }
        let places_unsaved = std::mem::take(&mut state.places_unsaved);
        state.saved_at = self.clock.monotonic();
        let mut edits = vec![Edit::SetRecord(PROGRESS_KEY.to_vec(), Some(state.progress.encode()))];
        if places_unsaved {
            edits.push(Edit::SetRecord(PLACES_KEY.to_vec(), Some(state.places.encode())));
        }
        drop(state);
        let committed = self.commit(&mut meta, edits);
        if committed.is_err() {
            let mut state = self.scrub.state.lock();
            state.unsaved = true;
            state.places_unsaved |= places_unsaved;
        }
        match committed {
            Err(Error::OutOfSpace) => {
                tracing::debug!("no room to remember how far the scrub has come");
                Ok(())
            }
            other => other,
        }
    }

    /// At a clean end: the next opening goes on where this one stops.
    pub(in crate::store) fn leave_scrub(&self) {
        if self.is_stopped() {
            return;
        }
        if let Err(error) = self.save_scrub() {
            tracing::warn!(error = %chain(&error), "how far the scrub has come is not remembered");
        }
    }
}
