//! Scrubs by the date.

use super::{Node, Result};

impl Node {
    /// Begins a pass over the store if the last one ended long enough ago, or none ever did since the store was made.
    pub(super) fn scrub_when_due(&self) -> Result<()> {
        let schedule = self.store.scrub_schedule();
        let Some(every) = schedule.every.filter(|_| !schedule.under_way) else { return Ok(()) };
        let passed_ms = self.wall_ms().saturating_sub(schedule.last_ms);
        if u128::from(passed_ms) >= every.as_millis() && self.store.start_scrub()? {
            tracing::info!("a scrub begins: the last one is {} days old", passed_ms / (24 * 60 * 60 * 1000));
        }
        Ok(())
    }
}
