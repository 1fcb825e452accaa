//! Iterators for async code.

use std::collections::VecDeque;
use std::iter::Fuse;
use std::sync::Arc;

use parking_lot::Mutex;

use super::pool::Pool;
use crate::error::Result;

/// Items that are fetched together, where they are small.
pub(super) const BATCH: usize = 1024;

/// The items of an iterator that blocks.
pub struct Items<T> {
    shared: Arc<Mutex<Source<T>>>,
    pool: Pool,
}

/// What makes the iterator, on a thread of the pool.
type Maker<T> = Box<dyn FnOnce() -> Result<Box<dyn Iterator<Item = Result<T>> + Send>> + Send>;

enum State<T> {
    New(Maker<T>),
    Open(Fuse<Box<dyn Iterator<Item = Result<T>> + Send>>),
    Ended,
}

struct Source<T> {
    state: State<T>,
    ready: VecDeque<Result<T>>,
    /// Items that are fetched together.
    batch: usize,
}

impl<T: Send + 'static> Items<T> {
    pub(super) fn new<I>(pool: &Pool, batch: usize, maker: impl FnOnce() -> Result<I> + Send + 'static) -> Self
    where
        I: Iterator<Item = Result<T>> + Send + 'static,
    {
        let maker: Maker<T> = Box::new(|| Ok(Box::new(maker()?)));
        let source = Source { state: State::New(maker), ready: VecDeque::new(), batch };
        Self { shared: Arc::new(Mutex::new(source)), pool: pool.clone() }
    }

    /// The next item. An error is the last one. Dropping the future loses none.
    pub async fn next(&mut self) -> Option<Result<T>> {
        loop {
            // Whoever is at it is an earlier call that was dropped; what it fetches is for this one.
            if let Some(mut source) = self.shared.try_lock() {
                if let Some(item) = source.ready.pop_front() {
                    return Some(item);
                }
                if matches!(source.state, State::Ended) {
                    return None;
                }
            }
            let shared = Arc::clone(&self.shared);
            let fetched = self.pool.run(move || {
                shared.lock().fetch();
                Ok(())
            });
            if let Err(error) = fetched.await {
                return Some(Err(error));
            }
        }
    }
}

impl<T> Source<T> {
    fn fetch(&mut self) {
        if !self.ready.is_empty() {
            return;
        }
        let mut items = match std::mem::replace(&mut self.state, State::Ended) {
            State::New(maker) => match maker() {
                Ok(items) => items.fuse(),
                Err(error) => return self.ready.push_back(Err(error)),
            },
            State::Open(items) => items,
            State::Ended => return,
        };
        for item in items.by_ref().take(self.batch) {
            let is_last = item.is_err();
            self.ready.push_back(item);
            if is_last {
                return;
            }
        }
        if self.ready.len() == self.batch {
            self.state = State::Open(items);
        }
    }
}
