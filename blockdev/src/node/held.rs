//! Snapshots of a replica that are being read for another node: what they hold stays until that is done, also if they are
//! removed meanwhile.

use std::fmt;
use std::sync::Arc;

use lsm_store::ErrorKind;
use lsm_store::id::VolumeId;

use super::replica::entry;
use super::{NamedSnapshot, Node, Result};
use crate::name::VolumeName;

/// Keeps the content of a replica's snapshots; what lost its name meanwhile goes with this. After a crash it goes at the next
/// start ([`Node::remove_unnamed_snapshots`]).
pub struct HeldSnapshots {
    node: Arc<Node>,
    of: VolumeId,
    ids: Vec<VolumeId>,
}

impl fmt::Debug for HeldSnapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldSnapshots").field(&self.ids).finish()
    }
}

impl Node {
    /// The snapshots that a replica has now, from the oldest, and what keeps their content.
    pub(crate) fn hold_snapshots(
        self: &Arc<Self>,
        volume: net::id::VolumeId,
    ) -> Result<(Vec<NamedSnapshot>, HeldSnapshots)> {
        self.hold_matching(volume, |_| true)
    }

    /// As [`Self::hold_snapshots`], of those with some names.
    pub(crate) fn hold_matching(
        self: &Arc<Self>,
        volume: net::id::VolumeId,
        is_wanted: impl Fn(&VolumeName) -> bool,
    ) -> Result<(Vec<NamedSnapshot>, HeldSnapshots)> {
        let catalog = self.catalog.read();
        let mut snapshots = self.snapshots_of_replica(&catalog, volume)?;
        snapshots.retain(|snapshot| is_wanted(&snapshot.name.snapshot));
        let ids: Vec<_> = snapshots.iter().map(|snapshot| snapshot.info.id).collect();
        let mut held = self.held.lock();
        ids.iter().for_each(|id| *held.entry(*id).or_default() += 1);
        let of = entry(&catalog, volume)?.id;
        Ok((snapshots, HeldSnapshots { node: Arc::clone(self), of, ids }))
    }
}

impl Drop for HeldSnapshots {
    fn drop(&mut self) {
        let catalog = self.node.catalog.write();
        let mut held = self.node.held.lock();
        for id in &self.ids {
            if let Some(count) = held.get_mut(id) {
                *count -= 1;
                if *count > 0 {
                    continue;
                }
                held.remove(id);
            }
            if catalog.snapshots(self.of).any(|(_, named)| named == *id) {
                continue;
            }
            match self.node.store.delete_volume(*id, Vec::new()) {
                // It went with its volume.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, "a snapshot that was removed stays until the next start"),
                Ok(()) => {}
            }
        }
    }
}
