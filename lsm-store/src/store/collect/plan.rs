//! Which segments are worth collecting. Pure: from what a census counted to a plan that can be looked at.

use crate::id::SegmentId;
use crate::segment::SegmentSummary;

/// How little is to be gained from a segment for it to be collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Zeal {
    /// There is plenty of room, and clients are at work: only what gives back as much as it costs.
    Lazy,
    /// There is no need.
    Usual,
    /// Room is short, or somebody asked for it.
    Eager,
}

impl Zeal {
    /// The largest part of a segment that may live, in thousandths.
    fn live_permille_max(self) -> u64 {
        match self {
            Self::Lazy => 500,
            Self::Usual => 800,
            Self::Eager => 950,
        }
    }
}

/// A segment as a census found it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) id: SegmentId,
    pub(super) file_bytes: u64,
    pub(super) slots: u32,
    /// Blocks in it, and how many of them somebody sees.
    pub(super) blocks: u32,
    pub(super) live_blocks: u32,
}

impl Candidate {
    pub(super) fn new(summary: &SegmentSummary, live_blocks: u32) -> Self {
        Self {
            id: summary.identity.id,
            file_bytes: summary.geometry.file_bytes().into(),
            slots: summary.geometry.slots(),
            blocks: summary.blocks,
            live_blocks,
        }
    }

    /// Bytes that its living blocks take, about.
    pub(super) fn live_bytes(&self) -> u64 {
        self.file_bytes * u64::from(self.live_blocks) / u64::from(self.blocks.max(1))
    }

    fn live_permille(&self) -> u64 {
        u64::from(self.live_blocks) * 1000 / u64::from(self.blocks.max(1))
    }

    /// How much it pays to collect it (Rosenblum and Ousterhout: The Design and Implementation of a Log-Structured File
    /// System, 1992): free space gained times how long it lasts, by what it costs to read the segment and write what
    /// lives. The age is counted in segments made since.
    fn benefit(&self, newest: SegmentId) -> u64 {
        let (live, age) = (self.live_permille().min(1000), u64::from(newest.0.saturating_sub(self.id.0)) + 1);
        (1000 - live) * age * 1000 / (1000 + live)
    }
}

/// Bytes that come back from a segment when somebody asks for all that can be collected ([`crate::store::Store::collect`] with
/// `now`), if `live_blocks` of its blocks are seen by somebody: all of it if none is, nothing if nearly all are.
#[must_use]
pub fn collectable_bytes(summary: &SegmentSummary, live_blocks: u32) -> u64 {
    let candidate = Candidate::new(summary, live_blocks);
    if live_blocks > 0 && candidate.live_permille() > Zeal::Eager.live_permille_max() {
        return 0;
    }
    candidate.file_bytes.saturating_sub(candidate.live_bytes())
}

/// How much one batch may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    /// Bytes that survivors may take before the room of their old segments comes back.
    pub(super) survivor_bytes: u64,
    /// Segments with survivors at most.
    pub(super) segments: usize,
    /// Slots of them, which bounds the memory of the table of old and new locations.
    pub(super) slots: u64,
    /// Which segments are worth it.
    pub(super) zeal: Zeal,
}

/// What a collection would do, or has begun to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CollectPlan {
    /// Segments of which nothing lives.
    pub dead: Vec<SegmentId>,
    /// Segments whose living blocks move, the most worthwhile first.
    pub victims: Vec<SegmentId>,
    /// Bytes of all these segments.
    pub segment_bytes: u64,
    /// Bytes that have to be moved, about.
    pub relocated_bytes: u64,
    /// Segments looked at, and their bytes.
    pub examined_segments: u64,
    /// Bytes of the segments looked at.
    pub examined_bytes: u64,
    /// Bytes of these in which somebody sees something, about.
    pub live_bytes: u64,
}

impl CollectPlan {
    /// True if there is nothing to collect.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.victims.is_empty()
    }

    /// Bytes that come back, about.
    #[must_use]
    pub fn freed_bytes(&self) -> u64 {
        self.segment_bytes.saturating_sub(self.relocated_bytes)
    }
}

