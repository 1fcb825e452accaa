//! Which parts of a volume hold data.

use std::ops::Range;
use std::sync::Arc;

use blockdev::export::BlockState;

use crate::backend::Data;
use crate::error::Result;
use crate::pages::{Pages, Stretch};

/// What a range of a volume or snapshot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Content {
    /// Data.
    Data,
    /// Zeros that were asked for and count as allocated.
    Zeros,
    /// Nothing; reads as zeros.
    Hole,
}

/// A range of one content.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Extent {
    /// Where it is, in bytes.
    pub range: Range<u64>,
    /// What all of it holds.
    pub content: Content,
}

impl Stretch for Extent {
    fn join(&mut self, next: Self) -> Result<(), Self> {
        if (self.range.end, self.content) != (next.range.start, next.content) {
            return Err(next);
        }
        self.range.end = next.range.end;
        Ok(())
    }
}

/// The extents of a range in order, without gaps; neighbours differ in content. Keeps the volume or snapshot open.
pub struct Allocation {
    pages: Pages<Extent>,
}

impl Allocation {
    pub(crate) fn new(data: Arc<dyn Data>, start: u64, end: u64) -> Self {
        let pager = move |from: u64, to: u64| {
            let (mut at, mut extents) = (from, Vec::new());
            for status in data.states(from, to - from)? {
                let range = at..at + status.len;
                at = range.end;
                extents.push(Extent { range, content: content(status.state) });
            }
            Ok((extents, at))
        };
        Self { pages: Pages::new(start, end, Box::new(pager)) }
    }
}

fn content(state: BlockState) -> Content {
    match state {
        BlockState::Data => Content::Data,
        BlockState::Zero => Content::Zeros,
        BlockState::Hole => Content::Hole,
    }
}

impl Iterator for Allocation {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Result<Extent>> {
        self.pages.next()
    }
}
