//! How full a node is, and what it warns of.

use std::str::FromStr;

use siltstone::control::SpaceStatus;
use siltstone::store::store::StoreStatus as Numbers;

/// The parts of its space at which a node warns, in hundredths, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WarnAt(Vec<u64>);

impl Default for WarnAt {
    fn default() -> Self {
        Self(vec![80, 90])
    }
}

impl FromStr for WarnAt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percents: Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
        let percents = percents.map_err(|_| "it is percents joined by commas, for example 80,90")?;
        match percents.iter().all(|percent| (1..=100).contains(percent)) && percents.is_sorted_by(|a, b| a < b) {
            true => Ok(Self(percents)),
            false => Err("each percent is from 1 to 100 and larger than the one before"),
        }
    }
}

impl WarnAt {
    /// The highest threshold that is reached.
    fn reached(&self, percent: u64) -> Option<u64> {
        self.0.iter().copied().rfind(|threshold| *threshold <= percent)
    }
}

/// What the store's numbers say of its space.
pub(super) fn status(numbers: &Numbers, warn_at: &WarnAt) -> SpaceStatus {
    let for_data = numbers.total_bytes.saturating_sub(numbers.kept_bytes);
    let taken = u128::from(for_data.saturating_sub(numbers.room_bytes));
    let used_percent = (taken * 100).checked_div(u128::from(for_data)).unwrap_or(100) as u64;
    SpaceStatus {
        total_bytes: numbers.total_bytes,
        used_bytes: numbers.total_bytes.saturating_sub(numbers.free_bytes),
        free_bytes: numbers.room_bytes,
        kept_bytes: numbers.kept_bytes,
        reserved_bytes: numbers.reserved_bytes,
        used_percent,
        full_in_s: numbers.full_in_s,
        warn_at_percent: warn_at.0.clone(),
        warning: warn_at.reached(used_percent).map(|_| warning(used_percent, numbers.capacity_bytes.is_some())),
    }
}

fn warning(used_percent: u64, has_capacity: bool) -> String {
    let more = if has_capacity { "raise it with `silt capacity`" } else { "add disk space" };
    format!(
        "{used_percent} % of the space for data is used; when it is full, writes of new data fail: remove what is not \
         needed (`silt du` shows what that frees, `silt trash purge` empties the trash) or {more}"
    )
}

#[cfg(test)]
mod tests;
