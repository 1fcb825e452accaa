//! Sums by root, taken over intervals of roots: what many roots share is added once and not for each of them.

use super::VolumeCensus;
use super::group::Members;

/// A number for each root.
pub(super) struct Sums {
    /// How much each differs from the one before.
    steps: Vec<i64>,
}

impl Sums {
    fn new(roots: u32) -> Self {
        Self { steps: vec![0; roots as usize + 1] }
    }

    /// Adds to all roots from the first to before the second number.
    pub(super) fn add(&mut self, (first, end): (u32, u32), bytes: u64) {
        self.steps[first as usize] += bytes as i64;
        self.steps[end as usize] -= bytes as i64;
    }

    fn values(&self) -> impl Iterator<Item = u64> {
        self.steps.iter().scan(0, |sum, step| {
            *sum += step;
            Some(*sum as u64)
        })
    }
}

/// What is known of each root so far.
pub(super) struct Tally {
    pub(super) mapped: Sums,
    pub(super) distinct: Sums,
    pub(super) stored: Sums,
    /// What each holds alone, and what its removal gives back.
    pub(super) unique: Vec<u64>,
    pub(super) frees: Vec<u64>,
    /// Those that are also counted together.
    pub(super) members: Members,
}

impl Tally {
    pub(super) fn new(roots: u32, members: Members) -> Self {
        let sums = || Sums::new(roots);
        let zeros = || vec![0; roots as usize];
        Self { mapped: sums(), distinct: sums(), stored: sums(), unique: zeros(), frees: zeros(), members }
    }

    /// By the number of the root.
    pub(super) fn finish(&self) -> Vec<VolumeCensus> {
        let sums = self.mapped.values().zip(self.distinct.values()).zip(self.stored.values());
        let own = self.unique.iter().zip(&self.frees);
        sums.zip(own)
            .map(|(((mapped_bytes, distinct_bytes), stored_bytes), (&unique_bytes, &frees_bytes))| VolumeCensus {
                mapped_bytes,
                distinct_bytes,
                stored_bytes,
                unique_bytes,
                shared_bytes: stored_bytes - unique_bytes,
                frees_bytes,
            })
            .collect()
    }
}
