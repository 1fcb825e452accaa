//! Schedules: how often a volume is snapshot by itself, and which of those snapshots stay. Pure: times in, names and
//! decisions out; [`crate::node`] carries them out.
//!
//! Written as `every=10s keep=10s:1h,1m:1d`: a snapshot every 10 seconds; of the last hour one stays for each 10
//! seconds, of the last day one for each minute.

mod following;
mod turns;

use std::fmt;
use std::str::FromStr;

use crate::name::VolumeName;
use crate::span::{InvalidSpan, Span};
pub(crate) use following::{Scheduled, Thinning};
pub(crate) use turns::Turns;

/// Most rules of one schedule.
pub const RULES_MAX: usize = 16;

/// Most snapshots that the rules of one schedule can keep: a volume's lineage names all of them.
pub const KEPT_MAX: u64 = 10_000;

/// How often, and what stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    every: Span,
    keep: Vec<Rule>,
}

/// For each `step` of the last `reach`, one snapshot stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The length of a step.
    pub step: Span,
    /// How far back.
    pub reach: Span,
}

/// What is wrong with a schedule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSchedule {
    /// A span is none.
    #[error("{0:?}: {1}")]
    Span(String, InvalidSpan),
    /// A rule is none.
    #[error("{0:?} is no rule: write STEP:REACH, for example 1m:1d for one snapshot a minute for a day")]
    Rule(String),
    /// A rule reaches no further than its own step.
    #[error("the rule {0} reaches no further than one step")]
    ShortRule(Rule),
    /// A rule has finer steps than snapshots are made.
    #[error("the rule {rule} asks for more than one snapshot every {every}")]
    FineRule {
        /// The rule.
        rule: Rule,
        /// How often snapshots are made.
        every: Span,
    },
    /// There are no rules, or too many.
    #[error("a schedule has 1 to {RULES_MAX} rules")]
    Count,
    /// It is not written as one.
    #[error("{0:?} is no schedule: write every=TIME keep=STEP:REACH,...")]
    Text(String),
    /// The rules keep too many snapshots.
    #[error("that would keep {0} snapshots, and {KEPT_MAX} is the most")]
    TooMany(u64),
}

impl Schedule {
    /// A schedule.
    ///
    /// # Errors
    /// [`InvalidSchedule`], for all but spans.
    pub fn new(every: Span, mut keep: Vec<Rule>) -> Result<Self, InvalidSchedule> {
        if keep.is_empty() || keep.len() > RULES_MAX {
            return Err(InvalidSchedule::Count);
        }
        for &rule in &keep {
            if rule.reach <= rule.step {
                return Err(InvalidSchedule::ShortRule(rule));
            }
            if rule.step < every {
                return Err(InvalidSchedule::FineRule { rule, every });
            }
        }
        let kept = keep.iter().map(|rule| rule.reach.seconds().div_ceil(rule.step.seconds())).sum();
        if kept > KEPT_MAX {
            return Err(InvalidSchedule::TooMany(kept));
        }
        keep.sort_by_key(|rule| (rule.step, rule.reach));
        Ok(Self { every, keep })
    }

    /// A schedule from its two parts, as people write them: `10s`, and `10s:1h,1m:1d`.
    ///
    /// # Errors
    /// [`InvalidSchedule`].
    pub fn parse(every: &str, keep: &str) -> Result<Self, InvalidSchedule> {
        let rules = keep.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Self::new(span(every)?, rules)
    }

    /// How often a snapshot is made.
    #[must_use]
    pub fn every(&self) -> Span {
        self.every
    }

    /// What stays, the finest rule first.
    #[must_use]
    pub fn keep(&self) -> &[Rule] {
        &self.keep
    }

    /// Whether a snapshot is due at `now_ms`, the last having been made or found unnecessary at `last_ms`: one in each step
    /// of the clock, counted from the epoch as the rules do, so that none of their steps stays empty.
    #[must_use]
    pub fn is_due(&self, last_ms: Option<u64>, now_ms: u64) -> bool {
        last_ms.is_none_or(|last_ms| last_ms / self.every.ms() != now_ms / self.every.ms())
    }

    /// Which of the snapshots made at `times_ms` go at `now_ms`, as places in it. Steps are counted from the epoch, so that a
    /// decision stands: the oldest in a step stays until all of the step is out of the rule's reach. The newest of all stays
    /// anyway, and so do those of the future.
    #[must_use]
    pub fn thin(&self, times_ms: &[u64], now_ms: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..times_ms.len()).collect();
        order.sort_by_key(|&index| times_ms[index]);
        let mut kept = vec![false; times_ms.len()];
        for rule in &self.keep {
            let mut last_step = None;
            for &index in &order {
                let time_ms = times_ms[index];
                let step = time_ms / rule.step.ms();
                let is_first = last_step.replace(step) != Some(step);
                let end_ms = (step + 1).saturating_mul(rule.step.ms());
                kept[index] |= is_first && now_ms.saturating_sub(end_ms) < rule.reach.ms();
            }
        }
        if let Some(&newest) = order.last() {
            kept[newest] = true;
        }
        order.retain(|&index| !kept[index] && times_ms[index] <= now_ms);
        order
    }
}

