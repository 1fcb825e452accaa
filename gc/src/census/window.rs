//! Some segments, and who sees each of their slots.

use std::collections::HashMap;

use lsm_store::id::{BLOCK_BYTES, Location, SegmentId, Slot};
use lsm_store::layers::{ViewerSets, Viewers};
use lsm_store::segment::{Segment, SegmentSummary, Segments};
use lsm_store::store::collectable_bytes;
use lsm_store::{Error, Result};

use super::{Census, Tally};

/// Memory that a slot takes.
pub(super) const SLOT_BYTES: u64 = 8;

/// A segment of the window.
struct Claimed<'a> {
    summary: &'a SegmentSummary,
    /// By slot, 0 for nobody; empty if nobody has been found yet.
    viewers: Vec<u64>,
}

pub(super) struct Window<'a> {
    segments: HashMap<SegmentId, Claimed<'a>>,
}

/// Blocks, and the bytes that they take in segments.
#[derive(Clone, Copy, Default)]
struct Held {
    blocks: u32,
    stored_bytes: u64,
}

impl<'a> Window<'a> {
    pub(super) fn new(segments: &'a [SegmentSummary]) -> Self {
        let claimed = |summary: &'a SegmentSummary| (summary.identity.id, Claimed { summary, viewers: Vec::new() });
        Self { segments: segments.iter().map(claimed).collect() }
    }

    /// Some roots see `count` slots from `first` on.
    ///
    /// # Errors
    /// `Corrupt` if the segment has not so many.
    pub(super) fn claim(&mut self, first: Location, count: u64, by: Viewers, sets: &mut ViewerSets) -> Result<()> {
        let Some(claimed) = self.segments.get_mut(&first.segment) else { return Ok(()) };
        claimed.viewers.resize(claimed.summary.geometry.slots() as usize, 0);
        let first_slot = usize::from(first.slot.0);
        let Some(slots) = claimed.viewers.get_mut(first_slot..first_slot + count as usize) else {
            return Err(Error::Corrupt {
                file: lsm_store::segment::path(first.segment),
                offset: 0,
                why: "a slot beyond the last is referred to",
            });
        };
        for slot in slots {
            *slot = match Viewers::from_bits(*slot) {
                None => by.to_bits(),
                Some(others) => sets.union(others, by).to_bits(),
            };
        }
        Ok(())
    }

    /// Adds up what was found.
    ///
    /// # Errors
    /// `Corrupt` or `Io` if a slot table cannot be read.
    pub(super) fn settle(
        self,
        segments: &Segments,
        sets: &ViewerSets,
        tally: &mut Tally,
        census: &mut Census,
    ) -> Result<()> {
        let mut held: HashMap<Viewers, Held> = HashMap::new();
        for (id, claimed) in self.segments.into_iter().filter(|(_, claimed)| !claimed.viewers.is_empty()) {
            let segment = segments.segment(id)?;
            let mut own: HashMap<u32, Held> = HashMap::new();
            let mut live_blocks = 0;
            for (slot, viewers) in claimed.viewers.iter().enumerate() {
                let Some(viewers) = Viewers::from_bits(*viewers) else { continue };
                let stored_bytes = stored_bytes(&segment, Slot(slot as u16))?;
                live_blocks += 1;
                held.entry(viewers).or_default().add(stored_bytes);
                if let Some(root) = viewers.only() {
                    own.entry(root).or_default().add(stored_bytes);
                }
            }
            let now = collectable_bytes(claimed.summary, live_blocks);
            for (root, own) in own {
                let then = collectable_bytes(claimed.summary, live_blocks - own.blocks);
                tally.frees[root as usize] += then.saturating_sub(now);
                tally.unique[root as usize] += own.stored_bytes;
            }
        }
        for (viewers, held) in held {
            let distinct_bytes = u64::from(held.blocks) * BLOCK_BYTES as u64;
            census.distinct_bytes += distinct_bytes;
            census.stored_bytes += held.stored_bytes;
            tally.members.add(&mut census.group, sets.intervals(viewers), distinct_bytes, held.stored_bytes);
            for interval in sets.intervals(viewers) {
                tally.distinct.add(interval, distinct_bytes);
                tally.stored.add(interval, held.stored_bytes);
            }
        }
        Ok(())
    }
}

impl Held {
    fn add(&mut self, stored_bytes: u64) {
        self.blocks += 1;
        self.stored_bytes += stored_bytes;
    }
}

/// The block's part of its frame.
fn stored_bytes(segment: &Segment, slot: Slot) -> Result<u64> {
    let place = segment.locate(slot)?;
    Ok(u64::from(place.len) / u64::from(place.blocks))
}
