//! Reservations and quotas of the cluster's volumes: settings that every node with a replica applies.

use lsm_store::store::Limits;
use net::config::state::{Command, Configuration, VolumeLimits};
use net::id::VolumeId;

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
    /// [`ClusterError::NoSuchVolume`](super::ClusterError::NoSuchVolume); `Invalid` if the limits make no sense.
    pub fn set_limits(&self, name: &VolumeName, limits: Limits) -> Result<VolumeReport> {
        let volume = self.core.ready_volume(name)?.id;
        let Limits { reserve_bytes, quota_bytes } = limits;
        self.changed(Command::SetLimits { volume, limits: VolumeLimits { reserve_bytes, quota_bytes } })?;
        self.volume(name)
    }
}

/// The limits of a volume, in the trash or not.
pub(super) fn limits_of(configuration: &Configuration, volume: VolumeId) -> Limits {
    let VolumeLimits { reserve_bytes, quota_bytes } = configuration.limits(volume);
    Limits { reserve_bytes, quota_bytes }
}
