//! Looks for segments that are worth collecting.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use rustc_hash::FxHashSet;

use super::Turn;
use super::mark::Mark;
use super::plan::{Candidate, CollectPlan, Limits, Zeal, choose};
use crate::error::Result;
use crate::id::SegmentId;
use crate::segment::{SEGMENT_BYTES_MAX, SLOTS_MAX, SegmentSummary};
use crate::store::BackgroundMode;
use crate::store::inner::Inner;

/// Segments with survivors that one batch takes on: a tenth of all, but no fewer than the first and no more than the
/// second of these numbers.
const BATCH_SEGMENTS: (usize, usize) = (8, 1024);

/// Survivors of a batch while flush jobs have to wait for it.
const SURVIVOR_BYTES_ALONE: u64 = SEGMENT_BYTES_MAX;

/// Batches chosen by one look at all segments, while no more than this part of what is stored is written. What the look found
/// to live only gets less, and each batch marks its own segments again: it may be a little wrong about which are worth the
/// most.
const BATCHES_PER_LOOK: u32 = 4;
const LOOK_PARTS: u64 = 8;

/// Threads that read the map for one mark at most, and the memory that the store has for each: one holds a read and a
/// decoded page of every level.
const MARK_THREADS_MAX: usize = 4;
const MARK_THREAD_BYTES: u64 = 128 << 20;

/// Parts of the memory budget: the bits of a mark, and the table of a batch.
const MARK_PARTS: u64 = 32;
pub(super) const TABLE_PARTS: u64 = 64;

/// The next batch, and how much of the machine it may take.
pub(super) struct Batch {
    pub(super) plan: CollectPlan,
    /// There is too little room for it and a flush job at once.
    pub(super) alone: bool,
    /// There is something worth it, and no room for any of it.
    pub(super) starved: bool,
}

/// What the last look at all segments found.
#[derive(Default)]
pub(super) struct Findings {
    candidates: Vec<Candidate>,
    /// Batches it is still good for, and up to which count of bytes written to segments.
    good_for: u32,
    good_until: u64,
}

impl Inner {
    /// The next batch, by what the last look found or another one.
    pub(super) fn next_batch(&self, turn: &mut Turn, zeal: Zeal) -> Result<Batch> {
        if turn.findings.good_for > 0 && self.segment_bytes_written() < turn.findings.good_until {
            turn.findings.good_for -= 1;
            let mut known = std::mem::take(&mut turn.findings.candidates);
            let total = self.retain_collectable(&mut known, &turn.damaged);
            let batch = self.choose_batch(&known, total, zeal)?;
            turn.findings.candidates = known;
            if !batch.plan.victims.is_empty() {
                return Ok(batch);
            }
        }
        self.examine(turn, zeal)
    }

    /// Forgets segments that are gone or damaged; how many there are in all.
    fn retain_collectable(&self, known: &mut Vec<Candidate>, damaged: &FxHashSet<SegmentId>) -> usize {
        let meta = self.meta.lock();
        known.retain(|candidate| meta.state.segments.contains_key(&candidate.id) && !damaged.contains(&candidate.id));
        meta.state.segments.len()
    }

    /// Looks at segments until some are worth collecting, or all have been looked at.
    pub(super) fn examine(&self, turn: &mut Turn, zeal: Zeal) -> Result<Batch> {
        let mut segments: Vec<SegmentSummary> = self.meta.lock().state.segments.values().copied().collect();
        let total = segments.len();
        segments.retain(|summary| summary.identity.domain == 0 && !turn.damaged.contains(&summary.identity.id));
        let start = segments.partition_point(|summary| summary.identity.id <= turn.examined_to);
        segments.rotate_left(start);
        let mut rest = &segments[..];
        let mut starved = false;
        loop {
            let mut slots = 0;
            let fits = |summary: &&SegmentSummary| {
                slots += u64::from(summary.geometry.slots());
                slots <= self.budget.total_bytes / MARK_PARTS * 8
            };
            let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
            let (window, behind) = rest.split_at(count);
            let candidates = self.candidates(window)?;
            turn.examined_to = window.last().map_or(turn.examined_to, |summary| summary.identity.id);
            let batch = self.choose_batch(&candidates, total, zeal)?;
            if window.len() == segments.len() {
                self.collector.schedule.note_live(batch.plan.live_bytes, batch.plan.examined_bytes);
                let good_until = self.segment_bytes_written() + batch.plan.examined_bytes / LOOK_PARTS;
                turn.findings = Findings { candidates, good_for: BATCHES_PER_LOOK - 1, good_until };
            }
            starved |= batch.starved;
            if !batch.plan.is_empty() || behind.is_empty() {
                return Ok(Batch { starved, ..batch });
            }
            rest = behind;
        }
    }

    fn candidates(&self, window: &[SegmentSummary]) -> Result<Vec<Candidate>> {
        let slots = window.iter().map(|summary| (summary.identity.id, summary.geometry.slots()));
        // The segments come first: the version then has every run that refers to them.
        let mark = self.mark(slots)?;
        let live = |id| mark.slots(id).map_or(0, |slots| slots.count());
        let candidate = |summary: &SegmentSummary| Candidate::new(summary, live(summary.identity.id));
        Ok(window.iter().map(candidate).collect())
    }

    fn choose_batch(&self, candidates: &[Candidate], total: usize, zeal: Zeal) -> Result<Batch> {
        let needed = SEGMENT_BYTES_MAX + self.view().version.bytes();
        let limits = |survivor_bytes| Limits {
            survivor_bytes,
            segments: (total / 10).clamp(BATCH_SEGMENTS.0, BATCH_SEGMENTS.1),
            slots: (self.budget.total_bytes / TABLE_PARTS / 8).max(SLOTS_MAX.into()),
            zeal,
        };
        // Survivors of cold segments go into segments of their own.
        let room = self.room_to_collect(true)?.saturating_sub(needed + SEGMENT_BYTES_MAX);
        let plan = choose(candidates, &limits(room));
        if !plan.victims.is_empty() {
            return Ok(Batch { plan, alone: false, starved: false });
        }
        let room = self.room_to_collect(false)?.saturating_sub(needed).min(SURVIVOR_BYTES_ALONE);
        let plan = choose(candidates, &limits(room));
        let starved = plan.victims.is_empty() && !choose(candidates, &limits(u64::MAX)).victims.is_empty();
        Ok(Batch { alone: !plan.victims.is_empty(), plan, starved })
    }

    /// Marks what any root sees of some segments now.
    pub(super) fn mark(&self, segments: impl IntoIterator<Item = (SegmentId, u32)>) -> Result<Mark> {
        let version = Arc::clone(&self.view().version);
        let visibility = self.visibility();
        Mark::take(segments, &version, &visibility, self.mark_threads(), || self.go_on_collecting())
    }

    /// How many threads read the map: one while clients are at work.
    fn mark_threads(&self) -> usize {
        let is_quiet = self.collector.cold.is_quiet(self.clock.monotonic());
        if self.background.mode != BackgroundMode::Threads || !is_quiet {
            return 1;
        }
        let in_memory = (self.budget.total_bytes / MARK_THREAD_BYTES).clamp(1, MARK_THREADS_MAX as u64) as usize;
        available_parallelism().map_or(1, NonZero::get).min(in_memory)
    }
}
