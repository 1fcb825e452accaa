//! A pass: file after file, in the order of their ids.

use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::place::{Change, Place, PlaceKind, ScrubFile};
use super::progress::Pass;
use crate::error::{Error, Result};
use crate::id::{RunId, SegmentId};
use crate::manifest;
use crate::map::{self, Run};
use crate::segment;
use crate::store::collect::is_unreadable;
use crate::store::inner::{Inner, chain};

/// How often the manifest's file is looked at again if it was replaced meanwhile.
const MANIFEST_TRIES: u32 = 3;

impl Inner {
    /// Verifies the next file of the pass, or ends it.
    pub(super) fn scrub_next(&self, pass: &Pass) -> Result<()> {
        let Some((file, bytes)) = self.next_file(pass) else { return self.finish_pass() };
        let go_on = &mut |bytes| {
            self.scrub.in_file.fetch_add(bytes, Ordering::Relaxed);
            self.pace_scrub(bytes, true)
        };
        let looked = self.scrub_file(file, go_on);
        self.scrub.in_file.store(0, Ordering::Relaxed);
        looked?;
        let mut state = self.scrub.state.lock();
        if let Some(pass) = &mut state.progress.pass {
            pass.after = Some(file);
            pass.bytes_done += bytes;
        }
        drop(state);
        self.save_scrub_now_and_then()
    }

    /// The file that comes next in a pass, with its length.
    fn next_file(&self, pass: &Pass) -> Option<(ScrubFile, u64)> {
        let (run, segment) = match pass.after {
            None => return Some((ScrubFile::Superblock, 0)),
            Some(ScrubFile::Superblock) => return Some((ScrubFile::Manifest, 0)),
            Some(ScrubFile::Manifest) => (RunId(0), SegmentId(0)),
            Some(ScrubFile::Run(id)) => (id, SegmentId(0)),
            Some(ScrubFile::Segment(id)) => (pass.last_run, id),
        };
        let meta = self.meta.lock();
        // Ids begin with 1. A range whose start is beyond its end is no range.
        if run < pass.last_run
            && let Some((id, run)) = meta.state.runs.range((Excluded(run), Included(pass.last_run))).next()
        {
            return Some((ScrubFile::Run(*id), run.bytes));
        }
        if segment >= pass.last_segment {
            return None;
        }
        let (id, summary) = meta.state.segments.range((Excluded(segment), Included(pass.last_segment))).next()?;
        Some((ScrubFile::Segment(*id), summary.geometry.file_bytes().into()))
    }

    /// Bytes that are still to be verified in a pass.
    pub(super) fn bytes_left(&self, pass: &Pass) -> u64 {
        let (run, segment) = match pass.after {
            Some(ScrubFile::Run(id)) => (id, SegmentId(0)),
            Some(ScrubFile::Segment(id)) => (pass.last_run, id),
            _ => (RunId(0), SegmentId(0)),
        };
        let meta = self.meta.lock();
        let runs = meta.state.runs.values().filter(|meta| run < meta.id && meta.id <= pass.last_run);
        let segments = meta.state.segments.iter().filter(|(id, _)| segment < **id && **id <= pass.last_segment);
        runs.map(|run| run.bytes).sum::<u64>()
            + segments.map(|(_, summary)| u64::from(summary.geometry.file_bytes())).sum::<u64>()
    }

    /// Verifies a file, and takes what it finds for what is known of it.
    pub(super) fn scrub_file(&self, file: ScrubFile, go_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        let found = match file {
            ScrubFile::Superblock => self.scrub_superblock()?,
            ScrubFile::Manifest => self.scrub_manifest(go_on)?,
            ScrubFile::Run(id) => self.scrub_run(id, go_on)?,
            ScrubFile::Segment(id) => self.scrub_segment(id, go_on)?,
        };
        for place in &found {
            tracing::error!(file = %file.path(), offset = place.offset, "a scrub found damage: {}", place.kind.text());
        }
        let mut state = self.scrub.state.lock();
        let change = state.places.replace(file, found);
        state.note(change);
        Ok(())
    }

    fn damaged_place(&self, file: ScrubFile, offset: u64, kind: PlaceKind) -> Place {
        Place { file, offset, kind, slots: 0..0, span: None, found_ms: self.wall_ms(), touched: None }
    }

    fn scrub_superblock(&self) -> Result<Vec<Place>> {
        let file = ScrubFile::Superblock;
        let meta = self.meta.lock();
        match meta.rotten_superblocks(&*self.device) {
            Ok(copies) => {
                Ok(copies.into_iter().map(|offset| self.damaged_place(file, offset, PlaceKind::Superblock)).collect())
            }
            Err(error) if is_unreadable(&error) => Ok(vec![self.damaged_place(file, 0, PlaceKind::Unreadable)]),
            Err(error) => Err(error),
        }
    }

