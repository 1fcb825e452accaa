//! What a crash may leave on a disk.

use lsm_store::device::sim::{CrashChoice, CrashPoint, SimDevice};
use lsm_store::rng::SeededRng;

use crate::model::Survives;

/// A way to crash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice {
    /// The process dies; everything it wrote is there, and still not synced.
    ProcessDeath,
    /// The power fails; of what was not synced, this is there.
    PowerCut(CrashChoice),
}

impl Choice {
    /// What must have survived.
    #[must_use]
    pub fn survives(&self) -> Survives {
        match self {
            Self::ProcessDeath => Survives::Answered,
            Self::PowerCut(_) => Survives::Flushed,
        }
    }

    /// The disk that it leaves.
    pub(super) fn image(&self, point: &CrashPoint) -> SimDevice {
        match self {
            Self::ProcessDeath => point.process_death(),
            Self::PowerCut(choice) => point.image(choice),
        }
    }
}

/// The ways worth trying at a point, at most `count_max` and at least three: always the death of the process, nothing
/// and everything; then what [`CrashPoint::choices`] has and every subset of up to `subsets_of_max` changes, thinned out at
/// random.
pub(super) fn choices(point: &CrashPoint, dice: &SeededRng, count_max: usize, subsets_of_max: usize) -> Vec<Choice> {
    let pending = point.pending_count();
    let mut choices = vec![Choice::ProcessDeath];
    choices.extend([CrashChoice::Nothing, CrashChoice::Everything].map(Choice::PowerCut));
    let mut more: Vec<CrashChoice> = point.choices(dice.next_u64(), usize::MAX).into_iter().skip(2).collect();
    if pending <= subsets_of_max {
        more.extend((1..1_u64 << pending).map(|bits| CrashChoice::Subset(vec![bits])));
    }
    while choices.len() < count_max && !more.is_empty() {
        choices.push(Choice::PowerCut(more.swap_remove(dice.below(more.len() as u64) as usize)));
    }
    choices
}
