//! Fingerprints that a daemon gives (`docs/protocol.md`, "Fingerprints").

use blockdev::lsm_store::fingerprint::{FINGERPRINT_BYTES, Fingerprint};
use blockdev::lsm_store::id::BLOCK_BYTES;
use blockdev::lsm_store::request::BlockIdentity;
use blockdev::name::ExportName;
use blockdev::net::control::{Progress, Request, Response};

use super::calls::{Calls, Listener};
use crate::error::{Cause, Caused};

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
