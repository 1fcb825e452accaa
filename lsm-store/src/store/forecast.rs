//! When the store will be full, if it goes on as in the last hour.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

use super::inner::Inner;

/// Between two looks at the room there is.
const PERIOD: Duration = Duration::from_secs(60);

/// Looks that are remembered: an hour of them.
const SAMPLES_MAX: usize = 61;

/// Fewer tell nothing: a merge or a collection may take and give back more meanwhile than writers do.
const SAMPLES_MIN: usize = 11;

/// Later than this is as good as never.
const HORIZON: Duration = Duration::from_secs(365 * 24 * 3600);

/// How much room there was lately, on the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Forecast {
    samples: Mutex<VecDeque<(Duration, u64)>>,
}

impl Forecast {
    /// True if it is time for another look.
    fn is_due(&self, now: Duration) -> bool {
        self.samples.lock().back().is_none_or(|(last, _)| now.saturating_sub(*last) >= PERIOD)
    }

    fn note(&self, now: Duration, room_bytes: u64) {
        let mut samples = self.samples.lock();
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back((now, room_bytes));
    }

    /// In what time `room_bytes` are used up; `None` if too little is known, or they are not being used up.
    pub(super) fn full_in(&self, room_bytes: u64) -> Option<Duration> {
        let samples = self.samples.lock();
        if samples.len() < SAMPLES_MIN {
            return None;
        }
        let used_per_second = -slope(samples.iter().map(|(at, room)| (at.as_secs_f64(), *room as f64)));
        if used_per_second <= 0.0 {
            return None;
        }
        let seconds = room_bytes as f64 / used_per_second;
        (seconds <= HORIZON.as_secs_f64()).then(|| Duration::from_secs(seconds as u64))
    }
}

/// The slope of the line that lies nearest to some points (least squares); they lie at different places.
fn slope(points: impl ExactSizeIterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = points.len() as f64;
    let (x_mean, y_mean) = points.clone().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (above, below) = points.fold((0.0, 0.0), |(above, below), (x, y)| {
        (above + (x - x_mean) * (y - y_mean), below + (x - x_mean) * (x - x_mean))
    });
    above / below
}

impl Inner {
    /// Looks at the room there is, if it is time to.
    pub(super) fn note_room(&self) {
        let now = self.clock.monotonic();
        if self.forecast.is_due(now)
            && let Ok(room) = self.space.room(&*self.device)
        {
            self.forecast.note(now, room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast(samples: usize, room: impl Fn(u64) -> u64) -> Forecast {
        let forecast = Forecast::default();
        for minute in 0..samples as u64 {
            let now = Duration::from_secs(1000 + minute * 60);
            assert!(forecast.is_due(now));
            forecast.note(now, room(minute));
            assert!(!forecast.is_due(now + Duration::from_secs(59)));
        }
        forecast
    }

    #[test]
    fn it_tells_when_the_room_ends_at_the_present_rate() {
        let steady = forecast(30, |minute| 1_000_000 - minute * 600);
        assert_eq!(steady.full_in(36_000), Some(Duration::from_secs(3600)));
        assert_eq!(steady.full_in(0), Some(Duration::ZERO));
        // What comes and goes does not matter much.
        let uneven = forecast(60, |minute| 1_000_000 - minute * 600 + minute % 2 * 500);
        let seconds = uneven.full_in(36_000).unwrap().as_secs();
        assert!((3500..3700).contains(&seconds), "{seconds}");
    }

    #[test]
    fn it_tells_nothing_of_too_little_or_of_room_that_grows() {
        assert_eq!(forecast(10, |minute| 1_000_000 - minute * 600).full_in(36_000), None);
        assert_eq!(forecast(30, |minute| 1_000_000 + minute).full_in(36_000), None);
        assert_eq!(forecast(30, |_| 1_000_000).full_in(36_000), None);
        assert_eq!(forecast(30, |minute| 1_000_000 - minute).full_in(u64::MAX), None);
    }

    #[test]
    fn the_last_hour_counts() {
        let forecast = forecast(200, |minute| 10_000_000 - minute.min(100) * 60_000);
        assert_eq!((forecast.full_in(1), forecast.samples.lock().len()), (None, SAMPLES_MAX));
    }
}
