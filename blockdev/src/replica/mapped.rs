//! How much a replicated volume maps behind all that its log has, known as well as a quota needs it.
//!
//! What is known is a count of the store's content, and what records have done since: exactly, where that was looked up in time
//! ([`super::quota`]), else what they may have mapped at most. So it is never too little.

use lsm_store::id::BLOCK_BYTES;

use super::operation::Operation;

/// What a record does to the bytes that its volume maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Growth {
    /// So many more at most.
    pub bytes: i64,
    /// It may be less.
    pub is_vague: bool,
    /// Whatever was mapped before: the volume holds something else afterwards.
    pub is_reset: bool,
}

impl Growth {
    /// What is known without looking anything up.
    #[must_use]
    pub fn bound(operations: &[Operation]) -> Self {
        let mut growth = Self::default();
        for operation in operations {
            match operation {
                Operation::Write { .. } | Operation::WriteBlocks { .. } => {
                    growth.bytes = growth.bytes.saturating_add(blocks_touched(operation.range()));
                    growth.is_vague = true;
                }
                Operation::Zero { .. } | Operation::Resize { .. } => growth.is_vague = true,
                Operation::RollBack { .. } => growth.is_reset = true,
                _ => {}
            }
        }
        growth
    }
}

/// The bytes of the blocks that lie in a range, if only in part.
fn blocks_touched((first, end): (u64, u64)) -> i64 {
    let block = BLOCK_BYTES as u64;
    (end.div_ceil(block).saturating_sub(first / block) * block) as i64
}

/// What a volume maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Mapped {
    /// What the store's content maps at most; `None` if it has still to be counted.
    stored: Option<i64>,
    /// That may be less.
    is_vague: bool,
    /// What records do that the store has not.
    behind: i64,
    /// How many of them are vague, and how many change everything.
    vague: usize,
    resets: usize,
    /// The map could not be read: it is not tried again.
    is_uncountable: bool,
}

impl Mapped {
    /// A record comes behind all others.
    pub(super) fn push(&mut self, growth: Growth) {
        self.behind = self.behind.saturating_add(growth.bytes);
        self.vague += usize::from(growth.is_vague);
        self.resets += usize::from(growth.is_reset);
    }

    /// A record is gone.
    pub(super) fn remove(&mut self, growth: Growth) {
        self.behind = self.behind.saturating_sub(growth.bytes);
        self.vague -= usize::from(growth.is_vague);
        self.resets -= usize::from(growth.is_reset);
    }

    /// The store has got a record.
    pub(super) fn apply(&mut self, growth: Growth) {
        self.remove(growth);
        self.stored = match self.stored {
            Some(stored) if !growth.is_reset => Some(stored.saturating_add(growth.bytes)),
            _ => None,
        };
        self.is_vague |= growth.is_vague;
    }

    /// The store's content maps so much.
    pub(super) fn count(&mut self, bytes: u64) {
        (self.stored, self.is_vague) = (Some(bytes as i64), false);
    }

    /// The store's content cannot be counted.
    pub(super) fn give_up_counting(&mut self) {
        self.is_uncountable = true;
    }

    /// True if it is of no use to count.
    pub(super) fn is_uncountable(&self) -> bool {
        self.is_uncountable
    }

    /// What is mapped at most; `None` if that is not known.
    pub(super) fn most(&self) -> Option<i64> {
        self.stored.filter(|_| self.resets == 0).map(|stored| stored.saturating_add(self.behind))
    }

    /// True if it is not less than [`Self::most`].
    pub(super) fn is_exact(&self) -> bool {
        self.most().is_some() && !self.is_vague && self.vague == 0
    }
}

#[cfg(test)]
mod tests;
