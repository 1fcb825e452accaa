//! Snapshots of the cluster's volumes that are sent to other stores, by a node that holds them.

use std::sync::Arc;

use net::id::VolumeId;
use net::replication::Event;

use super::core::Core;
use super::volumes::{READY_LOOK, READY_WAIT, snapshot_error};
use super::{Cluster, ClusterError, Result};
use crate::name::SnapshotName;
use crate::node::is_hidden;
use crate::transfer::Source;

impl Cluster {
    /// A snapshot of a volume of the cluster that this node holds, to be sent; if `base` is given, what differs in it from that
    /// snapshot of the same volume.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::Snapshot`]; [`ClusterError::NotHere`] if other nodes hold it;
    /// [`crate::node::NodeError::Unrelated`] if the two are of two volumes.
    pub fn source(&self, name: &SnapshotName, base: Option<&SnapshotName>) -> Result<Source> {
        let volume = self.core.ready_volume(&name.volume)?.id;
        for wanted in [Some(name), base].into_iter().flatten() {
            if is_hidden(&wanted.snapshot) {
                return Err(snapshot_error(wanted, false));
            }
            self.check_snapshot(wanted)?;
        }
        if !self.core.has_all_here(volume)? {
            return Err(ClusterError::NotHere { name: name.clone() });
        }
        Ok(Source::of_replica(&self.core.node, volume, name, base)?)
    }
}

impl Core {
    /// Waits until this node's store has everything of a volume that was answered before the call; false if the node does not
    /// hold the volume, or takes long.
    pub(super) fn has_all_here(&self, volume: VolumeId) -> Result<bool> {
        // A member's log has it.
        let configuration = self.fresh_configuration()?;
        let is_member = configuration.volume(volume).is_some_and(|volume| volume.replicas.is_member(self.me));
        let Some(replica) = self.replica(volume).filter(|_| is_member) else { return Ok(false) };
        let (pending, clock) = (&replica.shared().pending, Arc::clone(self.node.store().clock()));
        let (end, begun) = (pending.end(), clock.monotonic());
        while !pending.wait_applied(end, READY_LOOK) {
            if replica.has_failed() || clock.monotonic() - begun >= READY_WAIT {
                return Ok(false);
            }
            // Nothing else may be written or flushed for a while.
            replica.tell(Event::NeedSync);
        }
        Ok(true)
    }
}