fn span(text: &str) -> Result<Span, InvalidSchedule> {
    text.parse().map_err(|error| InvalidSchedule::Span(text.to_owned(), error))
}

impl FromStr for Schedule {
    type Err = InvalidSchedule;

    /// Reads what is displayed.
    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let none = || InvalidSchedule::Text(text.to_owned());
        let (every, keep) = text.split_once(' ').ok_or_else(none)?;
        Self::parse(every.strip_prefix("every=").ok_or_else(none)?, keep.strip_prefix("keep=").ok_or_else(none)?)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every={} keep={}", self.every, rules_text(&self.keep))
    }
}

impl FromStr for Rule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let (step, reach) = text.split_once(':').ok_or_else(|| InvalidSchedule::Rule(text.to_owned()))?;
        Ok(Self { step: span(step)?, reach: span(reach)? })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.step, self.reach)
    }
}

/// The rules of a schedule as [`Schedule::parse`] takes them.
#[must_use]
pub fn rules_text(keep: &[Rule]) -> String {
    keep.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// What names of snapshots that the node makes by itself begin with.
const PREFIX: &str = "auto-";

/// What names of snapshots of what a volume held before it went back by time begin with.
pub(crate) const REWIND_PREFIX: &str = "rewind-";

/// Characters of a time in a name.
const STAMP_CHARS: usize = "00000000t000000z".len();

/// What a snapshot made at a time, in milliseconds since the Unix epoch, is called: `auto-20261126t071500z`, in UTC.
#[must_use]
pub fn automatic_name(time_ms: u64) -> VolumeName {
    stamped(PREFIX, time_ms)
}

/// A name that says when something was made.
pub(crate) fn stamped(prefix: &str, time_ms: u64) -> VolumeName {
    let seconds = time_ms / 1000;
    let (year, month, day) = date(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let name = format!("{prefix}{year:04}{month:02}{day:02}t{hour:02}{minute:02}{second:02}z");
    name.parse().expect("letters, digits and a dash")
}

/// `wanted`, or if it is taken, the first free one of `wanted-2`, `wanted-3`, ...
pub(crate) fn free_name(wanted: &VolumeName, is_taken: impl Fn(&VolumeName) -> bool) -> VolumeName {
    let numbered = (2_u32..).map(|number| format!("{wanted}-{number}").parse().expect("it is short"));
    let mut names = std::iter::once(wanted.clone()).chain(numbered);
    names.find(|name| !is_taken(name)).expect("not all numbers are taken")
}

/// Whether the node made a snapshot of this name by itself.
#[must_use]
pub fn is_automatic(name: &VolumeName) -> bool {
    let Some(stamp) = name.as_str().strip_prefix(PREFIX) else { return false };
    let like = |(byte, form): (u8, u8)| if form == b'0' { byte.is_ascii_digit() } else { byte == form };
    stamp.len() == STAMP_CHARS && stamp.bytes().zip(*b"00000000t000000z").all(like)
}

/// When a snapshot was made, in milliseconds since the Unix epoch, if its name says so: that of one that the node made by
/// itself, or before a volume went back by time.
#[must_use]
pub fn stamp_ms(name: &VolumeName) -> Option<u64> {
    let named = |prefix: &'static str| Some((prefix, name.as_str().strip_prefix(prefix)?));
    let (prefix, rest) = named(PREFIX).or_else(|| named(REWIND_PREFIX))?;
    let (stamp, number) = rest.split_at_checked(STAMP_CHARS)?;
    let part = |at: std::ops::Range<usize>| stamp.get(at)?.parse::<u64>().ok();
    let days = days(part(0..4)?, part(4..6)?, part(6..8)?)?;
    let seconds = days * 86_400 + part(9..11)? * 3600 + part(11..13)? * 60 + part(13..15)?;
    // What is no time comes back as another one.
    let is_a_time = stamped(prefix, seconds * 1000).as_str() == format!("{prefix}{stamp}");
    (is_a_time && (number.is_empty() || number.starts_with('-'))).then_some(seconds * 1000)
}

/// Days from 1970-01-01 to a date, by the same source as [`date`]; `None` if it lies before.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (year / 400, year % 400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

/// Year, month and day of a day since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
