//! Who may open the cluster's volumes over the network.

use net::config::name::{Identity, InvalidText};
use net::config::state::{Command, Configuration};
use net::id::VolumeId;

use super::{Cluster, Result, VolumeReport};
use crate::access::AllowList;
use crate::name::VolumeName;

impl Cluster {
    /// Says who may open a volume and its snapshots over the network, on whichever node. Who has one open keeps it.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`].
    pub fn set_allow(&self, name: &VolumeName, allow: &AllowList) -> Result<VolumeReport> {
        let volume = self.core.ready_volume(name)?.id;
        let names = allow.names().map(str::parse).collect::<Result<_, InvalidText>>()?;
        self.changed(Command::SetAllowed { volume, names })?;
        self.volume(name)
    }
}

/// Who may open a volume and its snapshots over the network.
pub(super) fn allow_of(configuration: &Configuration, volume: VolumeId) -> AllowList {
    let names = configuration.allowed(volume).iter().map(Identity::as_str);
    AllowList::new(names).expect("what the cluster agrees on has the grammar of a list")
}
