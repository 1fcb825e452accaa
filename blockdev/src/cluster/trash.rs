//! The cluster's trash: volumes that were removed, keep their replicas and snapshots, and can be had back until they expire.

use std::sync::Arc;

use lsm_store::id::VolumeId as StoreVolumeId;
use net::config::raft::ProposeError;
use net::config::state::{Command, Configuration, Rejection, Trashed, Volume};
use net::id::VolumeId;

use super::asking::Session;
use super::core::Core;
use super::volumes::named;
use super::{Cluster, ClusterError, Result, VolumeReport};
use crate::name::VolumeName;
use crate::node::{NodeError, Purge, TrashName};
use crate::span::Span;

/// A volume of the cluster in the trash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterTrashed {
    /// Its number.
    pub id: u64,
    /// The name it had.
    pub name: VolumeName,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its snapshots, as far as somebody can be asked.
    pub snapshots: u64,
    /// When it was removed, in milliseconds since the Unix epoch.
    pub removed_ms: u64,
    /// When it may go for good.
    pub expires_ms: u64,
}

impl Cluster {
    /// Moves a volume and its snapshots to the trash, for `keep` at least. Its name is free at once.
    ///
    /// # Errors
    /// As [`Cluster::remove`].
    pub fn discard(&self, name: &VolumeName, with_snapshots: bool, keep: Span) -> Result<ClusterTrashed> {
        let volume = self.removable(name, with_snapshots)?;
        let now_ms = self.core.wall_ms();
        let expires_ms = now_ms.saturating_add(keep.ms());
        self.changed(Command::TrashVolume { volume: volume.id, expires_ms, now_ms })?;
        let trashed = Volume { trashed: Some(Trashed { removed_ms: now_ms, expires_ms }), ..volume };
        self.core().trashed(&trashed).ok_or_else(|| ClusterError::NoSuchVolume(name.clone()))
    }

    /// The volumes in the trash, from the one removed first.
    #[must_use]
    pub fn trash(&self) -> Vec<ClusterTrashed> {
        let (core, configuration) = (self.core(), self.core.configuration());
        let mut volumes: Vec<_> = configuration.volumes().filter_map(|volume| core.trashed(volume)).collect();
        volumes.sort_by_key(|volume| (volume.removed_ms, volume.id));
        volumes
    }

    /// Takes a volume and its snapshots out of the trash, under the name it had or another.
    ///
    /// # Errors
    /// [`NodeError::NotInTrash`], [`NodeError::SeveralInTrash`]; [`ClusterError::NameTaken`] if the name means something by now.
    pub fn restore(&self, which: &TrashName, to: Option<&VolumeName>) -> Result<VolumeReport> {
        let volume = find(&*self.core.fresh_configuration()?, which)?;
        let name = to.unwrap_or(&which.name);
        match self.core.propose(Command::RestoreVolume { volume, name: name.as_str().parse()? }) {
            Err(ProposeError::Rejected(Rejection::VolumeNameTaken(_))) => Err(ClusterError::NameTaken(name.clone())),
            done => {
                done?;
                self.volume(name)
            }
        }
    }

    /// Removes volumes in the trash and their snapshots for good, and returns what they were.
    ///
    /// # Errors
    /// [`NodeError::NotInTrash`], [`NodeError::SeveralInTrash`].
    pub fn purge(&self, which: &Purge) -> Result<Vec<ClusterTrashed>> {
        let (core, configuration) = (self.core(), self.core.fresh_configuration()?);
        let ids: Vec<VolumeId> = match which {
            Purge::One(which) => vec![find(&configuration, which)?],
            Purge::Expired => expired(&configuration, core.wall_ms()),
            Purge::All => expired(&configuration, u64::MAX),
        };
        let mut purged = Vec::new();
        for volume in ids.iter().filter_map(|id| configuration.volume(*id)) {
            let described = core.trashed(volume);
            if self.core.purge(volume)? {
                purged.extend(described);
            }
        }
        Ok(purged)
    }
}

impl Core {
    /// Removes a volume in the trash for good; false if it is not there any more.
    pub(super) fn purge(&self, volume: &Volume) -> Result<bool> {
        let Some(Trashed { removed_ms, .. }) = volume.trashed else { return Ok(false) };
        match self.propose(Command::PurgeVolume { volume: volume.id, removed_ms }) {
            // It was had back a moment ago, or somebody else was faster.
            Err(ProposeError::Rejected(Rejection::NotTrashed(_) | Rejection::NoVolume(_))) => Ok(false),
            done => Ok(done.map(|_| true)?),
        }
    }

    /// A volume in the trash; `None` if it is in none.
    fn trashed(self: &Arc<Self>, volume: &Volume) -> Option<ClusterTrashed> {
        let Trashed { removed_ms, expires_ms } = volume.trashed?;
        let name = volume.name.as_str().parse().ok()?;
        let snapshots = Session::new(Arc::clone(self), volume.id).snapshots_now().unwrap_or_default();
        Some(ClusterTrashed {
            id: volume.id.0,
            name,
            size_bytes: volume.size_bytes,
            snapshots: named(snapshots).count() as u64,
            removed_ms,
            expires_ms,
        })
    }
}

/// The volumes in the trash whose time is over at `now_ms`.
pub(super) fn expired(configuration: &Configuration, now_ms: u64) -> Vec<VolumeId> {
    let is_over = |volume: &&Volume| volume.trashed.is_some_and(|trashed| trashed.expires_ms <= now_ms);
    configuration.volumes().filter(is_over).map(|volume| volume.id).collect()
}

fn find(configuration: &Configuration, which: &TrashName) -> Result<VolumeId, NodeError> {
    let is_meant = |volume: &&Volume| {
        volume.trashed.is_some()
            && volume.name.as_str() == which.name.as_str()
            && which.id.is_none_or(|id| id.0 == volume.id.0)
    };
    let ids: Vec<_> = configuration.volumes().filter(is_meant).map(|volume| volume.id).collect();
    match ids[..] {
        [id] => Ok(id),
        [] => Err(NodeError::NotInTrash(which.name.clone())),
        _ => {
            let ids = ids.iter().map(|id| StoreVolumeId(id.0)).collect();
            Err(NodeError::SeveralInTrash { name: which.name.clone(), ids })
        }
    }
}
