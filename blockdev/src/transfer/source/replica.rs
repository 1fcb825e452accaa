//! Snapshots of volumes of the cluster.

use std::sync::Arc;

use super::Source;
use crate::name::{SnapshotName, VolumeName};
use crate::node::{NamedSnapshot, Node, NodeError};

impl Source {
    /// A snapshot of a volume of the cluster, by the volume's number there, as this node's replica has it.
    pub(crate) fn of_replica(
        node: &Arc<Node>,
        volume: net::id::VolumeId,
        name: &SnapshotName,
        base: Option<&SnapshotName>,
    ) -> Result<Self, NodeError> {
        if let Some(base) = base.filter(|base| base.volume != name.volume) {
            return Err(NodeError::Unrelated { from: base.clone().into(), to: name.clone().into() });
        }
        let is_wanted =
            |snapshot: &VolumeName| *snapshot == name.snapshot || base.is_some_and(|base| *snapshot == base.snapshot);
        let (known, held) = node.hold_matching(volume, is_wanted)?;
        let find = |name: &SnapshotName| {
            let found = known.iter().find(|known| known.name.snapshot == name.snapshot);
            found.ok_or_else(|| NodeError::NoSuchSnapshot(name.clone()))
        };
        let found = find(name)?;
        let base = base
            .map(|base| Ok::<_, NodeError>((base.clone(), node.changes_between(find(base)?.info.id, found.info.id)?)));
        Ok(Self {
            store: node.store().id(),
            export: node.snapshot_export(found.info.id)?,
            snapshot: NamedSnapshot { name: name.clone(), ..found.clone() },
            base: base.transpose()?,
            _held: Some(held),
        })
    }
}
