//! Jumps of the wall clock, seen by the monotonic one. What is removed by the date must not go because a clock was set wrong: after a
//! jump ahead it stays for a while, in which somebody can set the clock right.
//!
//! A machine that slept looks the same, and nothing is lost by that either.

use std::time::Duration;

/// Steps that are corrections, of which nothing is made.
const JUMP_MIN: Duration = Duration::from_secs(300);

/// How long nothing is removed.
const HOLD: Duration = Duration::from_secs(3600);

/// What was seen of the two clocks.
#[derive(Debug, Default)]
pub(crate) struct Jumps {
    /// The wall clock and the monotonic one at the last look.
    last: Option<(Duration, Duration)>,
    /// How far the wall clock is ahead of what it should be, and until when it may be set right.
    ahead: Option<(Duration, Duration)>,
}

impl Jumps {
    /// Looks at both clocks. Says how far the wall clock has jumped ahead since the last look, if it has.
    pub(crate) fn look(&mut self, wall: Duration, now: Duration) -> Option<Duration> {
        let (last_wall, last_now) = self.last.replace((wall, now))?;
        let expected = last_wall + now.saturating_sub(last_now);
        self.ahead = self.ahead.filter(|(_, until)| *until > now);
        let (forward, back) = (wall.saturating_sub(expected), expected.saturating_sub(wall));
        if forward >= JUMP_MIN {
            let ahead = self.ahead.map_or(Duration::ZERO, |(ahead, _)| ahead);
            self.ahead = Some((ahead + forward, now + HOLD));
            return Some(forward);
        }
        self.ahead = self.ahead.map(|(ahead, until)| (ahead.saturating_sub(back), until));
        self.ahead = self.ahead.filter(|(ahead, _)| *ahead >= JUMP_MIN);
        None
    }

    /// Whether what has to be removed by the date stays for now.
    pub(crate) fn is_held(&self) -> bool {
        self.ahead.is_some()
    }
}

#[cfg(test)]
mod tests;
