//! Blocks that this store has already, by fingerprint: what a sender need not send, and what another store can borrow.
//!
//! No reference is made to where a block is: that could go before the reference counts. The block is read, compared with its
//! fingerprint and written again as it is stored; the flush job finds it as it finds every duplicate, if it is still there.

use super::Store;
use super::frames::{Packing, STORED_BLOCKS_MAX, StoredBlock, too_many, verified};
use super::inner::{Inner, chain};
use super::volume::Volume;
use crate::dedupe::{Dedupe, Verdict};
use crate::error::Result;
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

    /// What is stored at these places, as far as it can be read and is what its fingerprint says. Where it is not, flush jobs
    /// share nothing any more, or they would put what a sender gives in its place back there. The caller holds the view that
    /// has them.
    fn fetch_verified(&self, places: &[(BlockIndex, Location)]) -> Vec<(BlockIndex, StoredBlock)> {
        match self.try_fetch_verified(places) {
            Ok(blocks) => blocks,
            // One of them: each for itself, then.
            Err(_) if places.len() > 1 => {
                places.iter().flat_map(|place| self.fetch_verified(std::slice::from_ref(place))).collect()
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "a block that is stored is damaged: it has to be sent");
                places.iter().for_each(|(_, location)| self.doubt_segment(location.segment));
                Vec::new()
            }
        }
    }

    fn try_fetch_verified(&self, places: &[(BlockIndex, Location)]) -> Result<Vec<(BlockIndex, StoredBlock)>> {
        let mut packing = Packing::default();
        self.fetch_stored(places, &mut packing)?;
        let (blocks, stored): (Vec<_>, Vec<_>) = packing.into_blocks().into_iter().unzip();
        verified(BlockIndex(0), &stored)?;
        Ok(blocks.into_iter().zip(stored).collect())
    }
}

impl Store {
    /// Which of these blocks are in sealed segments now. A hint: the index may have forgotten some, and what nobody refers to
    /// may go at any time. [`Volume::write_known`] is certain.
    #[must_use]
    pub fn has_blocks(&self, fingerprints: &[Fingerprint]) -> Vec<bool> {
        self.inner.find_known(fingerprints).iter().map(Option::is_some).collect()
    }

    /// The blocks with these fingerprints, as they are stored and each compared with its fingerprint; `None` for those that are
    /// not found, as [`Store::has_blocks`] says, or that cannot be read.
    #[must_use]
    pub fn stored_by_fingerprint(&self, fingerprints: &[Fingerprint]) -> Vec<Option<StoredBlock>> {
        // Held until all is read: files that it names do not go.
        let _view = self.inner.view();
        let mut found = vec![None; fingerprints.len()];
        for places in placed(&self.inner.find_known(fingerprints), BlockIndex(0)).chunks(STORED_BLOCKS_MAX) {
            for (block, stored) in self.inner.fetch_verified(places) {
                found[block.0 as usize] = Some(stored);
            }
        }
        found
    }
}

/// The places that were found of adjacent blocks from `first` on.
fn placed(found: &[Option<Location>], first: BlockIndex) -> Vec<(BlockIndex, Location)> {
    let blocks = (first.0..).map(BlockIndex);
    blocks.zip(found).filter_map(|(block, place)| Some((block, (*place)?))).collect()
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
        let places = placed(&self.inner().find_known(fingerprints), first);
        let mut blocks = self.inner().fetch_verified(&places);
        blocks.sort_unstable_by_key(|(block, _)| *block);
        let mut had = vec![false; fingerprints.len()];
        for run in blocks.chunk_by(|a, b| a.0.next() == b.0) {
            let stored: Vec<_> = run.iter().map(|(_, block)| block.clone()).collect();
            self.write_stored(run[0].0, &stored)?;
            run.iter().for_each(|(block, _)| had[(block.0 - first.0) as usize] = true);
        }
        Ok(had)
    }
}
