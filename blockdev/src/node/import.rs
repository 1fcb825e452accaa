//! A volume while its content comes.

use std::sync::Arc;

use lsm_store::id::VolumeId;
use lsm_store::store::Volume;

use super::{NamedVolume, Node, Result};
use crate::name::VolumeName;

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

    /// Its name; nobody is told that of a clone.
    pub(super) fn name(&self) -> &VolumeName {
        &self.name
    }

    /// What came of it has its place in the catalog.
    pub(super) fn leave(&mut self) {
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
