//! Makes blocks of a volume hold what a sender says they hold, as far as this store can without it.
//!
//! What the volume holds there already is left alone. What another volume holds is read, compared with its fingerprint and
//! written again, so nothing refers to a place that collection could take.

use lsm_store::Result;
use lsm_store::fingerprint::Fingerprint;
use lsm_store::id::BlockIndex;
use lsm_store::request::{BlockIdentity, BlockState, Zeroing};
use lsm_store::store::{STORED_BLOCKS_MAX, Volume};

/// Extents of block status asked for at once.
const EXTENTS_MAX: usize = 1024;

/// Makes zeros of what is none.
pub(crate) fn clear(volume: &Volume, first: BlockIndex, count: u64) -> Result<()> {
    let mut at = first.byte_offset();
    let end = BlockIndex(first.0 + count).byte_offset().min(volume.size_bytes());
    while at < end {
        for extent in volume.block_status(at, end - at, EXTENTS_MAX)? {
            if extent.state == BlockState::Data {
                volume.zero(at, extent.len, Zeroing::Hole)?;
            }
            at += extent.len;
        }
    }
    Ok(())
}

/// Gives adjacent blocks the content with these fingerprints if they have another and the store has it; which of them have
/// another still.
pub(crate) fn adopt(volume: &Volume, first: BlockIndex, fingerprints: &[Fingerprint]) -> Result<Vec<bool>> {
    let mut lacks = compare(volume, first, fingerprints)?;
    let mut at = 0;
    while at < lacks.len() {
        let run = lacks[at..].iter().take(STORED_BLOCKS_MAX).take_while(|lacks| **lacks).count();
        if run == 0 {
            at += 1;
            continue;
        }
        let had = volume.write_known(BlockIndex(first.0 + at as u64), &fingerprints[at..at + run])?;
        for (lacks, had) in lacks[at..].iter_mut().zip(had) {
            *lacks = !had;
        }
        at += run;
    }
    Ok(lacks)
}

/// Which of adjacent blocks have other content than that with these fingerprints.
fn compare(volume: &Volume, first: BlockIndex, fingerprints: &[Fingerprint]) -> Result<Vec<bool>> {
    let mut differs = Vec::with_capacity(fingerprints.len());
    while differs.len() < fingerprints.len() {
        let rest = &fingerprints[differs.len()..];
        let at = BlockIndex(first.0 + differs.len() as u64);
        for entry in volume.fingerprints(at, rest.len() as u64, rest.len())? {
            match entry {
                BlockIdentity::Zeros(count) => differs.resize(differs.len() + count as usize, true),
                BlockIdentity::Data(found) => differs.push(found != fingerprints[differs.len()]),
            }
        }
    }
    Ok(differs)
}
