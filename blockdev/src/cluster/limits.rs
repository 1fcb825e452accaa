//! Reservations and quotas of the cluster's volumes: settings that every node with a replica applies.

use lsm_store::store::Limits;
use net::config::state::{Command, Configuration, VolumeLimits};
use net::id::VolumeId;

use super::core::Core;
use super::{Cluster, NewVolume, Result, VolumeReport};
use crate::name::VolumeName;

impl Cluster {
    /// Makes a volume with limits; returns when it can be used.
    ///
    /// # Errors
    /// As [`Cluster::create`] and [`Cluster::set_limits`]; the volume is not there then.
    pub fn create_limited(&self, volume: &NewVolume, limits: Limits) -> Result<VolumeReport> {
        let created = self.create(volume)?;
        if limits.is_none() {
            return Ok(created);
        }
        match self.set_limits(&volume.name, limits) {
            Ok(limited) => Ok(limited),
            Err(error) => {
                self.remove(&volume.name, false)?;
                Err(error)
            }
        }
    }

    /// Sets what a volume may take of each node that has a replica of it, and what is kept for it there. Writes are held to it
    /// as soon as the volume's primary has heard of it.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`](super::ClusterError::NoSuchVolume); `Invalid` if the limits make no sense; `OutOfSpace` if
    /// this node has a replica and no room for the reservation.
    pub fn set_limits(&self, name: &VolumeName, limits: Limits) -> Result<VolumeReport> {
        let volume = self.core.ready_volume(name)?.id;
        let Limits { reserve_bytes, quota_bytes } = limits;
        let before = limits_of(&self.core.configuration(), volume).reserve_bytes;
        if reserve_bytes > before && self.core.node.has_replica(volume) {
            // What comes of it if the cluster does not agree is put back where reservations are kept.
            self.core.node.reserve_all_for_replica(volume, reserve_bytes)?;
        }
        self.changed(Command::SetLimits { volume, limits: VolumeLimits { reserve_bytes, quota_bytes } })?;
        self.volume(name)
    }
}

impl Core {
    /// Keeps what is reserved for the replicas of this node, as far as there is room; of what there is none for, as soon as
    /// there is. A replica is never worse off for it. What is in the trash has nothing reserved.
    pub(super) fn keep_reservations(&self) {
        let configuration = self.configuration();
        let replicas: Vec<VolumeId> = self.replicas.read().keys().copied().collect();
        let mut short = self.short_reserves.lock();
        short.retain(|id, _| replicas.contains(id));
        for id in replicas {
            let Some(volume) = configuration.volume(id) else { continue };
            let is_usable = volume.trashed.is_none();
            let wanted = limits_of(&configuration, id).reserve_bytes.filter(|_| is_usable).unwrap_or(0);
            let kept = match self.node.reserve_for_replica(id, wanted) {
                Ok(Some(kept)) => kept,
                Ok(None) => continue,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(volume = %volume.name, error, "nothing can be reserved now");
                    continue;
                }
            };
            if kept >= wanted {
                short.remove(&id);
            } else if short.insert(id, kept).is_none() {
                tracing::warn!(
                    volume = %volume.name, wanted, kept,
                    "this node has no room for all that is reserved for its replica: it keeps what there is"
                );
            }
        }
    }
}

/// The limits of a volume, in the trash or not.
pub(super) fn limits_of(configuration: &Configuration, volume: VolumeId) -> Limits {
    let VolumeLimits { reserve_bytes, quota_bytes } = configuration.limits(volume);
    Limits { reserve_bytes, quota_bytes }
}
