//! Checks a run from its first byte to its last, for `silt check` and for scrubs.

use std::convert::Infallible;

use zerocopy::{FromBytes, IntoBytes};

use super::format::{FOOTER_BYTES, FooterV1, HEADER_MAGIC, HeaderV1, INCOMPAT_KNOWN, VERSION};
use super::summary::SummaryBuilder;
use super::{Patience, Run, Section, Stop};
use crate::device::AlignedBuffer;
use crate::error::{Error, Result};
use crate::id::{BlockIndex, LayerId};
use crate::map::page::{PAGE_BYTES, Page};
use crate::map::{Key, Place, Stretch, Target};

/// Pages read at once.
const READ_PAGES: u64 = 64;

/// Something in a run's file that is not as it was written, or cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// First byte of the page or record concerned.
    pub offset: u64,
    /// What does not hold, in words.
    pub why: String,
}

/// What the pages turned out to hold.
#[derive(Default)]
struct Found {
    stretches: u64,
    blocks: u64,
    bounds: Option<(Key, Key)>,
    layers: Option<(LayerId, LayerId)>,
    last: Option<Stretch>,
}

impl Found {
    fn add(&mut self, stretch: &Stretch) {
        self.stretches += 1;
        self.blocks += stretch.count;
        let first = self.bounds.map_or(stretch.key(), |(first, _)| first);
        self.bounds = Some((first, stretch.last_key()));
        let (oldest, newest) = self.layers.unwrap_or((stretch.layer, stretch.layer));
        self.layers = Some((oldest.min(stretch.layer), newest.max(stretch.layer)));
        self.last = Some(*stretch);
    }
}

struct Check<'a> {
    run: &'a Run,
    damages: Vec<Damage>,
    digest: blake3::Hasher,
    entries: Found,
    ranges: Found,
    summary: SummaryBuilder,
}

impl Run {
    /// Reads the whole file, past the page cache, and lists what is wrong with it: pages, their order, bounds and counts,
    /// index, summary, footer and digest. Empty means sound.
    #[must_use]
    pub fn verify(&self) -> Vec<Damage> {
        let Ok(damages) = self.verify_paced(&mut |_| Ok::<_, Infallible>(()));
        damages
    }

    /// As [`Run::verify`]; `go_on` hears of the bytes it is about to read, up to 256 KiB at a time, and may take its time
    /// over it.
    ///
    /// # Errors
    /// Those of `go_on`, which end it.
    pub fn verify_paced<E>(&self, go_on: &mut dyn FnMut(u64) -> Result<(), E>) -> Result<Vec<Damage>, E> {
        let mut check = Check {
            run: self,
            damages: Vec::new(),
            digest: blake3::Hasher::new(),
            entries: Found::default(),
            ranges: Found::default(),
            summary: SummaryBuilder::default(),
        };
        match self.files.read_footer(&self.meta) {
            Ok((footer, _)) => {
                check.pages(go_on)?;
                check.totals(&footer);
            }
            Err(error) => check.report(self.meta.bytes.saturating_sub(FOOTER_BYTES as u64), error),
        }
        Ok(check.damages)
    }

    /// The first and the last block that what lies at `offset` may be about: those of a page of entries or ranges, else
    /// those of the whole run.
    #[must_use]
    pub fn span_at(&self, offset: u64) -> (Key, Key) {
        let whole = (self.meta.first, self.meta.last);
        let Ok(page) = u32::try_from(offset / PAGE_BYTES as u64) else { return whole };
        let sections = [Section::Entries, Section::Ranges].map(|section| self.pages(section));
        let Some(section) = sections.into_iter().find(|section| section.contains(&page)) else { return whole };
        let Ok(index) = self.files.index(self, Patience::Wait) else { return whole };
        let first = index.first_of(page).map_or(whole.0, |first| first.key);
        let next = index.first_of(page + 1).filter(|_| page + 1 < section.end);
        (first, next.map_or(whole.1, |next| next.key))
    }
}

