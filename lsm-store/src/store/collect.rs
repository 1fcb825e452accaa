//! Collection: gives back the room of blocks that nobody sees any more.
//!
//! A batch goes through these steps, each safe to be cut off by a crash or a full disk
//! (`docs/decisions/2026-11-26-collection.md` says why):
//!
//! 1. *Examine*: mark what any root sees, and choose segments that are worth it ([`plan`]); once for several batches.
//! 2. *Condemn* them: flush jobs share nothing with them any more. Wait for the one that runs.
//! 3. *Mark* again: from here on what lives in them only gets less. Those of which nothing lives are *reclaimed*.
//! 4. *Relocate* what lives in the others into new segments ([`relocation`]), and rewrite the runs that name it ([`remap`]).
//! 5. *Mark* a last time, and reclaim what is proved to be unreferenced. Files go when their last reader is gone
//!    ([`doomed`]).

mod cold;
mod doomed;
mod examination;
mod mark;
mod plan;
mod reclaim;
mod relocation;
mod remap;
mod schedule;
mod survivors;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use rustc_hash::FxHashSet;

use super::BackgroundMode;
use super::background::Fuse;
use super::inner::{Inner, chain};
use crate::error::{Error, Result};
use crate::id::SegmentId;
use crate::layers::Visibility;
use crate::map::Version;
use crate::segment::SEGMENT_BYTES_MAX;
use cold::{Cold, Packing};
pub use cold::{ColdPlan, ColdScope};
use doomed::Exits;
use examination::{Batch, Findings};
use mark::Mark;
use plan::Zeal;
pub use plan::{CollectPlan, collectable_bytes};
use relocation::Relocation;
use remap::Remap;
use schedule::Schedule;
pub(super) use schedule::is_unreadable;

/// What collection keeps between batches.
pub(super) struct Collector {
    turn: Mutex<Turn>,
    pub(super) exits: Exits,
    pub(super) schedule: Schedule,
    pub(super) cold: Cold,
}

/// Held by whoever collects.
#[derive(Default)]
struct Turn {
    /// The last segment that was examined: those behind it come next where not all can be looked at together.
    examined_to: SegmentId,
    /// Segments of which something could not be read: they stay as they are until the next opening.
    damaged: FxHashSet<SegmentId>,
    /// What may be collected next.
    findings: Findings,
    /// How the batch under way stores what it moves.
    packing: Packing,
}

/// What was collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CollectReport {
    /// Batches done.
    pub batches: u64,
    /// Segments that are gone.
    pub segments_reclaimed: u64,
    /// Their bytes.
    pub bytes_reclaimed: u64,
    /// Blocks that were moved.
    pub blocks_relocated: u64,
    /// Bytes of these, as stored.
    pub bytes_relocated: u64,
}

impl Collector {
    pub(super) fn new(used_bytes: u64) -> Self {
        let (turn, exits) = (Mutex::default(), Exits::default());
        Self { turn, exits, schedule: Schedule::new(used_bytes), cold: Cold::default() }
    }

    pub(super) fn live_permille(&self) -> Option<u64> {
        self.schedule.live_permille()
    }
}

impl Inner {
    /// Collects until nothing is worth it any more. `now`: segments of which little is dead are worth it too.
    pub(super) fn collect(&self, now: bool) -> Result<CollectReport> {
        self.refuse_if_unwritable()?;
        let mut turn = self.collector.turn.lock();
        let mut report = CollectReport::default();
        loop {
            let seen = self.collector.schedule.before(self.segment_bytes_written());
            if !self.collect_batch(&mut turn, zeal_of(now), &mut report)? {
                self.collector.schedule.settle(seen, zeal_of(now));
                return Ok(report);
            }
        }
    }

    /// What the next batch would do.
    pub(super) fn collect_plan(&self, now: bool) -> Result<CollectPlan> {
        let mut turn = self.collector.turn.lock();
        let before = turn.examined_to;
        let batch = self.examine(&mut turn, zeal_of(now));
        turn.examined_to = before;
        Ok(batch?.plan)
    }

    /// Waits for a collection that is under way to notice that the store is being closed.
    pub(super) fn await_collection(&self) {
        drop(self.collector.turn.lock());
    }

