//! Names under which something comes in at the moment: under each from one side at a time.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// The names that are claimed.
pub(super) struct Claims<N>(Arc<Mutex<HashSet<N>>>);

/// Says that something comes in under a name; dropping it, that it no longer does.
pub(super) struct Claim<N: Eq + Hash> {
    claimed: Arc<Mutex<HashSet<N>>>,
    pub(super) name: N,
}

impl<N> Default for Claims<N> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<N: Clone + Eq + Hash> Claims<N> {
    /// `None` if somebody else has claimed the name.
    pub(super) fn claim(&self, name: &N) -> Option<Claim<N>> {
        let is_free = self.0.lock().insert(name.clone());
        is_free.then(|| Claim { claimed: Arc::clone(&self.0), name: name.clone() })
    }
}

impl<N: Eq + Hash> Drop for Claim<N> {
    fn drop(&mut self) {
        self.claimed.lock().remove(&self.name);
    }
}
