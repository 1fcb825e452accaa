//! Reads a section of a run from one end to the other, for merges and scans.

use std::sync::Arc;

use super::{Patience, Run, Section, Stop};
use crate::device::AlignedBuffer;
use crate::error::Result;
use crate::map::merge::Source;
use crate::map::page::{PAGE_BYTES, Page};
use crate::map::{Key, Stretch};

/// Pages of the first read and of the largest; each read is twice as long as the one before.
const READ_PAGES_MIN: u32 = 4;
const READ_PAGES_MAX: u32 = 64;

/// The stretches of a section, in order, a page at a time. Holds one read, at most 256 KiB.
pub(in crate::map) struct SectionStream {
    run: Arc<Run>,
    from: Option<Key>,
    started: bool,
    next_page: u32,
    end_page: u32,
    read_pages: u32,
    buffer: Option<AlignedBuffer>,
    buffered: std::ops::Range<u32>,
}

impl SectionStream {
    pub(super) fn new(run: Arc<Run>, section: Section, from: Option<Key>) -> Self {
        let pages = run.pages(section);
        let read_pages = if from.is_some() { READ_PAGES_MIN } else { READ_PAGES_MAX };
        Self {
            run,
            from,
            started: false,
            next_page: pages.start,
            end_page: pages.end,
            read_pages,
            buffer: None,
            buffered: 0..0,
        }
    }

    /// Goes to the first page with something about the block at `from`.
    fn start(&mut self) -> Result<()> {
        self.started = true;
        if let Some(key) = self.from {
            let index = self.run.files.index(&self.run, Patience::Wait).map_err(|stop| match stop {
                Stop::Failed(error) => error,
                Stop::WouldBlock => unreachable!("the stream may wait"),
            })?;
            if self.next_page < self.end_page {
                self.next_page = index.page_before(self.next_page..self.end_page, key);
            }
        }
        Ok(())
    }

    /// Reads on from `next_page`.
    fn fill(&mut self) -> Result<()> {
        let count = self.read_pages.min(self.end_page - self.next_page);
        self.read_pages = (self.read_pages * 2).min(READ_PAGES_MAX);
        let mut buffer = AlignedBuffer::zeroed(count as usize * PAGE_BYTES);
        self.run.files.read_pages(self.run.id(), self.next_page.into(), &mut buffer)?;
        self.buffered = self.next_page..self.next_page + count;
        self.buffer = Some(buffer);
        Ok(())
    }

    /// Decodes the next page into `decoded`; false at the end.
    fn decode_page(&mut self, decoded: &mut Vec<Stretch>) -> Result<bool> {
        decoded.clear();
        if !self.started {
            self.start()?;
        }
        if self.next_page == self.end_page {
            return Ok(false);
        }
        if !self.buffered.contains(&self.next_page) {
            self.fill()?;
        }
        let number = self.next_page;
        let buffer = self.buffer.as_ref().expect("a read filled the buffer");
        let at = (number - self.buffered.start) as usize * PAGE_BYTES;
        let bytes = &buffer[at..at + PAGE_BYTES];
        let (files, id) = (&self.run.files, self.run.id());
        let bytes = files.verify(id, number.into(), bytes)?;
        Page::parse(bytes)
            .and_then(|page| page.check(|stretch| decoded.push(stretch)))
            .map_err(|why| files.damaged(id, number.into(), why))?;
        if let Some(from) = self.from {
            decoded.drain(..decoded.partition_point(|stretch| stretch.last_key() < from));
            if !decoded.is_empty() {
                self.from = None;
            }
        }
        self.next_page += 1;
        Ok(true)
    }
}

impl Source for SectionStream {
    fn next_batch(&mut self, batch: &mut Vec<Stretch>) -> Result<bool> {
        // What covers `from` may be the end of the page before it was looked for.
        while self.decode_page(batch)? {
            if !batch.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Runs that follow each other, as one source.
pub(in crate::map) struct LevelStream {
    runs: std::vec::IntoIter<Arc<Run>>,
    section: Section,
    from: Option<Key>,
    current: Option<SectionStream>,
}

impl LevelStream {
    /// A section of `runs`, which are in order; all of it, or what covers `from` and follows.
    pub(in crate::map) fn new(mut runs: Vec<Arc<Run>>, section: Section, from: Option<Key>) -> Self {
        runs.retain(|run| !run.pages(section).is_empty());
        Self { runs: runs.into_iter(), section, from, current: None }
    }
}

impl LevelStream {
    /// True if there is nothing to read.
    pub(in crate::map) fn is_empty(&self) -> bool {
        self.current.is_none() && self.runs.len() == 0
    }
}

impl Source for LevelStream {
    fn next_batch(&mut self, batch: &mut Vec<Stretch>) -> Result<bool> {
        loop {
            if let Some(current) = &mut self.current
                && current.next_batch(batch)?
            {
                return Ok(true);
            }
            let Some(run) = self.runs.next() else {
                batch.clear();
                return Ok(false);
            };
            let from = self.from.filter(|from| run.meta().first < *from);
            self.current = Some(SectionStream::new(run, self.section, from));
        }
    }
}