impl Check<'_> {
    fn report(&mut self, offset: u64, error: Error) {
        let damage = match error {
            Error::Corrupt { offset, why, .. } => Damage { offset, why: why.to_owned() },
            other => Damage { offset, why: other.to_string() },
        };
        self.damages.push(damage);
    }

    fn damage(&mut self, page: u64, why: &'static str) {
        self.damages.push(Damage { offset: page * PAGE_BYTES as u64, why: why.to_owned() });
    }

    /// Reads everything but the footer.
    fn pages<E>(&mut self, go_on: &mut dyn FnMut(u64) -> Result<(), E>) -> Result<(), E> {
        let count = self.run.meta.bytes / PAGE_BYTES as u64;
        let index = self.run.files.index(self.run, Patience::Wait);
        let index = index.map_err(|stop| self.stopped(stop)).ok();
        let mut first = 0;
        while first < count {
            let pages = READ_PAGES.min(count - first);
            go_on(pages * PAGE_BYTES as u64)?;
            let mut buffer = AlignedBuffer::zeroed(pages as usize * PAGE_BYTES);
            if let Err(error) = self.run.files.read_pages(self.run.id(), first, &mut buffer) {
                self.report(first * PAGE_BYTES as u64, error);
            } else {
                let digested = buffer.len() - if first + pages == count { FOOTER_BYTES } else { 0 };
                self.digest.update(&buffer[..digested]);
                for (number, page) in (first..).zip(buffer.chunks_exact(PAGE_BYTES)) {
                    let indexed = index.as_ref().filter(|_| number > 0).and_then(|index| index.first_of(number as u32));
                    self.page(number, page, indexed);
                }
            }
            first += pages;
        }
        Ok(())
    }

    fn stopped(&mut self, stop: Stop) {
        if let Stop::Failed(error) = stop {
            self.report(0, error);
        }
    }

    fn page(&mut self, number: u64, bytes: &[u8], indexed: Option<Place>) {
        let run = self.run;
        let in_section = |section| run.pages(section).contains(&(number as u32));
        let section = [Section::Entries, Section::Ranges].into_iter().find(|section| in_section(*section));
        if number > 0 && section.is_none() {
            return;
        }
        let bytes = match run.files.verify(run.id(), number, bytes) {
            Ok(bytes) => bytes,
            Err(error) => return self.report(0, error),
        };
        match section {
            None => self.header(bytes),
            Some(section) => {
                let mut stretches = Vec::new();
                let checked = Page::parse(bytes).and_then(|page| page.check(|stretch| stretches.push(stretch)));
                if let Err(why) = checked {
                    return self.damage(number, why);
                }
                self.stretches(number, section, &stretches, indexed);
            }
        }
    }

    fn header(&mut self, bytes: &[u8]) {
        let (header, _) = HeaderV1::read_from_prefix(bytes).expect("a header is made of any 72 bytes");
        if header.magic != HEADER_MAGIC || header.run.get() != self.run.id().0 {
            self.damage(0, "the header is not that of this run");
        }
        if header.version.get() != VERSION || header.incompat.get() & !INCOMPAT_KNOWN != 0 {
            self.damage(0, "the header names a version or feature that the footer does not");
        }
    }

    fn stretches(&mut self, number: u64, section: Section, stretches: &[Stretch], indexed: Option<Place>) {
        if indexed.is_some() && indexed != stretches.first().map(Stretch::place) {
            self.damage(number, "the index names another first stretch");
        }
        let found = if section == Section::Entries { &mut self.entries } else { &mut self.ranges };
        let in_order = found.last.is_none_or(|last| stretches.first().is_none_or(|first| last.precedes(first)));
        stretches.iter().for_each(|stretch| found.add(stretch));
        if section == Section::Entries {
            stretches.iter().for_each(|stretch| self.summary.add(stretch));
        } else if stretches.iter().any(|stretch| matches!(stretch.target, Target::Data(_))) {
            self.damage(number, "a range names data");
        }
        if !in_order {
            self.damage(number, "the page begins before the one before it ends");
        }
    }

    /// Compares what was found with what the footer says.
    fn totals(&mut self, footer: &FooterV1) {
        let meta = &self.run.meta;
        let tail = 1 + u64::from(meta.entry_pages) + u64::from(meta.range_pages);
        // Damaged pages have been reported, and their stretches are missing from the counts.
        if self.damages.is_empty() {
            let bounds = [self.entries.bounds, self.ranges.bounds];
            let first = bounds.iter().flatten().map(|bounds| bounds.0).min().unwrap_or_default();
            let last = bounds.iter().flatten().map(|bounds| bounds.1).max().unwrap_or_default();
            let layers = [self.entries.layers, self.ranges.layers];
            let oldest = layers.iter().flatten().map(|layers| layers.0).min().unwrap_or_default();
            let newest = layers.iter().flatten().map(|layers| layers.1).max().unwrap_or_default();
            let counts = (self.entries.stretches, self.entries.blocks, self.ranges.stretches);
            if counts != (meta.entries, meta.blocks, meta.ranges)
                || (first, last) != (meta.first, meta.last)
                || (oldest, newest) != (meta.layer_min, meta.layer_max)
            {
                self.damage(tail, "counts or bounds are not those of the footer");
            }
            self.check_summary(tail);
        }
        if self.digest.finalize().as_bytes() != &footer.digest {
            self.damage(0, "the digest does not match");
        }
        let reserved_used = footer.reserved.as_bytes().iter().any(|byte| *byte != 0);
        if reserved_used || meta.last.block.0 >= BlockIndex::COUNT_MAX {
            self.damage(tail, "the footer makes no sense");
        }
    }

    fn check_summary(&mut self, tail: u64) {
        let found = super::summary::decode(&std::mem::take(&mut self.summary).encode());
        let stored: Result<_> = self.run.summary();
        match stored {
            Ok(stored) if Some(&stored) == found.as_ref() => {}
            Ok(_) => self.damage(tail, "the summary is not that of the entries"),
            Err(error) => self.report(tail * PAGE_BYTES as u64, error),
        }
    }
}
