//! Where two volumes or snapshots differ.

use std::ops::Range;
use std::sync::Arc;

use crate::backend::{Data, Differences};
use crate::error::Result;
use crate::pages::{Pages, Stretch};

/// Ranges of bytes that differ, by offset; see [`View::changes_since`](crate::View::changes_since). Keeps both sides open.
pub struct Changes {
    pages: Pages<Range<u64>>,
    _open: [Arc<dyn Data>; 2],
}

impl Stretch for Range<u64> {
    fn join(&mut self, next: Self) -> Result<(), Self> {
        if self.end != next.start {
            return Err(next);
        }
        self.end = next.end;
        Ok(())
    }
}

impl Changes {
    pub(crate) fn new(mut differences: Box<dyn Differences>, open: [Arc<dyn Data>; 2], end: u64) -> Self {
        let pager = move |from, to| differences.page(from, to);
        Self { pages: Pages::new(0, end, Box::new(pager)), _open: open }
    }
}

impl Iterator for Changes {
    type Item = Result<Range<u64>>;

    fn next(&mut self) -> Option<Result<Range<u64>>> {
        self.pages.next()
    }
}
