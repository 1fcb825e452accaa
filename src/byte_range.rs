//! Ranges of bytes as callers ask for them.

use std::ops::{Bound, Range, RangeBounds};

use crate::error::{Cause, Caused};

/// A range whose end may be that of what it is a range of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ByteRange {
    start: u64,
    end: Option<u64>,
}

impl ByteRange {
    pub(crate) fn new(range: impl RangeBounds<u64>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => Some(last.saturating_add(1)),
            Bound::Excluded(end) => Some(*end),
            Bound::Unbounded => None,
        };
        Self { start, end }
    }

    /// The bytes that are meant of what has the name and size. One that ends before its start is empty.
    pub(crate) fn within(self, name: &str, size_bytes: u64) -> Caused<Range<u64>> {
        let end = self.end.unwrap_or(size_bytes).max(self.start);
        if end <= size_bytes {
            return Ok(self.start..end);
        }
        let (offset, len) = (self.start, end - self.start);
        Err(Cause::BeyondEnd { name: name.to_owned(), offset, len, size_bytes })
    }
}

#[cfg(test)]
mod tests;
