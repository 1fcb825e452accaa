//! What is sent: a snapshot of a volume of the node alone, or of one that it holds for its cluster.

use std::sync::Arc;

use lsm_store::id::StoreId;
use lsm_store::store::Volume;

use super::Watch;
use super::error::Result;
use super::root::{Rooted, root_of};
use super::sender::{self, Outlet, Sent};
use crate::name::{ExportName, SnapshotName};
#[cfg(feature = "cluster")]
use crate::node::HeldSnapshots;
use crate::node::{NamedSnapshot, Node, NodeError, VolumeChanges, VolumeExport};

#[cfg(feature = "cluster")]
mod replica;

/// A snapshot that is to be sent. What it holds stays as long as this does, also if somebody removes the snapshot; it goes with
/// the replica that it is of.
pub struct Source {
    store: StoreId,
    export: Arc<VolumeExport>,
    snapshot: NamedSnapshot,
    base: Option<(SnapshotName, VolumeChanges)>,
    /// Of a volume of the cluster, which does not ask this node before it removes a snapshot.
    #[cfg(feature = "cluster")]
    _held: Option<HeldSnapshots>,
}

impl Source {
    /// A snapshot of a volume of the node alone; if `base` is given, what differs in it from that.
    ///
    /// # Errors
    /// [`NodeError::NoSuchSnapshot`]; [`NodeError::Unrelated`] if the two share no past.
    pub fn of_node(node: &Node, name: &SnapshotName, base: Option<&SnapshotName>) -> Result<Self> {
        let export = node.export(&ExportName::from(name.clone()))?;
        let snapshot = node.find_snapshot(name)?;
        let changes = |base: &SnapshotName| node.changes(&base.clone().into(), &name.clone().into());
        let base = base.map(|base| Ok::<_, NodeError>((base.clone(), changes(base)?))).transpose()?;
        Ok(Self {
            store: node.store().id(),
            export,
            snapshot,
            base,
            #[cfg(feature = "cluster")]
            _held: None,
        })
    }

    /// The snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &NamedSnapshot {
        &self.snapshot
    }

    /// What the store has of it.
    #[must_use]
    pub fn volume(&self) -> &Volume {
        self.export.volume()
    }

    pub(super) fn store(&self) -> StoreId {
        self.store
    }

    /// The earlier snapshot, and where the two differ.
    pub(super) fn base(&self) -> Option<&(SnapshotName, VolumeChanges)> {
        self.base.as_ref()
    }

    /// The root of the snapshot. Reads no data; costs what is mapped.
    ///
    /// # Errors
    /// `Corrupt` if map or fingerprints cannot be read; [`super::TransferError::Stopped`].
    pub fn root(&self, watch: &mut Watch<'_>) -> Result<Rooted> {
        root_of(self.volume(), watch)
    }

    /// As [`super::send`].
    ///
    /// # Errors
    /// As [`super::send`].
    pub fn send(&self, outlet: &mut dyn Outlet) -> Result<Sent> {
        sender::transfer(self, sender::Sending::listened(outlet))
    }

    /// As [`super::offer`].
    ///
    /// # Errors
    /// As [`super::offer`].
    pub fn offer(&self, outlet: &mut dyn Outlet) -> Result<Sent> {
        sender::transfer(self, sender::Sending::answered(outlet))
    }
}
