//! A stream that goes on from a snapshot, on its way to a volume of the cluster.
//!
//! What comes is written to a clone of the snapshot that only this node's store has and nobody sees, as a node does it with volumes of
//! its own. So a stream that is torn, damaged or of something else changes nothing of the volume; it goes into that when all
//! of it has come and was proved.

use std::sync::Arc;

use net::id::VolumeId;

use super::asking::Session;
use super::intake::{Arriving, differ};
use super::{Cluster, ClusterError, ClusterSnapshot, Result};
use crate::name::{SnapshotName, VolumeName};
use crate::node::Import;
use crate::root::Root;
use crate::transfer::{Base, Begin, Record, Source, TransferError, Watch, make_zero, root_of};

/// A snapshot of which content comes.
pub(super) struct Staged {
    cluster: Arc<Cluster>,
    volume: VolumeId,
    name: SnapshotName,
    /// What it goes on from, as this node has it.
    base: Source,
    import: Import,
    force: bool,
}

impl Staged {
    /// Begins, if the stream can go on from a snapshot of the volume.
    ///
    /// # Errors
    /// [`TransferError::NoBase`], [`TransferError::OtherBase`], [`TransferError::Changed`]; [`ClusterError::Snapshot`],
    /// [`ClusterError::InUse`], [`ClusterError::TakenIn`]; [`ClusterError::NotHere`] if this node does not hold the volume.
    pub(super) fn open(
        cluster: &Arc<Cluster>,
        volume: &VolumeName,
        force: bool,
        (begin, base): (&Begin, &Base),
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let named = |snapshot: &VolumeName| SnapshotName { volume: volume.clone(), snapshot: snapshot.clone() };
        let (name, base_name) = (named(&begin.snapshot), named(&base.snapshot));
        let id = Self::check(cluster, &name, &base_name, force)?;
        let source = cluster.source(&base_name, None)?;
        let found = source.root(watch)?.root;
        if found != base.root {
            return Err(TransferError::OtherBase { name: base_name, expected: base.root, found }.into());
        }
        let core = cluster.core();
        let import = core.node.hidden_clone_of_replica(source.snapshot().info.id, "receive")?;
        if import.volume().size_bytes() != begin.size_bytes {
            core.node.store().resize_volume(import.volume().id(), begin.size_bytes)?;
        }
        Ok(Self { cluster: Arc::clone(cluster), volume: id, name, base: source, import, force })
    }

    /// That the volume may go on from the base: what is found out here need not be sent first.
    fn check(cluster: &Arc<Cluster>, name: &SnapshotName, base: &SnapshotName, force: bool) -> Result<VolumeId> {
        let (core, volume) = (cluster.core(), cluster.core().ready_volume(&name.volume)?);
        match cluster.check_snapshot(base) {
            Err(ClusterError::Snapshot { .. }) => return Err(TransferError::NoBase(base.clone()).into()),
            found => found?,
        };
        cluster.check_free(name)?;
        cluster.check_unused(&name.volume, &volume)?;
        if let Some(taker) = core.taker_of(volume.id)? {
            return Err(core.taken_in(&name.volume, taker));
        }
        if !force && differ(&Session::new(core, volume.id), &base.snapshot, None)? {
            return Err(TransferError::Changed { volume: name.volume.clone(), base: base.clone() }.into());
        }
        Ok(volume.id)
    }

    /// Writes what a record brings, once it has the fingerprints that it says.
    ///
    /// # Errors
    /// Those of this node's store: `Corrupt`, `OutOfSpace`.
    pub(super) fn take(&self, record: &Record) -> Result<()> {
        let content = self.import.volume();
        match record {
            Record::Zeros { first, count } => make_zero(content, first.byte_offset(), *count)?,
            Record::Blocks { first, blocks } => content.write_stored(*first, blocks)?,
            // There is one beginning and one end, and nothing is offered where nobody answers.
            Record::Begin(_) | Record::Offer { .. } | Record::End(_) => {}
        }
        Ok(())
    }

    /// Proves that all has come, and has the volume hold it on every replica, with the snapshot.
    ///
    /// # Errors
    /// [`TransferError::OtherRoot`]; those of [`Cluster::take_in`].
    pub(super) fn finish(self, expected: Root, watch: &mut Watch<'_>) -> Result<ClusterSnapshot> {
        let content = self.import.volume();
        let found = root_of(content, watch)?.root;
        if found != expected {
            return Err(TransferError::OtherRoot { expected, found }.into());
        }
        let base = self.base.snapshot();
        let arriving = Arriving {
            volume: self.volume,
            name: &self.name,
            base: &base.name,
            base_id: base.info.id,
            content,
            root: expected,
            force: self.force,
        };
        self.cluster.take_in(&arriving, watch)
    }
}
