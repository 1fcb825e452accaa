//! Requests of clients that a replica has not answered yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use net::replication::{Outcome, RequestId};
use parking_lot::{Condvar, Mutex};

/// Requests under way.
#[derive(Default)]
pub struct Calls {
    next: AtomicU64,
    waiting: Mutex<HashMap<RequestId, Arc<Call>>>,
    /// Requests are accepted again.
    admitting: Condvar,
}

struct Progress {
    left: usize,
    /// The worst that any of the requests came to.
    outcome: Outcome,
    tell: Option<Ended>,
}

/// Told that all requests of a call have ended. It is called by the replica's thread and must not block.
pub type Ended = Box<dyn FnOnce() + Send>;

/// Some requests that one client waits for.
pub struct Call {
    progress: Mutex<Progress>,
    ended: Condvar,
}

impl Calls {
    /// Notes requests that are about to be made, and whom to tell when they have ended.
    pub fn begin(&self, count: usize, tell: Option<Ended>) -> (Vec<RequestId>, Arc<Call>) {
        let first = self.next.fetch_add(count as u64, Ordering::Relaxed);
        let requests: Vec<_> = (first..first + count as u64).map(RequestId).collect();
        let progress = Mutex::new(Progress { left: count, outcome: Outcome::Done, tell });
        let call = Arc::new(Call { progress, ended: Condvar::new() });
        let mut waiting = self.waiting.lock();
        waiting.extend(requests.iter().map(|request| (*request, Arc::clone(&call))));
        drop(waiting);
        (requests, call)
    }

    /// A request has ended.
    pub fn end(&self, request: RequestId, outcome: Outcome) {
        let call = self.waiting.lock().remove(&request);
        call.iter().for_each(|call| call.end(outcome));
    }

    /// Requests were not made after all.
    pub fn forget(&self, requests: &[RequestId]) {
        let mut waiting = self.waiting.lock();
        requests.iter().for_each(|request| drop(waiting.remove(request)));
    }

    /// All requests have ended, nobody knows how.
    pub fn end_all(&self) {
        let all = std::mem::take(&mut *self.waiting.lock());
        all.values().for_each(|call| call.end(Outcome::Unknown));
    }

    /// Requests are accepted again.
    pub fn admit(&self) {
        self.admitting.notify_all();
    }

    /// Waits until requests are accepted again, or for a while.
    pub fn wait_admitted(&self, timeout: Duration) {
        self.admitting.wait_for(&mut self.waiting.lock(), timeout);
    }
}

impl Call {
    fn end(&self, outcome: Outcome) {
        let mut progress = self.progress.lock();
        progress.left -= 1;
        progress.outcome = worse(progress.outcome, outcome);
        if progress.left > 0 {
            return;
        }
        self.ended.notify_all();
        let tell = progress.tell.take();
        drop(progress);
        if let Some(tell) = tell {
            tell();
        }
    }

    /// As [`Self::wait`], but for so long at most: then the outcome is unknown.
    pub fn wait_for(&self, timeout: Duration) -> Outcome {
        let mut progress = self.progress.lock();
        self.ended.wait_while_for(&mut progress, |progress| progress.left > 0, timeout);
        if progress.left > 0 { Outcome::Unknown } else { progress.outcome }
    }

    /// What the worst of the requests came to, once all have ended.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        let progress = self.progress.lock();
        (progress.left == 0).then_some(progress.outcome)
    }

    /// Waits for all of the requests, and says what the worst of them came to.
    pub fn wait(&self) -> Outcome {
        let mut progress = self.progress.lock();
        self.ended.wait_while(&mut progress, |progress| progress.left > 0);
        progress.outcome
    }
}

/// Of two outcomes that which says less.
fn worse(one: Outcome, other: Outcome) -> Outcome {
    match (one, other) {
        (Outcome::Unknown, _) | (_, Outcome::Unknown) => Outcome::Unknown,
        (Outcome::Done, other) => other,
        (refused, _) => refused,
    }
}
