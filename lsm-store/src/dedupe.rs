//! Finding blocks that are stored already, for one job that writes segments.
//!
//! A block counts as found only when all 256 bits of its fingerprint were compared with a segment's directory, or with
//! what this job has appended itself. A segment that is gone, damaged or not eligible is no candidate and never an error: what
//! is not found is stored again.
//!
//! The order of the questions is that of their price: the slot behind the previous hit (duplicates come in streams), the
//! job's own blocks, the index. After a hit by the index the blocks just before are compared with the slots just
//! before, because an old segment is known by its hooks only ([`crate::index`]).

#[cfg(test)]
mod tests;

use rustc_hash::FxHashMap;

use crate::fingerprint::Fingerprint;
use crate::id::{Location, SegmentId, Slot};
use crate::index::FingerprintIndex;
use crate::segment::{Readahead, Segments};

/// Misses in a row after which a stream of duplicates is taken to have ended.
const PREDICTED_MISSES_MAX: u32 = 16;

/// What is known of one block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Its content is stored here.
    Stored(Location),
    /// It equals the block with this index in the same batch, which is [`Verdict::New`].
    SameAs(usize),
    /// Nothing is known of it: append it, then say so with [`Dedupe::appended`].
    New,
}

/// How lookups went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DedupeCounts {
    /// Found behind the previous hit, or before a hit by the index.
    pub predicted: u64,
    /// Found among the job's own blocks.
    pub own: u64,
    /// Found by the index.
    pub indexed: u64,
    /// Not found.
    pub new: u64,
    /// Candidates of the index that were other blocks, or could not be compared.
    pub false_candidates: u64,
}

/// The lookups of one job. `eligible` says whether blocks may be shared with a segment: it exists and is not condemned.
pub struct Dedupe<'a, F> {
    index: &'a FingerprintIndex,
    segments: &'a Segments,
    eligible: F,
    /// What this job has appended to segments that are not sealed, so not in the index yet.
    own: FxHashMap<Fingerprint, Location>,
    /// Where the next block is if it continues the stream, and how many before it were not where they should.
    predicted: Option<(Location, u32)>,
    counts: DedupeCounts,
}

impl<'a, F: Fn(SegmentId) -> bool> Dedupe<'a, F> {
    /// Lookups for a job that starts now.
    #[must_use]
    pub fn new(index: &'a FingerprintIndex, segments: &'a Segments, eligible: F) -> Self {
        let counts = DedupeCounts::default();
        Self { index, segments, eligible, own: FxHashMap::default(), predicted: None, counts }
    }

    /// Looks up a batch in stream order (by layer and block); one verdict for each. May block for reads of directories.
    pub fn look_up(&mut self, fingerprints: &[Fingerprint]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(fingerprints.len());
        let mut first_seen = FxHashMap::default();
        for (index, fingerprint) in fingerprints.iter().enumerate() {
            let verdict = match first_seen.get(fingerprint) {
                Some(first) => {
                    self.counts.own += 1;
                    Verdict::SameAs(*first)
                }
                None => self.find(fingerprint, &fingerprints[..index], &mut verdicts),
            };
            if verdict == Verdict::New {
                first_seen.insert(*fingerprint, index);
            }
            verdicts.push(verdict);
        }
        self.settle(&mut verdicts);
        verdicts
    }

    /// Tells that a new block was appended there, so that this job finds it from now on.
    pub fn appended(&mut self, fingerprint: Fingerprint, location: Location) {
        self.own.insert(fingerprint, location);
    }

    /// The blocks this job appended: what the caller inserts into the index once their segments are sealed.
    pub fn own(&self) -> impl Iterator<Item = (&Fingerprint, Location)> {
        self.own.iter().map(|(fingerprint, location)| (fingerprint, *location))
    }

    /// How lookups went so far.
    #[must_use]
    pub fn counts(&self) -> DedupeCounts {
        self.counts
    }

    fn find(&mut self, fingerprint: &Fingerprint, before: &[Fingerprint], verdicts: &mut [Verdict]) -> Verdict {
        if let Some(location) = self.find_predicted(fingerprint) {
            self.counts.predicted += 1;
            return Verdict::Stored(location);
        }
        if let Some(location) = self.own.get(fingerprint) {
            self.counts.own += 1;
            return Verdict::Stored(*location);
        }
        let index = self.index;
        for location in index.candidates(fingerprint) {
            if self.is_at(fingerprint, location, Readahead::Page) {
                self.counts.indexed += 1;
                self.predicted = step(location, 1).map(|next| (next, 0));
                self.find_before(location, before, verdicts);
                return Verdict::Stored(location);
            }
            self.counts.false_candidates += 1;
        }
        self.counts.new += 1;
        Verdict::New
    }

    fn find_predicted(&mut self, fingerprint: &Fingerprint) -> Option<Location> {
        let (location, misses) = self.predicted?;
        let hit = self.is_at(fingerprint, location, Readahead::Stream);
        let misses = if hit { 0 } else { misses + 1 };
        // One changed block does not end a stream: the prediction moves on with the blocks.
        let next = step(location, 1).filter(|_| misses <= PREDICTED_MISSES_MAX);
        self.predicted = next.map(|next| (next, misses));
        hit.then_some(location)
    }

    /// Compares the blocks before a hit with the slots before it, as long as they were not found and are there.
    fn find_before(&mut self, hit: Location, before: &[Fingerprint], verdicts: &mut [Verdict]) {
        let mut location = hit;
        for (fingerprint, verdict) in before.iter().zip(verdicts).rev() {
            let Some(previous) = step(location, -1) else { return };
            if *verdict != Verdict::New || !self.is_at(fingerprint, previous, Readahead::Page) {
                return;
            }
            *verdict = Verdict::Stored(previous);
            self.counts.new -= 1;
            self.counts.predicted += 1;
            location = previous;
        }
    }

    /// Blocks that equal one which was found after all are there as well.
    fn settle(&self, verdicts: &mut [Verdict]) {
        for index in 0..verdicts.len() {
            if let Verdict::SameAs(first) = verdicts[index]
                && let Verdict::Stored(location) = verdicts[first]
            {
                verdicts[index] = Verdict::Stored(location);
            }
        }
    }

    fn is_at(&self, fingerprint: &Fingerprint, location: Location, readahead: Readahead) -> bool {
        (self.eligible)(location.segment)
            && self.segments.fingerprint_at(location, readahead).is_ok_and(|found| found == *fingerprint)
    }
}

/// The location `by` slots on, in the same segment.
fn step(location: Location, by: i16) -> Option<Location> {
    let slot = location.slot.0.checked_add_signed(by)?;
    Some(Location { slot: Slot(slot), ..location })
}