/// The next batch: all that is dead, and the most worthwhile of the rest as far as the limits go.
pub(super) fn choose(candidates: &[Candidate], limits: &Limits) -> CollectPlan {
    let newest = candidates.iter().map(|candidate| candidate.id).max().unwrap_or_default();
    let permille_max = limits.zeal.live_permille_max();
    let mut plan = CollectPlan {
        examined_segments: candidates.len() as u64,
        examined_bytes: candidates.iter().map(|candidate| candidate.file_bytes).sum(),
        live_bytes: candidates.iter().map(Candidate::live_bytes).sum(),
        ..CollectPlan::default()
    };
    let (dead, alive): (Vec<&Candidate>, Vec<&Candidate>) =
        candidates.iter().partition(|candidate| candidate.live_blocks == 0);
    for candidate in dead {
        plan.dead.push(candidate.id);
        plan.segment_bytes += candidate.file_bytes;
    }
    let mut worth: Vec<_> = alive.into_iter().filter(|candidate| candidate.live_permille() <= permille_max).collect();
    worth.sort_by_key(|candidate| (std::cmp::Reverse(candidate.benefit(newest)), candidate.id));
    let mut slots = 0;
    for candidate in worth {
        let fits = plan.victims.len() < limits.segments
            && slots + u64::from(candidate.slots) <= limits.slots
            && plan.relocated_bytes + candidate.live_bytes() <= limits.survivor_bytes;
        if fits {
            slots += u64::from(candidate.slots);
            plan.victims.push(candidate.id);
            plan.segment_bytes += candidate.file_bytes;
            plan.relocated_bytes += candidate.live_bytes();
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { survivor_bytes: 1 << 30, segments: 100, slots: 1 << 30, zeal: Zeal::Usual };

    fn candidate(id: u32, live_blocks: u32) -> Candidate {
        Candidate { id: SegmentId(id), file_bytes: 1000, slots: 100, blocks: 100, live_blocks }
    }

    #[test]
    fn what_is_dead_goes_whatever_the_limits_and_what_lives_is_left_alone() {
        let none = Limits { survivor_bytes: 0, segments: 0, slots: 0, zeal: Zeal::Eager };
        let plan = choose(&[candidate(1, 0), candidate(2, 50), candidate(3, 0), candidate(4, 100)], &none);
        assert_eq!((&plan.dead[..], &plan.victims[..]), (&[SegmentId(1), SegmentId(3)][..], &[][..]));
        assert_eq!((plan.freed_bytes(), plan.live_bytes, plan.examined_bytes), (2000, 1500, 4000));
    }

    #[test]
    fn the_emptier_and_the_older_go_first() {
        let plan = choose(&[candidate(1, 40), candidate(2, 10), candidate(3, 10), candidate(4, 81)], &LIMITS);
        assert_eq!(plan.victims, [SegmentId(2), SegmentId(1), SegmentId(3)]);
        assert_eq!(plan.relocated_bytes, 600);
        let victims =
            |zeal| choose(&[candidate(4, 81), candidate(5, 96), candidate(6, 51)], &Limits { zeal, ..LIMITS }).victims;
        assert_eq!(victims(Zeal::Eager), [SegmentId(6), SegmentId(4)]);
        assert_eq!(victims(Zeal::Usual), [SegmentId(6)]);
        assert_eq!(victims(Zeal::Lazy), []);
    }

    #[test]
    fn a_batch_keeps_its_limits() {
        let candidates: Vec<_> = (1..=20).map(|id| candidate(id, 50)).collect();
        let count = |limits: Limits| choose(&candidates, &limits).victims.len();
        assert_eq!(count(Limits { survivor_bytes: 1700, ..LIMITS }), 3);
        assert_eq!(count(Limits { segments: 4, ..LIMITS }), 4);
        assert_eq!(count(Limits { slots: 599, ..LIMITS }), 5);
    }
}