    /// Verifies the manifest up to the last commit there is; those that come meanwhile do not matter.
    fn scrub_manifest(&self, go_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<Vec<Place>> {
        for _ in 0..MANIFEST_TRIES {
            let (id, (sequence, end)) = self.meta.lock().manifest_place();
            go_on(end)?;
            let verified = manifest::verify(&*self.device, self.store, id, (sequence, end));
            if self.meta.lock().manifest_place().0 != id {
                continue;
            }
            return match verified {
                Ok(()) => Ok(Vec::new()),
                Err(Error::Corrupt { offset, .. }) => {
                    Ok(vec![self.damaged_place(ScrubFile::Manifest, offset, PlaceKind::Manifest)])
                }
                Err(error) if is_unreadable(&error) => {
                    Ok(vec![self.damaged_place(ScrubFile::Manifest, 0, PlaceKind::Unreadable)])
                }
                Err(error) => Err(error),
            };
        }
        // It is replaced faster than it can be read: what is on the disk has just been written.
        Ok(Vec::new())
    }

    /// Holding the run of the current version keeps its file; one that is in no version any more has no damage.
    fn scrub_run(&self, id: RunId, go_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<Vec<Place>> {
        let version = Arc::clone(&self.view().version);
        let held = version.runs().map(|(_, run)| run).find(|run| run.id() == id).cloned();
        drop(version);
        let Some(held) = held else { return Ok(Vec::new()) };
        if let Err(error) = self.scrub.runs.open(id)
            && error.is_shortage()
        {
            return Err(error);
        }
        let run = Run::new(Arc::clone(&self.scrub.runs), *held.meta());
        let damages = run.verify_paced(go_on);
        let places = damages.map(|damages| {
            let place = |damage: map::Damage| {
                tracing::warn!(run = %id, offset = damage.offset, "{}", damage.why);
                let span = Some(run.span_at(damage.offset));
                Place { span, ..self.damaged_place(ScrubFile::Run(id), damage.offset, PlaceKind::Run) }
            };
            damages.into_iter().map(place).collect()
        });
        self.scrub.runs.close(id);
        places
    }

    fn scrub_segment(&self, id: SegmentId, go_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<Vec<Place>> {
        let Some(summary) = self.meta.lock().state.segments.get(&id).copied() else { return Ok(Vec::new()) };
        let file = ScrubFile::Segment(id);
        let whole = |kind| vec![Place { slots: 0..segment::SLOTS_MAX, ..self.damaged_place(file, 0, kind) }];
        self.scrub.segments.learn(&summary);
        let checked = segment::check_paced(&self.scrub.segments, id, go_on);
        self.scrub.segments.forget(id);
        let places: Vec<_> = match checked {
            Ok(check) => check.damages.iter().map(|damage| self.in_segment(file, damage)).collect(),
            Err(Error::Corrupt { .. }) => whole(PlaceKind::Footer),
            Err(error) if is_unreadable(&error) => whole(PlaceKind::Unreadable),
            Err(error @ Error::Unsupported { .. }) => {
                tracing::warn!(segment = %id, error = %chain(&error), "a segment cannot be judged");
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        // A segment leaves the manifest before its file goes: what is not named any more was not damaged, but deleted.
        let is_named = self.meta.lock().state.segments.contains_key(&id);
        Ok(if is_named { places } else { Vec::new() })
    }

    fn in_segment(&self, file: ScrubFile, damage: &segment::Damage) -> Place {
        let kind = PlaceKind::from(damage.kind);
        Place { slots: damage.slots.clone(), ..self.damaged_place(file, damage.offset.into(), kind) }
    }

    /// Forgets what is gone, finds out whom the rest touches, and declares the pass complete.
    fn finish_pass(&self) -> Result<()> {
        let meta = self.meta.lock();
        let exists = |file| match file {
            ScrubFile::Superblock | ScrubFile::Manifest => true,
            ScrubFile::Run(id) => meta.state.runs.contains_key(&id),
            ScrubFile::Segment(id) => meta.state.segments.contains_key(&id),
        };
        let mut state = self.scrub.state.lock();
        let gone = state.places.retain(exists);
        state.note(Change { gone, ..Change::default() });
        drop(state);
        drop(meta);
        self.trace_places()?;
        let mut state = self.scrub.state.lock();
        state.progress.pass = None;
        state.progress.completed_ms = Some(self.wall_ms());
        state.unsaved = true;
        let damages = state.places.len();
        drop(state);
        tracing::info!(damages, "a scrub has verified everything");
        self.save_scrub()
    }

    /// Finds out whom the known places touch now.
    pub(super) fn trace_places(&self) -> Result<()> {
        let places: Vec<_> = self.scrub.state.lock().places.iter().cloned().collect();
        let touched = self.trace(&places, &mut |bytes| self.pace_scrub(bytes, false))?;
        let mut state = self.scrub.state.lock();
        // They are the same places: whoever changes them holds `turn`.
        state.places.iter_mut().zip(touched).for_each(|(place, touched)| place.touched = Some(touched));
        state.traced = true;
        Ok(())
    }
}