    /// Fails if collection has to stop; gives way to writers who are being slowed down, unless they need the room.
    fn go_on_collecting(&self) -> Result<()> {
        self.refuse_if_poisoned()?;
        if self.background.is_stopping() {
            return Err(Error::Closed);
        }
        let may_wait = !self.collector.schedule.is_urgent() && self.background.mode == BackgroundMode::Threads;
        if may_wait && self.pace.is_pressed() {
            self.clock.sleep(schedule::GIVE_WAY);
        }
        self.give_way_to_requests()
    }

    /// One batch; `false` if nothing is worth it.
    fn collect_batch(&self, turn: &mut Turn, zeal: Zeal, report: &mut CollectReport) -> Result<bool> {
        self.collector.schedule.set_urgent(zeal == Zeal::Eager);
        self.delete_unread();
        let Batch { plan, alone, starved } = self.next_batch(turn, zeal)?;
        if plan.is_empty() {
            turn.findings = Findings::default();
            return if starved { Err(Error::OutOfSpace) } else { Ok(false) };
        }
        self.collector.schedule.set_urgent(alone || zeal == Zeal::Eager);
        let condemned: Vec<_> = plan.dead.iter().chain(&plan.victims).copied().collect();
        turn.packing = self.packing(&plan.victims, alone);
        let (began, before) = (self.clock.monotonic(), *report);
        let collected = self.collect_chosen(turn, &condemned, alone, report);
        let gained = (report.bytes_reclaimed - before.bytes_reclaimed)
            .saturating_sub(report.bytes_relocated - before.bytes_relocated);
        let took = self.clock.monotonic().saturating_sub(began);
        self.collector.schedule.note_gain(gained, took);
        tracing::debug!(
            segments = condemned.len(),
            relocated_bytes = report.bytes_relocated - before.bytes_relocated,
            gained_bytes = gained,
            took_ms = took.as_millis() as u64,
            alone,
            "a batch of collection"
        );
        collected
    }

    fn collect_chosen(
        &self,
        turn: &mut Turn,
        condemned: &[SegmentId],
        alone: bool,
        report: &mut CollectReport,
    ) -> Result<bool> {
        // A batch that does not end would leave its segments condemned and its room claimed.
        let _fuse = Fuse(self);
        self.collector.exits.condemn(condemned.iter().copied());
        let collected = self.collect_condemned(turn, condemned, alone, report);
        self.space.end_claim();
        self.collector.exits.pardon(condemned);
        report.batches += 1;
        self.bury_unread()?;
        self.background.wake();
        collected
    }

    /// The segments that the manifest has, with how many slots they have.
    fn slots_of(&self, ids: &[SegmentId]) -> Vec<(SegmentId, u32)> {
        let meta = self.meta.lock();
        let slots = |id: &SegmentId| Some((*id, meta.state.segments.get(id)?.geometry.slots()));
        ids.iter().filter_map(slots).collect()
    }

    fn mark_condemned(&self, condemned: &[SegmentId]) -> Result<Mark> {
        self.mark(self.slots_of(condemned))
    }

    fn collect_condemned(
        &self,
        turn: &mut Turn,
        condemned: &[SegmentId],
        alone: bool,
        report: &mut CollectReport,
    ) -> Result<bool> {
        // Whoever flushes now began before the segments were condemned.
        let flushing = self.flushing.lock();
        let _flushing = alone.then_some(flushing);
        let mark = self.mark_condemned(condemned)?;
        let (dead, alive): (Vec<_>, Vec<_>) = condemned.iter().partition(|id| is_dead(&mark, **id));
        self.reclaim(&dead, report)?;
        let victims: Vec<_> = alive.into_iter().filter(|id| mark.slots(*id).is_some()).collect();
        if victims.is_empty() {
            return Ok(true);
        }
        match self.relocate(turn, &mark, &victims, alone, report) {
            Ok(true) => {}
            // A segment is damaged, or there was no room: what is dead was a gain all the same.
            Ok(false) => return Ok(true),
            Err(Error::OutOfSpace) if !dead.is_empty() => return Ok(true),
            Err(error) => return Err(error),
        }
        let mark = self.mark_condemned(&victims)?;
        let (dead, referenced): (Vec<_>, Vec<_>) = victims.iter().partition(|id| is_dead(&mark, **id));
        assert!(referenced.is_empty(), "nobody sees anything of {referenced:?} after all of it was moved");
        self.reclaim(&dead, report)?;
        Ok(true)
    }

