//! Makes a log durable, beside its owner.

use std::sync::Arc;

use super::error::LogError;
use super::shared::Shared;

/// Makes a log durable, from any thread, while its owner appends.
#[derive(Clone)]
pub struct Syncer {
    shared: Arc<Shared>,
}

impl Syncer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Makes durable everything that was appended, truncated and noted before the call. Calls wait for one another, and
    /// one that finds its work done by another returns at once.
    ///
    /// # Errors
    /// [`LogError::Io`], after which the log takes nothing more; [`LogError::Failed`].
    pub fn sync(&self) -> Result<(), LogError> {
        self.shared.sync()
    }
}
