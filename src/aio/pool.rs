//! Threads that run what blocks.
//!
//! Invariants: every future of a pool is woken in the end, also if its job panics; nobody waits for a thread while fewer than
//! [`THREADS_MAX`] run; the threads end when the last handle is gone and nothing is left to run.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::{Cause, Result};

/// Threads of one store at most: as many operations are under way at once, and others wait.
pub const THREADS_MAX: usize = 16;

/// A thread without work goes after so long.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// A handle of a pool. Clones are the same pool.
#[derive(Clone)]
pub(super) struct Pool(Arc<Handle>);

struct Handle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closing: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.state.lock().closing = true;
        self.0.work.notify_all();
    }
}

impl Pool {
    pub(super) fn new() -> Self {
        Self(Arc::new(Handle(Arc::default())))
    }

    /// Runs `job` on a thread, unless the future is dropped before.
    pub(super) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> Result<T> + Send + 'static) -> Answer<T> {
        let slot = Arc::new(Mutex::new(Slot { outcome: None, waker: None }));
        let promise = Promise(Arc::clone(&slot));
        let begin = move || {
            // Only the promise is left: nobody waits for it any more.
            if Arc::strong_count(&promise.0) > 1 {
                let outcome = job();
                promise.keep(outcome);
            }
        };
        self.push(Box::new(begin));
        Answer { slot, _pool: self.clone() }
    }

    /// A job that finds no thread is dropped, which breaks its promise.
    fn push(&self, job: Job) {
        let shared = &self.0.0;
        let mut state = shared.state.lock();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            shared.work.notify_one();
        } else if state.threads < THREADS_MAX {
            match start(shared) {
                Ok(()) => state.threads += 1,
                Err(_) if state.threads > 0 => {}
                Err(_) => drop(state.jobs.pop_back()),
            }
        }
    }
}

fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    let work = move || {
        let _leaving = Leaving(&shared);
        while let Some(job) = shared.next() {
            job();
        }
    };
    std::thread::Builder::new().name("siltstone-aio".into()).spawn(work).map(drop)
}

/// A thread's place among those that run; also left by a panic.
struct Leaving<'s>(&'s Arc<Shared>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.threads -= 1;
        // After a panic others' jobs may wait for this thread.
        if !state.jobs.is_empty() && state.threads < THREADS_MAX && start(self.0).is_ok() {
            state.threads += 1;
        }
    }
}

impl Shared {
    /// The next job; `None` if there was none for long, or there will be none.
    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closing {
                return None;
            }
            state.idle += 1;
            let waited = self.work.wait_for(&mut state, IDLE);
            state.idle -= 1;
            if waited.timed_out() && state.jobs.is_empty() {
                return None;
            }
        }
    }
}

struct Slot<T> {
    outcome: Option<Result<T>>,
    waker: Option<Waker>,
}

/// What a job owes; broken if it is dropped.
struct Promise<T>(Arc<Mutex<Slot<T>>>);

impl<T> Promise<T> {
    fn keep(&self, outcome: Result<T>) {
        let waker = {
            let mut slot = self.0.lock();
            slot.outcome.get_or_insert(outcome);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.keep(Err(Cause::NotRun.into()));
    }
}

/// A job's outcome, once it is there.
pub(super) struct Answer<T> {
    slot: Arc<Mutex<Slot<T>>>,
    /// The threads stay as long as somebody waits.
    _pool: Pool,
}

impl<T> Future for Answer<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let mut slot = self.slot.lock();
        match slot.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests;
