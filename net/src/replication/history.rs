//! Which epoch wrote which part of a log. Two logs agree up to the newest epoch that both know, and there as far as the
//! shorter of them goes: in one epoch one primary writes, and it gives no LSN twice.

use super::id::{Epoch, Lsn};

/// Epochs that are remembered; logs that part further back are compared block by block.
const EPOCHS_MAX: usize = 256;

/// A record's place: its LSN and the epoch that wrote it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position {
    /// The epoch that wrote it. First, so that positions compare by epoch, then by LSN.
    pub epoch: Epoch,
    /// Its LSN.
    pub lsn: Lsn,
}

/// The epochs of a log, and where it ends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// Each epoch with the first LSN it wrote, ascending in both.
    starts: Vec<(Epoch, Lsn)>,
    end: Lsn,
}

impl History {
    /// A history of these epochs, each with its first LSN, of a log that ends at `end`; `None` if it cannot be one.
    #[must_use]
    pub fn new(starts: Vec<(Epoch, Lsn)>, end: Lsn) -> Option<Self> {
        let ascends = starts.is_sorted_by(|(a, at), (b, then)| a < b && at < then) && starts.len() <= EPOCHS_MAX;
        let begins = starts.first().is_none_or(|(epoch, first)| *epoch > Epoch(0) && *first > Lsn(0));
        let within = starts.last().is_none_or(|(_, first)| *first <= end) && (end == Lsn(0)) == starts.is_empty();
        (ascends && begins && within).then_some(Self { starts, end })
    }

    /// Each epoch with the first LSN it wrote.
    #[must_use]
    pub fn starts(&self) -> &[(Epoch, Lsn)] {
        &self.starts
    }

    /// The last record's place.
    #[must_use]
    pub fn end(&self) -> Position {
        Position { epoch: self.starts.last().map_or(Epoch(0), |(epoch, _)| *epoch), lsn: self.end }
    }

    /// The epoch that wrote `lsn`; `None` if it is not in the log or before what is remembered.
    #[must_use]
    pub fn epoch_of(&self, lsn: Lsn) -> Option<Epoch> {
        if lsn == Lsn(0) {
            return Some(Epoch(0));
        }
        if lsn > self.end {
            return None;
        }
        let after = self.starts.partition_point(|(_, first)| *first <= lsn);
        after.checked_sub(1).map(|index| self.starts[index].0)
    }

    /// True if `lsn` is in the log, or the beginning, and it is remembered who wrote that and everything behind it.
    #[must_use]
    pub fn reaches_from(&self, lsn: Lsn) -> bool {
        let is_whole = self.starts.first().is_none_or(|(_, first)| *first == Lsn(1));
        self.epoch_of(lsn).is_some() && (lsn > Lsn(0) || is_whole)
    }

    /// True if the record at this place is in the log.
    #[must_use]
    pub fn has(&self, position: Position) -> bool {
        self.epoch_of(position.lsn) == Some(position.epoch)
    }

    /// Adds `count` records of `epoch`.
    pub fn extend(&mut self, epoch: Epoch, count: u64) {
        if count == 0 {
            return;
        }
        if self.starts.last().is_none_or(|(last, _)| *last < epoch) {
            self.starts.push((epoch, self.end.next()));
            if self.starts.len() > EPOCHS_MAX {
                self.starts.remove(0);
            }
        }
        self.end.0 += count;
    }

    /// Forgets every record beyond `lsn`.
    pub fn truncate(&mut self, lsn: Lsn) {
        self.end = self.end.min(lsn);
        let kept = self.starts.partition_point(|(_, first)| *first <= self.end);
        self.starts.truncate(kept);
    }

    /// The last place that both logs have; the beginning if none is known.
    #[must_use]
    pub fn shared_with(&self, other: &Self) -> Position {
        let common = other.spans().rev().find_map(|(epoch, first, last)| {
            let (_, _, ours) = self.spans().find(|(own, from, _)| *own == epoch && *from == first)?;
            Some(Position { epoch, lsn: last.min(ours) })
        });
        common.unwrap_or_default()
    }

    /// Epochs with their first and last LSN.
    fn spans(&self) -> impl DoubleEndedIterator<Item = (Epoch, Lsn, Lsn)> + '_ {
        self.starts.iter().enumerate().map(|(index, (epoch, first))| {
            let last = self.starts.get(index + 1).map_or(self.end, |(_, next)| Lsn(next.0 - 1));
            (*epoch, *first, last)
        })
    }
}

#[cfg(test)]
mod tests;