    /// Moves what lives in `victims`; `false` if one of them cannot be read, so that none of them can go now.
    fn relocate(
        &self,
        turn: &mut Turn,
        mark: &Mark,
        victims: &[SegmentId],
        alone: bool,
        report: &mut CollectReport,
    ) -> Result<bool> {
        let version = Arc::clone(&self.view().version);
        let visibility = self.visibility();
        let packing = std::mem::take(&mut turn.packing);
        let bytes = self.survivor_bytes(mark, victims) + packing.kinds(victims) * SEGMENT_BYTES_MAX + version.bytes();
        // Writes may have been accepted since the batch was chosen.
        if !alone && !self.has_room_beside_flushes(bytes)? {
            return Err(Error::OutOfSpace);
        }
        let lent = self.lend(bytes)?;
        self.space.claim(bytes);
        let relocated = self.relocate_claimed(turn, mark, victims, (version, &visibility), &packing, report);
        self.space.settle_claim();
        drop(lent);
        relocated
    }

    /// As [`Inner::relocate`], with room set aside for it.
    fn relocate_claimed(
        &self,
        turn: &mut Turn,
        mark: &Mark,
        victims: &[SegmentId],
        (version, visibility): (Arc<Version>, &Visibility),
        packing: &Packing,
        report: &mut CollectReport,
    ) -> Result<bool> {
        let mut relocation = Relocation::new(self, mark, packing)?;
        let moved = relocation.run(victims, version.pieces_visible(visibility));
        drop(version);
        let Relocation { mut survivors, reading, .. } = relocation;
        let table = std::mem::take(&mut survivors.table);
        let mut remap = Remap::new(self, &table);
        let made = moved.and_then(|()| remap.run(&survivors.sealed));
        if !self.is_stopped() || made.is_ok() {
            // Of a commit that may or may not have been made, nothing is removed.
            remap.discard();
        }
        match made {
            Ok(()) => {
                report.blocks_relocated += survivors.blocks;
                report.bytes_relocated += survivors.bytes;
                self.counters.bytes_relocated.fetch_add(survivors.bytes, Ordering::Relaxed);
                Ok(true)
            }
            Err(error) => {
                if !self.is_stopped() {
                    survivors.discard();
                }
                match (error, reading.0) {
                    (error, Some(id)) if is_unreadable(&error) => {
                        tracing::error!(segment = %id, error = %chain(&error), "a damaged segment is not collected");
                        self.suspect(&error);
                        turn.damaged.insert(id);
                        Ok(false)
                    }
                    (error, _) if is_unreadable(&error) => Err(error),
                    (error, _) => Err(self.poison_unless_full(error)),
                }
            }
        }
    }

    fn survivor_bytes(&self, mark: &Mark, victims: &[SegmentId]) -> u64 {
        let meta = self.meta.lock();
        let bytes = |id: &SegmentId| {
            let summary = meta.state.segments.get(id)?;
            let live = u64::from(mark.slots(*id)?.count());
            Some(u64::from(summary.geometry.file_bytes()) * live / u64::from(summary.blocks.max(1)))
        };
        victims.iter().filter_map(bytes).sum()
    }

    fn used_segment_bytes(&self) -> u64 {
        let meta = self.meta.lock();
        meta.state.segments.values().map(|segment| u64::from(segment.geometry.file_bytes())).sum()
    }

    fn segment_bytes_written(&self) -> u64 {
        self.counters.segment_bytes_written.load(Ordering::Relaxed)
    }
}

/// How much is worth it to somebody who asks for a collection, perhaps for all of it.
fn zeal_of(now: bool) -> Zeal {
    if now { Zeal::Eager } else { Zeal::Usual }
}

fn is_dead(mark: &Mark, id: SegmentId) -> bool {
    mark.slots(id).is_some_and(|slots| slots.count() == 0)
}
