//! What is sent: the blocks of a snapshot, in pages, without those that a base has too.

use std::collections::VecDeque;

use lsm_store::Result;
use lsm_store::id::{BLOCK_BYTES, BlockIndex};
use lsm_store::request::{BlockIdentity, ChangedExtent};
use lsm_store::store::Volume;
use net::content::{Entry, PAGE_BLOCKS_MAX, PAGE_ENTRIES_MAX};

/// Changed and unchanged ranges asked for at once.
const EXTENTS_MAX: usize = 1024;

/// What is sent. Both stay as they are meanwhile.
#[derive(Clone)]
pub struct Source {
    /// A snapshot of the content.
    pub volume: Volume,
    /// An older snapshot of the same family, whose content the receiver has, in a volume that now has the new size.
    pub base: Option<Volume>,
}

/// Blocks up to an end that may differ from the base, or do not.
#[derive(Clone, Copy)]
struct Span {
    end: u64,
    is_changed: bool,
}

impl Source {
    /// Spans that follow one another from a block on.
    fn spans_from(&self, first: u64) -> Result<VecDeque<Span>> {
        let start = BlockIndex(first).byte_offset();
        let (Some(base), true) = (&self.base, start < self.common_bytes()) else {
            return Ok([Span { end: self.volume.block_count(), is_changed: true }].into());
        };
        let extents = self.volume.changes_since(base, start, self.common_bytes() - start, EXTENTS_MAX)?;
        let mut end = start;
        let span = |extent: ChangedExtent| {
            end += extent.len;
            Span { end: end.div_ceil(BLOCK_BYTES as u64), is_changed: extent.changed }
        };
        Ok(extents.into_iter().map(span).collect())
    }

    /// Up to where the base has content to compare. A block that the end of one of them cuts counts as changed.
    fn common_bytes(&self) -> u64 {
        let size = self.volume.size_bytes();
        match self.base.as_ref().map_or(0, Volume::size_bytes) {
            same if same == size => size,
            other => BlockIndex(other.min(size) / BLOCK_BYTES as u64).byte_offset(),
        }
    }
}

/// What a source holds, page after page.
pub(super) struct Pages<'a> {
    source: &'a Source,
    /// The next block.
    at: u64,
    /// What is known of where it lies and what follows.
    spans: VecDeque<Span>,
}

/// What a range holds.
pub(super) struct Described {
    pub(super) first: u64,
    pub(super) entries: Vec<Entry>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self { source, at: 0, spans: VecDeque::new() }
    }

    /// The block behind all that was described.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// The next page, which begins with a block that may have changed; `None` at the end.
    pub(super) fn next_page(&mut self) -> Result<Option<Described>> {
        let mut page = Described { first: self.at, entries: Vec::new() };
        while let Some(span) = self.span()? {
            if !span.is_changed && page.entries.is_empty() {
                self.at = span.end;
                page.first = span.end;
                continue;
            }
            let count = (span.end - self.at).min(page.first + PAGE_BLOCKS_MAX - self.at);
            let room = PAGE_ENTRIES_MAX - page.entries.len();
            if count == 0 || room == 0 {
                break;
            }
            if span.is_changed {
                self.describe(count, room, &mut page.entries)?;
            } else {
                page.entries.push(Entry::Same(count));
                self.at += count;
            }
        }
        Ok((!page.entries.is_empty()).then_some(page))
    }

    fn describe(&mut self, count: u64, room: usize, entries: &mut Vec<Entry>) -> Result<()> {
        for identity in self.source.volume.fingerprints(BlockIndex(self.at), count, room)? {
            self.at += identity.block_count();
            entries.push(match identity {
                BlockIdentity::Zeros(count) => Entry::Zeros(count),
                BlockIdentity::Data(fingerprint) => Entry::Data(fingerprint.0),
            });
        }
        Ok(())
    }

    /// Where the next block lies; `None` at the end.
    fn span(&mut self) -> Result<Option<Span>> {
        while self.spans.front().is_some_and(|span| span.end <= self.at) {
            self.spans.pop_front();
        }
        if self.spans.is_empty() && self.at < self.source.volume.block_count() {
            self.spans = self.source.spans_from(self.at)?;
        }
        Ok(self.spans.front().copied())
    }
}
