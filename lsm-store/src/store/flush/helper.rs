//! A second thread for what takes long to compress.
//!
//! The job takes groups from the front of a batch and appends each as it goes; the helper takes them from the back. Where they
//! meet the job waits for the one that the helper is at, and has the rest compressed. So nobody waits while there is work, and
//! a helper that gets no processor costs a thread's start. What is written, and in which order, does not depend on it. It takes
//! up to 4 MiB: a compressor, and what it has compressed of a batch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope};

use super::batch::Batch;
use crate::codec::{Compressor, Encoding, Stored};

/// Batches with fewer groups than this are not worth a second thread.
const GROUPS_MIN: usize = 4;

/// What a group was compressed to.
struct Compressed {
    encoding: Encoding,
    bytes: Box<[u8]>,
}

impl Compressed {
    fn new(stored: Stored<'_>) -> Self {
        Self { encoding: stored.encoding, bytes: stored.bytes.into() }
    }

    fn stored(&self) -> Stored<'_> {
        Stored { encoding: self.encoding, bytes: &self.bytes }
    }
}

/// The helper of a flush job, if it has one.
pub(super) struct Help<'scope, 'env, 'e> {
    /// Where its thread can be started; `None` if it is there, cannot be, or must not.
    scope: Option<&'scope Scope<'scope, 'env>>,
    helper: Option<Helper<'e>>,
}

struct Helper<'e> {
    batches: Sender<Arc<Batch<'e>>>,
    compressed: Receiver<Option<Compressed>>,
}

impl<'scope, 'env, 'e: 'scope> Help<'scope, 'env, 'e> {
    /// Without a scope the job is alone.
    pub(super) fn new(scope: Option<&'scope Scope<'scope, 'env>>) -> Self {
        Self { scope, helper: None }
    }

    /// Begins with a batch. The one before has come to its end.
    pub(super) fn begin(&mut self, batch: Batch<'e>) -> Shared<'_, 'e> {
        let batch = Arc::new(batch);
        let helper = if batch.slow_groups(0) >= GROUPS_MIN { self.helper() } else { None };
        if let Some(helper) = helper {
            helper.batches.send(Arc::clone(&batch)).expect("the helper takes batches until there are no more");
        }
        Shared { helper, batch, done: VecDeque::new(), current: None }
    }

    fn helper(&mut self) -> Option<&Helper<'e>> {
        if let Some(scope) = self.scope.take() {
            self.helper = Helper::start(scope);
        }
        self.helper.as_ref()
    }
}

impl<'e> Helper<'e> {
    fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> Option<Self>
    where
        'e: 'scope,
    {
        let (batches, taken) = channel::<Arc<Batch<'e>>>();
        let (sender, compressed) = channel();
        let work = move || {
            let mut compressor = Compressor::new();
            for batch in taken {
                help(&batch, &mut compressor, &sender);
            }
        };
        match Builder::new().name("silt-compress".to_owned()).spawn_scoped(scope, work) {
            Ok(_) => Some(Self { batches, compressed }),
            Err(error) => {
                tracing::debug!(%error, "a flush job compresses alone");
                None
            }
        }
    }
}

/// Compresses groups from the back until it meets the job.
fn help(batch: &Batch<'_>, compressor: &mut Compressor, done: &Sender<Option<Compressed>>) {
    for group in batch.groups.iter().rev().filter(|group| group.is_slow()) {
        // The job is gone if it has failed.
        if !group.take() || done.send(batch.compress(group, compressor).map(Compressed::new)).is_err() {
            return;
        }
    }
}

/// A batch that is being compressed.
pub(super) struct Shared<'h, 'e> {
    helper: Option<&'h Helper<'e>>,
    batch: Arc<Batch<'e>>,
    /// The helper's groups, the next one first.
    done: VecDeque<Option<Compressed>>,
    current: Option<Compressed>,
}

impl<'e> Shared<'_, 'e> {
    pub(super) fn batch(&self) -> &Batch<'e> {
        &self.batch
    }

    /// Group `index`, as [`Batch::compress`] gives it. Every group is asked for, in order.
    pub(super) fn compressed<'c>(&'c mut self, index: usize, compressor: &'c mut Compressor) -> Option<Stored<'c>> {
        let group = &self.batch.groups[index];
        if !group.is_slow() || group.take() {
            return self.batch.compress(group, compressor);
        }
        if self.done.is_empty() {
            self.await_rest(index);
        }
        self.current = self.done.pop_front().expect("the helper has this group");
        self.current.as_ref().map(Compressed::stored)
    }

    /// The helper has taken group `index`, so all behind it, and gives them as it took them: the last one first.
    fn await_rest(&mut self, index: usize) {
        let helper = self.helper.expect("somebody has taken the group");
        for _ in 0..self.batch.slow_groups(index) {
            self.done.push_front(helper.compressed.recv().expect("the helper gives what it has taken"));
        }
    }
}
