//! Puts blocks back whose place in a segment is damaged, from what another store has lent.

use std::ops::ControlFlow;
use std::slice;

use super::frames::{StoredBlock, verified};
use super::front::Change;
use super::inner::Inner;
use super::volume::{Volume, VolumeState};
use super::walk::Found;
use crate::error::Result;
use crate::id::BlockIndex;
use crate::journal::batch::RecordKind;
use crate::request::BlockIdentity;

impl Inner {
    /// What a block holds is damaged where it is: flush jobs share nothing with that segment, and scrubs look at it.
    fn doubt_place(&self, volume: &VolumeState, block: BlockIndex) -> Result<()> {
        let view = self.view();
        let lineage = volume.lineage()?;
        self.walk(&view, &lineage, block..block.next(), &mut |piece| {
            if let Found::Stored { at, .. } = piece.state {
                self.doubt_segment(at.segment);
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}

impl Volume {
    /// Writes a block again that cannot be read any more, or is not what its fingerprint says, if it still has the content
    /// with the fingerprint of `stored`; `false` if it has another by now, which stays. Nothing is shared with where it was. As
    /// durable as [`Volume::write`]. Snapshots keep the damaged one.
    ///
    /// # Errors
    /// [`crate::Error::ForeignBlock`] (`Corrupt`) if `stored` is not what it says; `Corrupt` if the block's fingerprint cannot
    /// be read; otherwise as [`Volume::write`]. Nothing was written then.
    pub fn restore(&self, block: BlockIndex, stored: &StoredBlock) -> Result<bool> {
        self.refuse_if_unwritable()?;
        self.check_blocks(block, 1)?;
        let contents = verified(block, slice::from_ref(stored))?;
        loop {
            let before = self.inner().front.lock().next;
            if self.fingerprints(block, 1, 1)? != [BlockIdentity::Data(stored.fingerprint)] {
                return Ok(false);
            }
            self.inner().doubt_place(self.state(), block)?;
            let payload = contents.as_flattened();
            let change = Change { first: block, count: 1, kind: RecordKind::Data, payload, based_before: Some(before) };
            if self.submit(&[change])? {
                return Ok(true);
            }
        }
    }
}
