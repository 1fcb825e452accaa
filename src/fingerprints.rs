//! What blocks hold, by fingerprint.

use std::ops::Range;
use std::sync::Arc;

use blockdev::lsm_store::fingerprint::Fingerprint;
use blockdev::lsm_store::id::BLOCK_BYTES;
use blockdev::lsm_store::request::BlockIdentity;

use crate::backend::Data;
use crate::error::Result;
use crate::pages::{Pages, Stretch};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// One block of data, or blocks of zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FingerprintExtent {
    /// Where it is, in bytes. It begins at a block of 4 KiB, and ends at one or at the end of the volume.
    pub range: Range<u64>,
    /// BLAKE3-256 of the block's 4,096 bytes; what lies beyond the end of the volume counts as zeros. `None`: it reads as zeros,
    /// allocated or not, and is as many blocks as follow one another.
    pub fingerprint: Option<Fingerprint>,
}

impl Stretch for FingerprintExtent {
    fn join(&mut self, next: Self) -> Result<(), Self> {
        if self.fingerprint.is_some() || next.fingerprint.is_some() || self.range.end != next.range.start {
            return Err(next);
        }
        self.range.end = next.range.end;
        Ok(())
    }
}

/// The blocks of a range in order, without gaps; see [`View::fingerprints`](crate::View::fingerprints). Keeps the volume or snapshot
/// open.
pub struct Fingerprints {
    pages: Pages<FingerprintExtent>,
}

impl Fingerprints {
    /// The blocks that `[start, end)` touches.
    pub(crate) fn new(data: Arc<dyn Data>, start: u64, end: u64) -> Self {
        let size = data.size_bytes();
        let (start, end) =
            if start < end { (start / BLOCK * BLOCK, end.next_multiple_of(BLOCK).min(size)) } else { (0, 0) };
        let pager = move |from: u64, to: u64| {
            let first = from / BLOCK;
            let (mut at, mut extents) = (from, Vec::new());
            for identity in data.fingerprints(first, to.div_ceil(BLOCK) - first)? {
                let range = at..(at + identity.block_count() * BLOCK).min(to);
                at = range.end;
                let fingerprint = match identity {
                    BlockIdentity::Zeros(_) => None,
                    BlockIdentity::Data(fingerprint) => Some(fingerprint),
                };
                extents.push(FingerprintExtent { range, fingerprint });
            }
            Ok((extents, at))
        };
        Self { pages: Pages::new(start, end, Box::new(pager)) }
    }
}

impl Iterator for Fingerprints {
    type Item = Result<FingerprintExtent>;

    fn next(&mut self) -> Option<Result<FingerprintExtent>> {
        self.pages.next()
    }
}
