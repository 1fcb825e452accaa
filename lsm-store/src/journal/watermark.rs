//! How far a contiguous prefix of the journal has got, when its pieces finish in any order.

use std::collections::BTreeMap;

use parking_lot::{Condvar, Mutex};

use crate::id::Sequence;

/// Everything up to the watermark is done. Pieces are reported done in any order; waiters wake in sequence order.
#[derive(Debug)]
pub(crate) struct Watermark {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug)]
struct State {
    reached: Sequence,
    /// Done pieces beyond a gap: first sequence -> last.
    beyond: BTreeMap<Sequence, Sequence>,
    failed: bool,
}

impl Watermark {
    /// A watermark that stands at `reached`.
    pub(crate) fn new(reached: Sequence) -> Self {
        let state = State { reached, beyond: BTreeMap::new(), failed: false };
        Self { state: Mutex::new(state), moved: Condvar::new() }
    }

    /// The last sequence of the contiguous done prefix.
    pub(crate) fn reached(&self) -> Sequence {
        self.state.lock().reached
    }

    /// Reports `first..=last` done and waits until everything before it is too. `false` if the journal failed.
    #[must_use]
    pub(crate) fn complete_and_wait(&self, first: Sequence, last: Sequence) -> bool {
        let mut state = self.state.lock();
        if first.0 == state.reached.0 + 1 {
            state.reached = last;
            while let Some((next, end)) = state.beyond.first_key_value().map(|(first, last)| (*first, *last))
                && next.0 == state.reached.0 + 1
            {
                state.beyond.remove(&next);
                state.reached = end;
            }
            self.moved.notify_all();
            return !state.failed;
        }
        state.beyond.insert(first, last);
        while state.reached < last && !state.failed {
            self.moved.wait(&mut state);
        }
        state.reached >= last
    }

    /// Waits until everything up to `sequence` is done. `false` if the journal failed.
    #[must_use]
    pub(crate) fn wait(&self, sequence: Sequence) -> bool {
        let mut state = self.state.lock();
        while state.reached < sequence && !state.failed {
            self.moved.wait(&mut state);
        }
        state.reached >= sequence
    }

    /// Wakes every waiter: nothing will complete any more.
    pub(crate) fn fail(&self) {
        self.state.lock().failed = true;
        self.moved.notify_all();
    }
}

#[cfg(test)]
impl Watermark {
    /// True if a piece beyond a gap waits for the gap to close.
    pub(super) fn has_waiting(&self) -> bool {
        !self.state.lock().beyond.is_empty()
    }
}
