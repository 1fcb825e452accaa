//! Sets of roots, small enough that one can be kept for every slot of many segments.
//!
//! Roots are numbered along the tour of [`super::Visibility`], so that those who see a version of a block, all below its
//! layer but those below a newer version's, are one interval or a few. One interval is kept in place; of several there is a
//! list in a table of bounded size.

use rustc_hash::FxHashMap;

/// A set of roots that is not empty. Of two from the same [`ViewerSets`], the same roots are the same value, as long as
/// none is [`ViewerSets::is_coarse`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Viewers(u64);

/// Marks a place in the table.
const LISTED: u64 = 1 << 63;

/// Intervals in all lists together at most: 8 bytes each, and as much again to find lists by.
const INTERVALS_MAX: usize = 1 << 19;

/// Unions remembered at most.
const UNIONS_MAX: usize = 1 << 18;

/// From the first root to before the second number.
type Interval = (u32, u32);

/// The sets that are more than one interval.
#[derive(Debug)]
pub struct ViewerSets {
    lists: Vec<Box<[Interval]>>,
    places: FxHashMap<Box<[Interval]>, u64>,
    unions: FxHashMap<(Viewers, Viewers), Viewers>,
    intervals: usize,
    intervals_max: usize,
    coarse: bool,
}

impl Default for ViewerSets {
    fn default() -> Self {
        Self::bounded(INTERVALS_MAX)
    }
}

impl Viewers {
    fn interval((first, end): Interval) -> Self {
        Self(u64::from(first) << 32 | u64::from(end))
    }

    /// The root, if it is only one.
    #[must_use]
    pub fn only(self) -> Option<u32> {
        let (first, end) = ((self.0 >> 32) as u32, self.0 as u32);
        (self.0 & LISTED == 0 && end - first == 1).then_some(first)
    }

    /// As a number that is not 0.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The set that [`Viewers::to_bits`] gave this number for; `None` for 0.
    #[must_use]
    pub fn from_bits(bits: u64) -> Option<Self> {
        (bits != 0).then_some(Self(bits))
    }
}

impl ViewerSets {
    fn bounded(intervals_max: usize) -> Self {
        Self {
            lists: Vec::new(),
            places: FxHashMap::default(),
            unions: FxHashMap::default(),
            intervals: 0,
            intervals_max,
            coarse: false,
        }
    }

    /// True if there were more sets than the table takes: some have been taken for all roots between their first and last.
    #[must_use]
    pub fn is_coarse(&self) -> bool {
        self.coarse
    }

    /// The set of some intervals, in order, apart from each other; `None` if there are none.
    pub(crate) fn of(&mut self, intervals: &[Interval]) -> Option<Viewers> {
        let (first, last) = (intervals.first()?, intervals.last()?);
        if intervals.len() == 1 {
            return Some(Viewers::interval(*first));
        }
        if let Some(place) = self.places.get(intervals) {
            return Some(Viewers(LISTED | place));
        }
        if self.intervals + intervals.len() > self.intervals_max {
            self.coarse = true;
            return Some(Viewers::interval((first.0, last.1)));
        }
        let place = self.lists.len() as u64;
        self.intervals += intervals.len();
        self.lists.push(intervals.into());
        self.places.insert(intervals.into(), place);
        Some(Viewers(LISTED | place))
    }

    /// Those in either.
    pub fn union(&mut self, a: Viewers, b: Viewers) -> Viewers {
        if a == b {
            return a;
        }
        let pair = if a.0 < b.0 { (a, b) } else { (b, a) };
        if let Some(union) = self.unions.get(&pair) {
            return *union;
        }
        let mut both: Vec<_> = self.intervals(a).chain(self.intervals(b)).collect();
        both.sort_unstable();
        both.dedup_by(|next, last| {
            let joined = next.0 <= last.1;
            last.1 = if joined { last.1.max(next.1) } else { last.1 };
            joined
        });
        let union = self.of(&both).expect("neither is empty");
        if self.unions.len() < UNIONS_MAX {
            self.unions.insert(pair, union);
        }
        union
    }

    /// The intervals of a set, in order: first root, and the number behind the last.
    pub fn intervals(&self, viewers: Viewers) -> impl Iterator<Item = (u32, u32)> + '_ {
        let listed = viewers.0 & LISTED != 0;
        let list: &[Interval] = if listed { &self.lists[(viewers.0 & !LISTED) as usize] } else { &[] };
        let single = (!listed).then_some(((viewers.0 >> 32) as u32, viewers.0 as u32));
        single.into_iter().chain(list.iter().copied())
    }
}

#[cfg(test)]
mod tests;
