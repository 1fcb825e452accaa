//! A volume while its content comes.

use std::sync::Arc;

use lsm_store::id::VolumeId;
use lsm_store::store::Volume;

use super::{NamedSnapshot, NamedVolume, Node, Result};
use crate::name::{SnapshotName, VolumeName};

/// A volume that nobody else sees the content of. Dropped before [`Import::finish`], it takes the volume with it.
pub struct Import {
    node: Arc<Node>,
    name: VolumeName,
    id: VolumeId,
    volume: Volume,
    open: bool,
}

impl Import {
    pub(super) fn new(node: Arc<Node>, name: VolumeName, id: VolumeId, volume: Volume) -> Self {
        Self { node, name, id, volume, open: true }
    }

    /// Where the content goes.
    #[must_use]
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Gives the volume its final size, makes the content durable and opens it to everybody.
    pub fn finish(mut self, size_bytes: u64) -> Result<NamedVolume> {
        if size_bytes != self.volume.size_bytes() {
            self.node.store.resize_volume(self.id, size_bytes)?;
        }
        self.volume.flush()?;
        self.node.declare_ready(&self.name, self.id)?;
        self.open = false;
        self.node.volume(&self.name)
    }

    /// Makes the content durable and opens it to everybody, with a first snapshot of it: both or nothing.
    pub(crate) fn finish_with(mut self, snapshot: &VolumeName) -> Result<NamedSnapshot> {
        self.node.declare_ready_with(&self.name, self.id, snapshot)?;
        self.open = false;
        self.node.find_snapshot(&SnapshotName { volume: self.name.clone(), snapshot: snapshot.clone() })
    }

    /// Its name, which nobody is told, and the volume's id.
    pub(super) fn place(&self) -> (&VolumeName, VolumeId) {
        (&self.name, self.id)
    }

    /// What came of it has its place in the catalog.
    pub(super) fn leave(mut self) {
        self.open = false;
    }

    /// Ends as in a crash: nothing is tidied up.
    #[cfg(test)]
    pub(super) fn vanish(mut self) {
        self.open = false;
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        if self.open
            && let Err(error) = self.node.remove_entry(&self.name, self.id)
        {
            // The next start removes it.
            tracing::warn!(volume = %self.name, %error, "a broken import could not be removed");
        }
    }
}
