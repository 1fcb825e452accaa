//! What blocks hold, by fingerprint, a page at a time.

use siltstone::control::{
    ChangedRange, DATA_BYTES_MAX, FINGERPRINTS_MAX, Failure, FingerprintPage, Kind, Peer, Response,
};
use siltstone::name::ExportName;
use siltstone::store::fingerprint::FINGERPRINT_BYTES;
use siltstone::store::id::{BLOCK_BYTES, BlockIndex};
use siltstone::store::request::BlockIdentity;
use siltstone::store::store::Volume;

use super::{NodeHandler, failure, name};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Entries of one page: blocks, or stretches of zeros.
const ENTRIES_MAX: usize = DATA_BYTES_MAX / FINGERPRINT_BYTES;

impl NodeHandler {
    pub(super) fn fingerprints(
        &self,
        text: &str,
        offset: u64,
        length: u64,
        peer: &mut dyn Peer,
    ) -> Result<Response, Failure> {
        self.with_blocks(text, |volume| {
            let size_bytes = volume.size_bytes();
            if !offset.is_multiple_of(BLOCK) || offset >= size_bytes || length == 0 {
                let message = "the range must begin at a block of the volume and not be empty";
                return Err(Failure::new(Kind::Invalid, message));
            }
            let end = offset.saturating_add(length).min(size_bytes);
            let block = page(volume, (offset / BLOCK, end.div_ceil(BLOCK)), peer)?;
            let next_offset = (block * BLOCK).min(size_bytes);
            Ok(Response::Fingerprints(FingerprintPage { id: volume.id().0, size_bytes, next_offset }))
        })
    }

    pub(super) fn fingerprints_of(
        &self,
        text: &str,
        ranges: &[ChangedRange],
        peer: &mut dyn Peer,
    ) -> Result<Response, Failure> {
        self.with_blocks(text, |volume| {
            let size_bytes = volume.size_bytes();
            let (mut behind, mut count) = (0, 0);
            for range in ranges {
                let end = range.offset.checked_add(range.length).filter(|end| *end <= size_bytes);
                let is_sound = range.offset.is_multiple_of(BLOCK) && range.offset >= behind && range.length > 0;
                behind = end.filter(|_| is_sound).ok_or_else(|| {
                    let message = "the ranges must begin at blocks, follow one another, and be within the volume";
                    Failure::new(Kind::Invalid, message)
                })?;
                count += behind.div_ceil(BLOCK) - range.offset / BLOCK;
            }
            if count > FINGERPRINTS_MAX {
                return Err(Failure::new(Kind::Invalid, "the ranges have too many blocks"));
            }
            for range in ranges {
                let (mut block, end) = (range.offset / BLOCK, (range.offset + range.length).div_ceil(BLOCK));
                while block < end {
                    block = page(volume, (block, end), peer)?;
                }
            }
            Ok(Response::Fingerprints(FingerprintPage { id: volume.id().0, size_bytes, next_offset: behind }))
        })
    }

    /// Does something with the volume or snapshot of a name.
    fn with_blocks<T>(&self, text: &str, act: impl FnOnce(&Volume) -> Result<T, Failure>) -> Result<T, Failure> {
        match name::<ExportName>(text)? {
            ExportName::Snapshot(snapshot) => act(self.source(&snapshot, None)?.volume()),
            of_node => act(self.node.export(&of_node).map_err(failure)?.volume()),
        }
    }
}

/// Says what blocks hold, from the first on, and up to where.
fn page(volume: &Volume, (first, end): (u64, u64), peer: &mut dyn Peer) -> Result<u64, Failure> {
    let page = volume.fingerprints(BlockIndex(first), end - first, ENTRIES_MAX);
    let page = page.map_err(|error| failure(error.into()))?;
    let mut block = first;
    for group in page.chunk_by(|a, b| is_data(a) && is_data(b)) {
        if is_data(&group[0]) {
            peer.send(block * BLOCK, &bytes(group))?;
        }
        block += group.iter().map(BlockIdentity::block_count).sum::<u64>();
    }
    Ok(block)
}

fn is_data(identity: &BlockIdentity) -> bool {
    matches!(identity, BlockIdentity::Data(_))
}

/// Fingerprints as they travel: at most [`DATA_BYTES_MAX`] bytes, since a page has no more entries.
fn bytes(group: &[BlockIdentity]) -> Vec<u8> {
    let prints = group.iter().filter_map(|identity| match identity {
        BlockIdentity::Data(fingerprint) => Some(fingerprint.0),
        BlockIdentity::Zeros(_) => None,
    });
    prints.flatten().collect()
}
