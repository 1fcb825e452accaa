//! What changed between two volumes or snapshots of one family.

use std::sync::Arc;

use lsm_store::id::VolumeId;
use lsm_store::request::ChangedExtent;
use lsm_store::store::Volume;
use lsm_store::{Error, Result as StoreResult};

use super::{Node, NodeError, Result, VolumeExport, visible};
use crate::access::Principal;
use crate::export::Changes;
use crate::name::ExportName;

/// Where one volume or snapshot differs from an earlier one, which stays until this is dropped.
pub struct VolumeChanges {
    from: Arc<VolumeExport>,
    to: Volume,
}

impl Node {
    /// Where `to` differs from `from`. Either may be a volume or a snapshot, as long as they share their past: one is a
    /// snapshot or clone of the other, or both are of a third.
    ///
    /// # Errors
    /// [`NodeError::NoSuchVolume`], [`NodeError::NoSuchSnapshot`]; [`NodeError::Unrelated`].
    pub fn changes(&self, from: &ExportName, to: &ExportName) -> Result<VolumeChanges> {
        self.changes_for(from, to, &Principal::Local)
    }

    pub(super) fn changes_for(&self, from: &ExportName, to: &ExportName, client: &Principal) -> Result<VolumeChanges> {
        let catalog = self.catalog.read();
        let (from_id, to_id) = (visible(&catalog, from, client)?, visible(&catalog, to, client)?);
        let (before, after) = (self.store.volume(from_id)?, self.store.volume(to_id)?);
        // Asked for one byte, the store has only this to object to.
        if let Err(Error::Invalid { .. }) = after.changes_since(&before, 0, 1, 1) {
            return Err(NodeError::Unrelated { from: from.clone(), to: to.clone() });
        }
        self.changes_between(from_id, to_id)
    }

    /// Where what has the id `to` differs from what has the id `from`.
    pub(crate) fn changes_between(&self, from: VolumeId, to: VolumeId) -> Result<VolumeChanges> {
        let (before, after) = (self.store.volume(from)?, self.store.volume(to)?);
        let from = Arc::new(VolumeExport::new(before, self.open_count(from)));
        Ok(VolumeChanges { from, to: after })
    }
}

impl VolumeChanges {
    /// Id and size in bytes of the earlier one.
    #[must_use]
    pub fn from(&self) -> (VolumeId, u64) {
        let volume = self.from.volume();
        (volume.id(), volume.size_bytes())
    }

    /// The earlier one, as the store has it.
    pub(crate) fn earlier(&self) -> &Volume {
        self.from.volume()
    }

    /// Id and size in bytes of the later one.
    #[must_use]
    pub fn to(&self) -> (VolumeId, u64) {
        (self.to.id(), self.to.size_bytes())
    }
}

impl Changes for VolumeChanges {
    fn extents(&self, offset: u64, len: u64, extents_max: usize) -> StoreResult<Vec<ChangedExtent>> {
        let (from_bytes, to_bytes) = (self.from().1, self.to().1);
        let size = from_bytes.max(to_bytes);
        let Some(end) = offset.checked_add(len).filter(|end| *end <= size) else {
            return Err(Error::BeyondEnd { offset, len, size });
        };
        let common = from_bytes.min(to_bytes).min(end);
        let mut extents = match common.checked_sub(offset) {
            Some(len) if len > 0 => self.to.changes_since(self.from.volume(), offset, len, extents_max)?,
            _ => Vec::new(),
        };
        let said = offset + extents.iter().map(|extent| extent.len).sum::<u64>();
        if said >= common && said < end {
            let (beyond, has_room) = (end - said, extents.len() < extents_max);
            match extents.last_mut() {
                Some(last) if last.changed => last.len += beyond,
                _ if has_room => extents.push(ChangedExtent { len: beyond, changed: true }),
                _ => {}
            }
        }
        Ok(extents)
    }
}
