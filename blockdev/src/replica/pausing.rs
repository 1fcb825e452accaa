//! Changes of a volume held back for a moment, for a snapshot of several volumes: what the replica's thread says of it, and what
//! others ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use net::replication::{Event, Outcome, PauseId, Refusal, Tick};

use super::calls::Call;
use super::local::LocalReplica;
use super::operation::Draft;

/// How long a change of another node waits here for the end of a pause, before that node is to ask again.
const RESUMED_WAIT: Duration = Duration::from_millis(10);

/// Until when changes are held back, for many writers to look at without asking the replica's thread. It may be late: what
/// counts is what the thread says.
#[derive(Debug, Default)]
pub(super) struct Pausing {
    /// 0 if they are not.
    until: AtomicU64,
}

impl Pausing {
    pub(super) fn set_until(&self, until: Option<Tick>) {
        self.until.store(until.map_or(0, |until| until.0), Ordering::Release);
    }
}

impl LocalReplica {
    /// Has changes held back, if no others are; waits for so long at most until every member has what was ordered before. The
    /// pause may have begun whatever the outcome is, and ends by [`Self::resume`], or by itself.
    pub fn pause(&self, id: PauseId, timeout: Duration) -> Outcome {
        let begun = self.begin(|request| Event::Pause { request, id }, None);
        begun.map_or(Outcome::Refused(Refusal::NotPrimary(None)), |call| call.wait_for(timeout))
    }

    /// Ends a pause, if it is the one that there is.
    pub fn resume(&self, id: PauseId) {
        self.tell(Event::Resume(id));
    }

    /// Begins to have records ordered in a pause, which are refused if it is over; `None` if the replica has ended.
    #[must_use]
    pub fn begin_paused(&self, drafts: &[Draft], pause: PauseId) -> Option<Arc<Call>> {
        self.begin_change(drafts, Some(pause), None)
    }

    /// True while changes are held back.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.shared().ticks.now().0 < self.shared().pausing.until.load(Ordering::Acquire)
    }

    /// Waits a little for the end of a pause; false if it goes on.
    #[must_use]
    pub fn wait_resumed(&self) -> bool {
        if self.is_paused() {
            self.shared().calls.wait_admitted(RESUMED_WAIT);
        }
        !self.is_paused()
    }
}
