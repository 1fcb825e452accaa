//! Threads for work that may wait for other nodes: as many as are at work, and a few idle ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Threads at most, where nobody says how many; beyond that work waits.
const THREADS_MAX: usize = 256;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    idle: usize,
    threads: usize,
    is_stopped: bool,
}

/// Threads for work that blocks.
pub(super) struct Workers {
    threads_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Default for Workers {
    fn default() -> Self {
        Self::with_threads(THREADS_MAX)
    }
}

/// Counts a thread that ends by a panic.
struct Left(Option<Arc<Workers>>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(workers) = &self.0 {
            workers.state.lock().threads -= 1;
            workers.changed.notify_all();
        }
    }
}

impl Workers {
    /// So many threads at most.
    pub(super) fn with_threads(threads_max: usize) -> Self {
        Self { threads_max, state: Mutex::default(), changed: Condvar::default() }
    }

    /// Has a thread do something. What comes after the end is dropped.
    pub(super) fn run(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock();
        if state.is_stopped {
            return;
        }
        state.work.push_back(Box::new(work));
        if state.idle >= state.work.len() || state.threads >= self.threads_max {
            self.changed.notify_one();
            return;
        }
        state.threads += 1;
        let workers = Arc::clone(self);
        let spawned = thread::Builder::new().name("cluster-work".into()).spawn(move || workers.work());
        if let Err(error) = spawned {
            state.threads -= 1;
            tracing::warn!(%error, "a thread for other nodes' requests cannot be had: they wait");
        }
    }

    /// Ends the threads that are idle, and the others once they are.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.is_stopped = true;
        state.work.clear();
        self.changed.notify_all();
    }

    /// Waits until no thread is left.
    pub(super) fn wait_ended(&self, timeout: Duration) {
        let mut state = self.state.lock();
        self.changed.wait_while_for(&mut state, |state| state.threads > 0, timeout);
    }

    fn work(self: &Arc<Self>) {
        let mut left = Left(Some(Arc::clone(self)));
        while let Some(work) = self.next() {
            work();
        }
        // Counted already.
        left.0 = None;
    }

    fn next(&self) -> Option<Work> {
        let mut state = self.state.lock();
        loop {
            if let Some(work) = state.work.pop_front() {
                return Some(work);
            }
            state.idle += 1;
            let timed_out = !state.is_stopped && self.changed.wait_for(&mut state, IDLE).timed_out();
            state.idle -= 1;
            if state.work.is_empty() && (timed_out || state.is_stopped) {
                state.threads -= 1;
                self.changed.notify_all();
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
