//! Some volumes counted together: what they share among themselves counts once.

/// What some volumes hold together, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupCensus {
    /// Blocks with data, as the readers of each see them.
    pub mapped_bytes: u64,
    /// The same without blocks that the group holds more than once.
    pub distinct_bytes: u64,
    /// What these take in segments, compressed.
    pub stored_bytes: u64,
    /// The part of `stored_bytes` that nobody outside the group holds.
    pub unique_bytes: u64,
}

/// Which roots belong to the group.
pub(super) struct Members {
    /// By root: how many before it do.
    before: Vec<u32>,
}

impl Members {
    pub(super) fn new(roots: u32, members: impl Iterator<Item = u32>) -> Self {
        let mut before = vec![0; roots as usize + 1];
        members.for_each(|root| before[root as usize + 1] = 1);
        for root in 1..before.len() {
            before[root] += before[root - 1];
        }
        Self { before }
    }

    /// How many of the roots from the first to before the second number belong to the group.
    fn count(&self, (first, end): (u32, u32)) -> u32 {
        self.before[end as usize] - self.before[first as usize]
    }

    /// Adds what roots hold together that are in these intervals.
    pub(super) fn add(
        &self,
        group: &mut GroupCensus,
        intervals: impl Iterator<Item = (u32, u32)>,
        distinct_bytes: u64,
        stored_bytes: u64,
    ) {
        let (mut inside, mut all) = (0, 0);
        for interval in intervals {
            inside += self.count(interval);
            all += interval.1 - interval.0;
        }
        if inside > 0 {
            group.distinct_bytes += distinct_bytes;
            group.stored_bytes += stored_bytes;
        }
        if inside > 0 && inside == all {
            group.unique_bytes += stored_bytes;
        }
    }
}
