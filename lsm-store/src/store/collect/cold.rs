//! Cold data: what nobody has read for a while is moved into segments of class 3, compressed by zstd in groups of up to 16
//! blocks. It goes on behind everybody's back while the store has nothing else to do, or at once if somebody asks for it.
//!
//! A batch is one of collection, with other victims: segments that are not packed yet. What comes of it is never a victim
//! of this kind again, so a pass ends. `docs/decisions/2026-11-26-cold-data.md` says why it is done like this.

mod choice;
mod idle;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;
use rustc_hash::FxHashSet;

use super::{CollectReport, Turn};
use crate::codec::ZstdLevel;
use crate::error::{Error, Result};
use crate::id::SegmentId;
use crate::segment::{Class, SEGMENT_BYTES_MAX, SegmentSummary};
use crate::store::inner::Inner;
pub use choice::ColdPlan;
use choice::{ColdLimits, choose, is_packable};
use idle::Watch;

/// For how many periods a segment has to be watched before it counts as cold.
const COLD_PERIODS: u32 = 6;

/// What the store keeps of cold data between batches.
#[derive(Default)]
pub(in crate::store) struct Cold {
    /// The zstd level of what is packed; 0 if nothing is by itself.
    level: AtomicU8,
    /// Reads and writes that were asked for.
    requests: AtomicU64,
    watch: Mutex<Watch>,
    /// A batch that nobody asked for is under way.
    in_batch: AtomicBool,
}

/// Which segments a pass takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ColdScope {
    /// Those of which next to nothing was read lately.
    Unread,
    /// All that are not packed yet.
    All,
}

/// How a batch stores what it moves.
#[derive(Default)]
pub(super) struct Packing {
    /// Victims whose blocks are compressed in groups, into segments of their own.
    pub(super) segments: FxHashSet<SegmentId>,
    /// The level where no volume wants a higher one.
    pub(super) level: ZstdLevel,
}

impl Packing {
    /// Of how many kinds the segments are that take what lives in `victims`: so many are under construction at once.
    pub(super) fn kinds(&self, victims: &[SegmentId]) -> u64 {
        let packed = victims.iter().filter(|id| self.segments.contains(id)).count();
        if packed == 0 || packed == victims.len() { 1 } else { 2 }
    }
}

impl Cold {
    /// A read or a write was asked for.
    pub(in crate::store) fn note_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn level(&self) -> Option<ZstdLevel> {
        ZstdLevel::new(self.level.load(Ordering::Relaxed))
    }
}

impl Inner {
    pub(in crate::store) fn set_cold(&self, level: Option<ZstdLevel>) {
        self.collector.cold.level.store(level.map_or(0, ZstdLevel::value), Ordering::Relaxed);
    }

    /// What a pass over the segments up to `last` has still to do.
    pub(in crate::store) fn cold_plan(&self, scope: ColdScope, last: SegmentId) -> ColdPlan {
        let turn = self.collector.turn.lock();
        let candidates = self.cold_candidates(&turn, |summary| self.is_in_scope(summary, scope, last));
        choose(&candidates, &ColdLimits { bytes: u64::MAX, segments: usize::MAX, slots: u64::MAX })
    }

    /// One batch of a pass over the segments up to `last`.
    pub(in crate::store) fn pack_cold(&self, scope: ColdScope, last: SegmentId) -> Result<CollectReport> {
        self.refuse_if_unwritable()?;
        let mut turn = self.collector.turn.lock();
        let candidates = self.cold_candidates(&turn, |summary| self.is_in_scope(summary, scope, last));
        let mut report = CollectReport::default();
        self.collector.schedule.set_urgent(false);
        self.pack_batch(&mut turn, &candidates, u64::MAX, &mut report)?;
        self.delete_unread();
        Ok(report)
    }

    fn is_in_scope(&self, summary: &SegmentSummary, scope: ColdScope, last: SegmentId) -> bool {
        summary.identity.id <= last && (scope == ColdScope::All || self.is_unread(summary, 0))
    }

    /// True if next to nothing was read of the segment, for `periods` at least.
    fn is_unread(&self, summary: &SegmentSummary, periods: u32) -> bool {
        let heat = self.segments.heat(summary.identity.id);
        heat.is_some_and(|heat| heat.periods() >= periods && heat.is_unread(summary.blocks))
    }

    fn cold_candidates(&self, turn: &Turn, wanted: impl Fn(&SegmentSummary) -> bool) -> Vec<SegmentSummary> {
        let segments: Vec<SegmentSummary> = self.meta.lock().state.segments.values().copied().collect();
        let is_whole =
            |summary: &SegmentSummary| summary.identity.domain == 0 && !turn.damaged.contains(&summary.identity.id);
        segments.into_iter().filter(|summary| is_whole(summary) && wanted(summary)).collect()
    }

    /// Packs as many of `candidates` as one batch and `spare` bytes of room take; `false` if there is none.
    fn pack_batch(
        &self,
        turn: &mut Turn,
        candidates: &[SegmentSummary],
        spare: u64,
        report: &mut CollectReport,
    ) -> Result<bool> {
        self.delete_unread();
        let total = self.meta.lock().state.segments.len();
        let needed = SEGMENT_BYTES_MAX + self.view().version.bytes();
        let room = self.room_to_collect(true)?.min(spare).saturating_sub(needed);
        let plan = choose(candidates, &self.cold_limits(total, room));
        if plan.victims.is_empty() {
            return match choose(candidates, &self.cold_limits(total, u64::MAX)).victims.is_empty() {
                true => Ok(false),
                false => Err(Error::OutOfSpace),
            };
        }
        turn.packing = Packing { segments: plan.victims.iter().copied().collect(), level: self.cold_level() };
        let written = report.bytes_relocated;
        let packed = self.collect_chosen(turn, &plan.victims, false, report);
        // Moved, not overwritten: nothing has died of it.
        self.collector.schedule.note_moved(report.bytes_relocated - written);
        packed
    }

    fn cold_level(&self) -> ZstdLevel {
        self.collector.cold.level().unwrap_or_default()
    }

    /// How a batch that collects `victims` stores what lives in them: cold data in groups, if there is room for segments of
    /// two kinds at once, all else as it was.
    pub(super) fn packing(&self, victims: &[SegmentId], alone: bool) -> Packing {
        if alone {
            return Packing { level: self.cold_level(), ..Packing::default() };
        }
        let is_on = self.collector.cold.level().is_some();
        let meta = self.meta.lock();
        let summaries: Vec<_> = victims.iter().filter_map(|id| meta.state.segments.get(id).copied()).collect();
        drop(meta);
        let is_cold = |summary: &SegmentSummary| {
            summary.identity.class == Class::Cold
                || is_on && is_packable(summary) && self.is_unread(summary, COLD_PERIODS)
        };
        let segments = summaries.iter().filter(|summary| is_cold(summary)).map(|summary| summary.identity.id).collect();
        Packing { segments, level: self.cold_level() }
    }
}
