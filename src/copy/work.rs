//! What a copy has to compare, and the threads that do it.
//!
//! A copy waits more than it computes: for a daemon that says what a block is, for the disks of both sides. So several ranges are
//! under way at once. Ranges do not overlap, and what is copied is complete only when all are: their order does not matter.

use std::iter::Peekable;
use std::ops::Range;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use blockdev::lsm_store::store::STORED_BLOCKS_MAX;

use super::{BLOCK, Copied, Copy};
use crate::backend::FINGERPRINTS_MAX;
use crate::error::{Cause, Error, Result};
use crate::progress::{self, Watch};
use crate::snapshot::Snapshot;
use crate::volume::Volume;

/// As many as a daemon is asked by at a time without a new connection for each question.
const THREADS: usize = 4;

/// A volume is compared in so many ranges at most, since each costs a question or two even if it is a hole.
const RANGES_MAX: u64 = 1024;
/// Ranges are no shorter than what a flush job takes, so that what lies side by side is stored so.
const RANGE_BYTES_MIN: u64 = 64 << 20;

/// As many short ranges are done together at most: their answers need not be waited for one by one.
const TOGETHER_MAX: usize = 256;

type Ranges<'a> = Box<dyn Iterator<Item = Result<Range<u64>>> + Send + 'a>;

/// All ranges of a volume.
pub(super) fn ranges_of(size_bytes: u64) -> impl Iterator<Item = Result<Range<u64>>> {
    let len = size_bytes.div_ceil(RANGES_MAX).next_multiple_of(RANGE_BYTES_MIN);
    (0..size_bytes.div_ceil(len)).map(move |index| Ok(index * len..((index + 1) * len).min(size_bytes)))
}

pub(super) struct Work<'a> {
    pub(super) source: &'a Snapshot,
    pub(super) target: &'a Volume,
    ranges: Mutex<Peekable<Ranges<'a>>>,
    /// True from the first failure on.
    is_over: AtomicBool,
    failure: Mutex<Option<Error>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        source: &'a Snapshot,
        target: &'a Volume,
        ranges: impl Iterator<Item = Result<Range<u64>>> + Send + 'a,
    ) -> Self {
        let ranges = Mutex::new((Box::new(ranges) as Ranges<'a>).peekable());
        Self { source, target, ranges, is_over: AtomicBool::new(false), failure: Mutex::new(None) }
    }

    /// Has all of it done, and tells `watch` how far it has come.
    pub(super) fn run(self, watch: Watch<'_>) -> Result<Copied> {
        let size_bytes = self.source.size_bytes();
        let copied = thread::scope(|scope| {
            let (teller, told) = mpsc::sync_channel(0);
            let start = |_| {
                let copy = Copy::new(&self, teller.clone());
                thread::Builder::new().name("silt-copy".to_owned()).spawn_scoped(scope, || copy.run())
            };
            let mut threads = Vec::new();
            for started in (0..THREADS).map(start) {
                match started {
                    Ok(thread) => threads.push(thread),
                    Err(error) => self.fail(Cause::Thread(error).into()),
                }
            }
            drop(teller);
            let mut furthest = 0;
            for at in told {
                furthest = at.max(furthest);
                if !self.is_over()
                    && let Err(cancelled) = progress::tell(watch, furthest, Some(size_bytes))
                {
                    self.fail(cancelled.into());
                }
            }
            threads.into_iter().map(joined).fold(Copied::default(), Copied::plus)
        });
        match self.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(copied),
        }
    }

    /// What to compare next: a range of any length, or several that together are about as long as what is brought at once.
    pub(super) fn next(&self) -> Option<Result<Vec<Range<u64>>>> {
        if self.is_over() {
            return None;
        }
        next_of(&mut self.ranges.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends it for all threads. The first failure is what the caller hears.
    pub(super) fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.is_over.store(true, Ordering::Release);
    }

    /// Says how far one thread is; an error if it need not go on.
    pub(super) fn tell(&self, teller: &SyncSender<u64>, at: u64) -> Result<()> {
        // Who hears it goes after all who tell.
        let _ = teller.send(at);
        if self.is_over() { Err(Cause::Cancelled.into()) } else { Ok(()) }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

fn next_of(ranges: &mut Peekable<Ranges<'_>>) -> Option<Result<Vec<Range<u64>>>> {
    let first = match ranges.next()? {
        Ok(first) => first,
        Err(error) => return Some(Err(error)),
    };
    let mut blocks = block_count(&first);
    let mut together = vec![first];
    let fits = |next: &Result<Range<u64>>, blocks: u64| {
        next.as_ref().is_ok_and(|next| blocks + block_count(next) <= FINGERPRINTS_MAX)
    };
    while together.len() < TOGETHER_MAX
        && blocks < STORED_BLOCKS_MAX as u64
        && let Some(Ok(next)) = ranges.next_if(|next| fits(next, blocks))
    {
        blocks += block_count(&next);
        together.push(next);
    }
    Some(Ok(together))
}

fn block_count(range: &Range<u64>) -> u64 {
    range.end.div_ceil(BLOCK) - range.start / BLOCK
}

fn joined(thread: ScopedJoinHandle<'_, Copied>) -> Copied {
    thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
}

#[cfg(test)]
mod tests;
