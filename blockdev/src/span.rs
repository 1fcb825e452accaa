//! Spans of time as people write and read them: `90s`, `10m`, `2h`, `7d`, `4w`.

use std::fmt;
use std::str::FromStr;

/// A whole number of seconds, at least 1 and at most 1,000 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Span(u64);

/// What is wrong with a span.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSpan {
    /// It is no number with a unit.
    #[error("write a whole number with s, m, h, d or w: 90s, 10m, 2h, 7d")]
    Syntax,
    /// It is nothing, or too long to mean anything.
    #[error("a span of time is between 1 second and 1,000 years")]
    Bounds,
}

/// From the largest.
const UNITS: [(&str, u64); 5] = [("w", 7 * 86_400), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

const SECONDS_MAX: u64 = 1000 * 366 * 86_400;

impl Span {
    /// A span of so many seconds.
    ///
    /// # Errors
    /// [`InvalidSpan::Bounds`].
    pub fn from_seconds(seconds: u64) -> Result<Self, InvalidSpan> {
        if (1..=SECONDS_MAX).contains(&seconds) { Ok(Self(seconds)) } else { Err(InvalidSpan::Bounds) }
    }

    /// Its seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0
    }

    /// Its milliseconds.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0 * 1000
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(InvalidSpan::Syntax)?;
        if number.is_empty() {
            return Err(InvalidSpan::Syntax);
        }
        let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale));
        Self::from_seconds(seconds.ok_or(InvalidSpan::Bounds)?)
    }
}

impl fmt::Display for Span {
    /// By the largest unit that leaves nothing over.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, scale): &(&str, u64)| self.0.is_multiple_of(*scale);
        let (unit, scale) = UNITS.into_iter().find(fits).expect("a second leaves nothing over");
        write!(f, "{}{unit}", self.0 / scale)
    }
}

#[cfg(test)]
mod tests;
