//! What blocks hold, by fingerprint, a page at a time.

use siltstone::control::{DATA_BYTES_MAX, Failure, FingerprintPage, Kind, Peer, Response};
use siltstone::name::ExportName;
use siltstone::store::fingerprint::FINGERPRINT_BYTES;
use siltstone::store::id::{BLOCK_BYTES, BlockIndex};
use siltstone::store::request::BlockIdentity;

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
        let (export, source);
        let volume = match name::<ExportName>(text)? {
            ExportName::Snapshot(snapshot) => {
                source = self.source(&snapshot, None)?;
                source.volume()
            }
            of_node => {
                export = self.node.export(&of_node).map_err(failure)?;
                export.volume()
            }
        };
        let size_bytes = volume.size_bytes();
        if !offset.is_multiple_of(BLOCK) || offset >= size_bytes || length == 0 {
            return Err(Failure::new(Kind::Invalid, "the range must begin at a block of the volume and not be empty"));
        }
        let end = offset.saturating_add(length).min(size_bytes);
        let (first, count) = (offset / BLOCK, end.div_ceil(BLOCK) - offset / BLOCK);
        let page = volume.fingerprints(BlockIndex(first), count, ENTRIES_MAX);
        let page = page.map_err(|error| failure(error.into()))?;
        let mut block = first;
        for group in page.chunk_by(|a, b| is_data(a) && is_data(b)) {
            if is_data(&group[0]) {
                peer.send(block * BLOCK, &bytes(group))?;
            }
            block += group.iter().map(BlockIdentity::block_count).sum::<u64>();
        }
        let next_offset = (block * BLOCK).min(size_bytes);
        Ok(Response::Fingerprints(FingerprintPage { id: volume.id().0, size_bytes, next_offset }))
    }
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
