//! What a receiver has asked for and not got yet.
//!
//! Blocks come in the order in which they were asked for, and nothing else comes: so a sender can neither put a block where
//! another was offered nor have more remembered of it than [`OFFERS_AHEAD`] offers.

use std::collections::VecDeque;

use lsm_store::fingerprint::Fingerprint;
use lsm_store::id::BlockIndex;
use lsm_store::store::StoredBlock;

use super::asking::OFFERS_AHEAD;
use super::format::OFFER_BLOCKS_MAX;

/// Blocks asked for at most.
const WANTS_MAX: usize = (OFFERS_AHEAD + 1) * OFFER_BLOCKS_MAX;

#[derive(Debug, Default)]
pub(super) struct Wants {
    blocks: VecDeque<(BlockIndex, Fingerprint)>,
}

impl Wants {
    /// Notes what of an offer is wanted.
    ///
    /// # Errors
    /// Why the offer may not be made.
    pub(super) fn add(
        &mut self,
        first: BlockIndex,
        fingerprints: &[Fingerprint],
        wanted: &[bool],
    ) -> Result<(), &'static str> {
        let blocks = (first.0..).map(BlockIndex).zip(fingerprints.iter().copied()).zip(wanted);
        self.blocks.extend(blocks.filter(|(_, wanted)| **wanted).map(|(block, _)| block));
        if self.blocks.len() > WANTS_MAX {
            Err("it offers more while much that was asked for has not come")
        } else {
            Ok(())
        }
    }

    /// Takes blocks that have come.
    ///
    /// # Errors
    /// Why they may not come.
    pub(super) fn take(&mut self, first: BlockIndex, blocks: &[StoredBlock]) -> Result<(), &'static str> {
        for (at, block) in (first.0..).map(BlockIndex).zip(blocks) {
            if self.blocks.pop_front() != Some((at, block.fingerprint)) {
                return Err("its blocks are not those that were asked for");
            }
        }
        Ok(())
    }

    /// True if all has come.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}
