//! What a log says: the value that its frames change, and that every file begins with.
//!
//! Frames of a disk may contradict it; those of the log's owner never do.

use net::id::{Epoch, Lsn};
use net::replication::{History, Standing};

/// LSNs are below this, so that they can be counted on without overflow.
pub(super) const LSN_END: u64 = 1 << 62;

/// What a frame changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Adds records, by the epochs of adjacent ones and their count.
    Records { first: Lsn, runs: Vec<(Epoch, u64)> },
    /// Forgets what is beyond.
    Truncate { beyond: Lsn },
    /// Replaces the standing.
    Note(Standing),
    /// The content below has everything up to here.
    Checkpoint { floor: Lsn },
    /// The content below is being replaced.
    Tear,
}

/// What a log says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) history: History,
    /// The content below has everything up to here. At most the end of the history.
    pub(super) floor: Lsn,
    /// As noted last.
    pub(super) standing: Standing,
    /// The content below is being replaced.
    pub(super) is_torn: bool,
    /// Something that was handed to the kernel may be gone, and no standing was noted since.
    pub(super) is_doubted: bool,
}

impl State {
    pub(super) fn new(standing: Standing) -> Self {
        Self { history: History::default(), floor: Lsn(0), standing, is_torn: false, is_doubted: false }
    }

    /// The last record's LSN.
    pub(super) fn end(&self) -> Lsn {
        self.history.end().lsn
    }

    /// Carries out a change, or says why it cannot be one of this log.
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), &'static str> {
        match change {
            Change::Records { first, runs } => return self.extend(*first, runs),
            Change::Truncate { beyond } if *beyond < self.floor || *beyond > self.end() => {
                return Err("a truncation below the floor or beyond the end");
            }
            Change::Truncate { beyond } => self.history.truncate(*beyond),
            Change::Note(standing) => (self.standing, self.is_doubted) = (*standing, false),
            Change::Checkpoint { floor } if *floor < self.floor || *floor > self.end() => {
                return Err("a floor that sinks or is beyond the end");
            }
            Change::Checkpoint { floor } => self.floor = *floor,
            Change::Tear => self.is_torn = true,
        }
        Ok(())
    }

    fn extend(&mut self, first: Lsn, runs: &[(Epoch, u64)]) -> Result<(), &'static str> {
        if first != self.end().next() {
            return Err("records that do not follow");
        }
        for (epoch, count) in runs {
            if *epoch == Epoch(0) || *epoch < self.history.end().epoch {
                return Err("a record of an older epoch");
            }
            if *count >= LSN_END - self.end().0 {
                return Err("more records than there can be");
            }
            self.history.extend(*epoch, *count);
        }
        Ok(())
    }

    /// True if `other`, which the next file begins with, is what this one ends with.
    pub(super) fn goes_on_with(&self, other: &Self) -> bool {
        *other == Self { is_doubted: other.is_doubted, ..self.clone() }
    }
}
