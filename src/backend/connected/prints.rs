//! Fingerprints that a daemon gives (`docs/protocol.md`, "Fingerprints").

use std::ops::Range;

use blockdev::lsm_store::fingerprint::{FINGERPRINT_BYTES, Fingerprint};
use blockdev::lsm_store::id::BLOCK_BYTES;
use blockdev::lsm_store::request::BlockIdentity;
use blockdev::name::ExportName;
use blockdev::net::control::{ChangedRange, Progress, Request, Response};

use super::calls::{Calls, Listener};
use crate::error::{Cause, Caused};

const _: () = assert!(crate::backend::FINGERPRINTS_MAX <= blockdev::net::control::FINGERPRINTS_MAX);

/// Blocks asked for at once: a page may say less.
const BLOCKS_MAX: u64 = 1 << 40;

/// Asks what `count` blocks from `first` on hold: a page of the answer.
pub(super) fn page(calls: &Calls, name: &ExportName, first: u64, count: u64) -> Caused<Vec<BlockIdentity>> {
    let count = count.min(BLOCKS_MAX);
    let (offset, length) = (first * BLOCK_BYTES as u64, count * BLOCK_BYTES as u64);
    let mut prints = Prints { at: first, end: first + count, found: Vec::new() };
    let answer = calls.ask(&Request::Fingerprints { name: name.to_string(), offset, length }, &mut prints)?;
    match answer {
        Response::Fingerprints(page) => prints.finish(page.next_offset),
        _ => Err(Cause::Answer),
    }
}

/// Asks what the blocks of several ranges of blocks hold.
pub(super) fn of_ranges(
    calls: &Calls,
    name: &ExportName,
    ranges: &[Range<u64>],
    size_bytes: u64,
) -> Caused<Vec<Option<Fingerprint>>> {
    let in_bytes = |range: &Range<u64>| {
        let end = (range.end * BLOCK_BYTES as u64).min(size_bytes);
        let offset = range.start * BLOCK_BYTES as u64;
        ChangedRange { offset, length: end - offset }
    };
    let asked = Request::FingerprintsOf { name: name.to_string(), ranges: ranges.iter().map(in_bytes).collect() };
    let mut scattered = Scattered::new(ranges);
    match calls.ask(&asked, &mut scattered)? {
        Response::Fingerprints(_) => Ok(scattered.found),
        _ => Err(Cause::Answer),
    }
}

/// What has come of several ranges.
struct Scattered<'r> {
    /// Those of which something may still come.
    left: &'r [Range<u64>],
    /// Blocks of the ranges before.
    before: usize,
    /// What no frame covers is zeros.
    found: Vec<Option<Fingerprint>>,
}

impl<'r> Scattered<'r> {
    fn new(ranges: &'r [Range<u64>]) -> Self {
        let count = ranges.iter().map(|range| range.end - range.start).sum::<u64>();
        Self { left: ranges, before: 0, found: vec![None; count as usize] }
    }
}

impl Listener for Scattered<'_> {
    fn progress(&mut self, _progress: &Progress) -> Caused<()> {
        Ok(())
    }

    fn content(&mut self, offset: u64, data: &[u8]) -> Caused<()> {
        let (prints, rest) = data.as_chunks::<FINGERPRINT_BYTES>();
        let (first, is_sound) = (offset / BLOCK_BYTES as u64, offset.is_multiple_of(BLOCK_BYTES as u64));
        while let Some((range, left)) = self.left.split_first().filter(|(range, _)| range.end <= first) {
            self.before += (range.end - range.start) as usize;
            self.left = left;
        }
        let range = self.left.first().filter(|range| range.start <= first && is_sound && rest.is_empty());
        let place = range.filter(|range| prints.len() as u64 <= range.end - first).map(|range| first - range.start);
        let place = self.before + place.ok_or(Cause::Answer)? as usize;
        let found = self.found[place..].iter_mut().zip(prints);
        found.for_each(|(found, print)| *found = Some(Fingerprint(*print)));
        Ok(())
    }
}

/// What has come.
struct Prints {
    /// Up to this block all is said.
    at: u64,
    end: u64,
    found: Vec<BlockIdentity>,
}

impl Prints {
    /// What no frame covers is zeros.
    fn skip_to(&mut self, block: u64) -> Caused<()> {
        match block.checked_sub(self.at) {
            Some(0) => {}
            Some(count) if block <= self.end => self.found.push(BlockIdentity::Zeros(count)),
            _ => return Err(Cause::Answer),
        }
        self.at = block;
        Ok(())
    }

    fn finish(mut self, next_offset: u64) -> Caused<Vec<BlockIdentity>> {
        // The end of a volume may cut its last block.
        self.skip_to(next_offset.div_ceil(BLOCK_BYTES as u64))?;
        if self.found.is_empty() { Err(Cause::Answer) } else { Ok(self.found) }
    }
}

impl Listener for Prints {
    fn progress(&mut self, _progress: &Progress) -> Caused<()> {
        Ok(())
    }

    fn content(&mut self, offset: u64, data: &[u8]) -> Caused<()> {
        let (prints, rest) = data.as_chunks::<FINGERPRINT_BYTES>();
        let is_sound = offset.is_multiple_of(BLOCK_BYTES as u64) && rest.is_empty();
        self.skip_to(offset / BLOCK_BYTES as u64)?;
        if !is_sound || prints.len() as u64 > self.end - self.at {
            return Err(Cause::Answer);
        }
        self.at += prints.len() as u64;
        self.found.extend(prints.iter().map(|bytes| BlockIdentity::Data(Fingerprint(*bytes))));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
