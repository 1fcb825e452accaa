//! The history of a simulated disk, from which the disk at any earlier moment can be made again.

use super::crash::{CrashChoice, CrashPoint};
use super::disk::{Disk, Operation};
use super::{SimDevice, SimOptions};

/// A disk and everything that was done to it since. Reads are not part of it.
#[derive(Clone)]
pub struct Recording {
    pub(super) start: Disk,
    pub(super) log: Vec<Operation>,
    pub(super) options: SimOptions,
}

impl Recording {
    /// Number of operations in the log.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// The moment after the first `count` operations. Costs the replay of them: use [`Recording::walk`] to visit many.
    ///
    /// # Panics
    /// If the log is shorter.
    #[must_use]
    pub fn at(&self, count: usize) -> CrashPoint {
        let mut disk = self.start.clone();
        self.log[..count].iter().for_each(|operation| disk.apply(operation));
        self.point(disk)
    }

    /// What a power cut after the first `count` operations can leave; see [`CrashPoint::choices`].
    ///
    /// # Panics
    /// If the log is shorter.
    pub fn states_at(&self, count: usize, seed: u64, at_most: usize) -> impl Iterator<Item = (CrashChoice, SimDevice)> {
        self.at(count).images(seed, at_most)
    }

    /// Every moment from the start to the end of the log, with the number of operations before it.
    pub fn walk(&self) -> impl Iterator<Item = (usize, CrashPoint)> {
        let mut disk = self.start.clone();
        (0..=self.log.len()).map(move |count| {
            if let Some(done) = count.checked_sub(1) {
                disk.apply(&self.log[done]);
            }
            (count, self.point(disk.clone()))
        })
    }

    /// The last note (see [`SimDevice::note`]) among the first `count` operations.
    ///
    /// # Panics
    /// If the log is shorter.
    #[must_use]
    pub fn last_note(&self, count: usize) -> Option<u64> {
        self.log[..count].iter().rev().find_map(|operation| match operation {
            Operation::Note(note) => Some(*note),
            _ => None,
        })
    }

    /// Operation `index` in words, for a failing test to print.
    ///
    /// # Panics
    /// If the log is shorter.
    #[must_use]
    pub fn describe(&self, index: usize) -> String {
        match &self.log[index] {
            Operation::Write { file, offset, data } => format!("write {file:?} at {offset}, {} bytes", data.len()),
            Operation::Misdirected { file, offset, data } => {
                format!("misdirected write to {file:?} at {offset}, {} bytes", data.len())
            }
            other => format!("{other:?}"),
        }
    }

    fn point(&self, disk: Disk) -> CrashPoint {
        CrashPoint::new(disk, self.options.clone())
    }
}
