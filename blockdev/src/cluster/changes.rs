//! Where replicated volumes and their snapshots differ, for any node of the cluster.

use std::sync::Arc;

use lsm_store::request::ChangedExtent;
use lsm_store::{Error, Result as StoreResult};
use net::forward::ChangedExtents;
use net::id::VolumeId;

use super::answering::store_error;
use super::asking::Session;
use super::core::Core;
use super::{Cluster, ClusterError, Result};
use crate::export::Changes;
use crate::name::{ExportName, VolumeName};
use crate::replica::LocalReplica;

/// Extents of one answer at most.
const EXTENTS_MAX: usize = 8192;

/// Where something differs from a snapshot of the same volume.
pub struct ClusterChanges {
    session: Session,
    from: String,
    to: Option<String>,
    /// The volume is the earlier of the two.
    is_reversed: bool,
}

/// What differs in a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterChangedExtents {
    /// What the two are known by where it was asked: another number means another one, or another node.
    pub ids: (u64, u64),
    /// Their sizes in bytes.
    pub sizes_bytes: (u64, u64),
    /// From the start of the range, and perhaps not to its end.
    pub extents: Vec<ChangedExtent>,
}

impl Cluster {
    /// Where `to` differs from `from`: a volume and a snapshot of it, or two snapshots of one volume.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::Snapshot`]; [`ClusterError::Unrelated`] if they are of two volumes.
    pub fn changes(&self, from: &ExportName, to: &ExportName) -> Result<ClusterChanges> {
        let volume = self.core.ready_volume(from.volume())?;
        let (first, second) = (snapshot_of(from), snapshot_of(to));
        let (Some((from_snapshot, is_reversed)), true) = (
            first.as_ref().map(|name| (name, false)).or(second.as_ref().map(|name| (name, true))),
            from.volume() == to.volume(),
        ) else {
            return Err(ClusterError::Unrelated { from: from.clone(), to: to.clone() });
        };
        for name in [from, to] {
            if let ExportName::Snapshot(name) = name {
                self.check_snapshot(name)?;
            }
        }
        let other = if is_reversed { None } else { second.as_ref() };
        Ok(ClusterChanges::new(&self.core(), volume.id, from_snapshot, other, is_reversed))
    }
}

fn snapshot_of(name: &ExportName) -> Option<VolumeName> {
    match name {
        ExportName::Volume(_) => None,
        ExportName::Snapshot(name) => Some(name.snapshot.clone()),
    }
}

impl ClusterChanges {
    pub(super) fn new(
        core: &Arc<Core>,
        volume: VolumeId,
        from: &VolumeName,
        to: Option<&VolumeName>,
        is_reversed: bool,
    ) -> Self {
        let session = Session::new(Arc::clone(core), volume);
        Self { session, from: from.to_string(), to: to.map(ToString::to_string), is_reversed }
    }

    /// What differs in a range, which may go beyond the end; no extents if it begins there.
    ///
    /// # Errors
    /// Those of the volume's primary.
    pub fn page(&self, offset: u64, len: u64) -> StoreResult<ClusterChangedExtents> {
        let ChangedExtents { ids, sizes_bytes, extents } =
            self.session.changes(&self.from, self.to.as_deref(), (offset, len))?;
        let turned = |(from, to): (u64, u64)| if self.is_reversed { (to, from) } else { (from, to) };
        let extents = extents.into_iter().map(|(len, changed)| ChangedExtent { len, changed }).collect();
        Ok(ClusterChangedExtents { ids: turned(ids), sizes_bytes: turned(sizes_bytes), extents })
    }
}

impl Changes for ClusterChanges {
    fn extents(&self, offset: u64, len: u64, extents_max: usize) -> StoreResult<Vec<ChangedExtent>> {
        let page = self.page(offset, len)?;
        let size = page.sizes_bytes.0.max(page.sizes_bytes.1);
        if len == 0 || offset.checked_add(len).is_none_or(|end| end > size) {
            return Err(Error::BeyondEnd { offset, len, size });
        }
        let mut extents = page.extents;
        extents.truncate(extents_max);
        Ok(extents)
    }
}

/// What differs, asked of this node's replica, which serves the volume; `None`: ask again.
pub(super) fn changes_here(
    core: &Core,
    replica: &LocalReplica,
    from: &str,
    to: Option<&str>,
    (offset, len): (u64, u64),
) -> StoreResult<Option<ChangedExtents>> {
    let none = || Error::NoSuchVolume(lsm_store::id::VolumeId::default());
    let parsed = |name: &str| name.parse::<VolumeName>().map_err(|_| none());
    let (from, to) = (parsed(from)?, to.map(parsed).transpose()?);
    let changes = core.node.replica_changes(replica.shared().id, &from, to.as_ref()).map_err(store_error)?;
    let ((from_id, from_bytes), (to_id, to_bytes)) = (changes.from(), changes.to());
    let end = from_bytes.max(to_bytes).min(offset.saturating_add(len));
    let extents = match end.checked_sub(offset).filter(|len| *len > 0) {
        None => Some(Vec::new()),
        Some(len) if to.is_none() => replica.changes(&changes, (offset, len), EXTENTS_MAX)?,
        Some(len) => Some(changes.extents(offset, len, EXTENTS_MAX)?),
    };
    Ok(extents.map(|extents| ChangedExtents {
        ids: (from_id.0, to_id.0),
        sizes_bytes: (from_bytes, to_bytes),
        extents: extents.iter().map(|extent| (extent.len, extent.changed)).collect(),
    }))
}
