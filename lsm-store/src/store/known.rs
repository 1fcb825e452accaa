//! Blocks that this store has already, by fingerprint: what a sender need not send.
//!
//! No reference is made to where a block is: that could go before the reference counts. The block is read, compared with its
//! fingerprint and written again as it is stored; the flush job finds it as it finds every duplicate, if it is still there.

use super::Store;
use super::frames::{Packing, STORED_BLOCKS_MAX, too_many};
use super::inner::{Inner, chain};
use super::volume::Volume;
use crate::dedupe::{Dedupe, Verdict};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::id::{BlockIndex, Location, SegmentId};

impl Inner {
    fn find_known(&self, fingerprints: &[Fingerprint]) -> Vec<Option<Location>> {
        let mut dedupe = Dedupe::new(&self.index, &self.segments, |id: SegmentId| self.segments.knows(id));
        let located = |verdict| match verdict {
            Verdict::Stored(location) => Some(location),
            Verdict::SameAs(_) | Verdict::New => None,
        };
        dedupe.look_up(fingerprints).into_iter().map(located).collect()
    }
}

impl Store {
    /// Which of these blocks are in sealed segments now. A hint: the index may have forgotten some, and what nobody refers to
    /// may go at any time. [`Volume::write_known`] is certain.
    #[must_use]
    pub fn has_blocks(&self, fingerprints: &[Fingerprint]) -> Vec<bool> {
        self.inner.find_known(fingerprints).iter().map(Option::is_some).collect()
    }
}

impl Volume {
    /// Gives adjacent blocks from `first` on the content with these fingerprints, as far as the store has it; which of them it
    /// had. The others stay as they are. At most [`STORED_BLOCKS_MAX`] at once. As durable as [`Volume::write`].
    ///
    /// # Errors
    /// As [`Volume::write`]. What cannot be read is not had.
    pub fn write_known(&self, first: BlockIndex, fingerprints: &[Fingerprint]) -> Result<Vec<bool>> {
        self.check_blocks(first, fingerprints.len() as u64)?;
        if fingerprints.len() > STORED_BLOCKS_MAX {
            return Err(too_many());
        }
        // Held until all is read: files that it names do not go.
        let _view = self.inner().view();
        let found = self.inner().find_known(fingerprints);
        let block = |index: usize| BlockIndex(first.0 + index as u64);
        let places: Vec<_> =
            found.iter().enumerate().filter_map(|(index, place)| Some((block(index), (*place)?))).collect();
        let mut had = vec![false; fingerprints.len()];
        let mut packing = Packing::default();
        if let Err(error) = self.inner().fetch_stored(&places, &mut packing) {
            tracing::debug!(error = %chain(&error), "blocks that are stored cannot be read: they have to be sent");
            self.inner().suspect(&error);
            return Ok(had);
        }
        let mut blocks = packing.into_blocks();
        blocks.sort_unstable_by_key(|(block, _)| *block);
        for run in blocks.chunk_by(|a, b| a.0.next() == b.0) {
            let stored: Vec<_> = run.iter().map(|(_, block)| block.clone()).collect();
            match self.write_stored(run[0].0, &stored) {
                Ok(()) => run.iter().for_each(|(block, _)| had[(block.0 - first.0) as usize] = true),
                // Damaged under a good checksum: the sender's is better.
                Err(Error::ForeignBlock { block, why }) => {
                    tracing::warn!(%block, why, "a stored block does not have its fingerprint: run silt check");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(had)
    }
}
