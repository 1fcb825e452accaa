//! Settings of volumes.

use siltstone::access::AllowList;
use siltstone::control::{CreateVolume, Failure, Kind, Response, SetVolume};
use siltstone::name::VolumeName;
use siltstone::store::store::Limits;

use super::schedule::schedule;
use super::{NodeHandler, describe, failure, name};

impl NodeHandler {
    pub(super) fn set(&self, settings: &SetVolume) -> Result<Response, Failure> {
        let name: VolumeName = name(&settings.name)?;
        if let Some(replicated) = self.replicated(&name)? {
            return self.set_replicated(&replicated, settings);
        }
        let mut volume = self.node.volume(&name).map_err(failure)?;
        if settings.replicas.is_some() {
            return Err(alone(&name));
        }
        let asks_limits = settings.reserve_bytes.is_some() || settings.quota_bytes.is_some();
        let asks_else = asks_limits || settings.allow.is_some();
        let asks_schedule = settings.snap_every.is_some() || settings.keep.is_some() || !asks_else;
        // What makes no sense is refused before anything is changed.
        let allow = settings.allow.as_deref().map(allow_list).transpose()?;
        let schedule = asks_schedule.then(|| schedule(settings, volume.schedule.as_ref())).transpose()?;
        if asks_limits {
            let limits = limits(settings.reserve_bytes, settings.quota_bytes, volume.limits);
            volume = self.node.set_limits(&name, limits).map_err(failure)?;
        }
        if let Some(allow) = allow {
            volume = self.node.set_allow(&name, allow).map_err(failure)?;
        }
        if let Some(schedule) = schedule {
            volume = self.node.set_schedule(&name, schedule).map_err(failure)?;
        }
        Ok(describe::answer(&volume))
    }
}

/// A volume that no other node holds, of which copies are wanted.
fn alone(name: &VolumeName) -> Failure {
    let message = format!(
        "volume {name} is of this node alone and stays so: `silt create --replicas` makes a volume of several nodes"
    );
    Failure::new(Kind::Unsupported, message)
}

pub(super) fn allow_list(names: &[String]) -> Result<AllowList, Failure> {
    AllowList::new(names).map_err(|error| Failure::from_chain(Kind::Invalid, &error))
}

/// The limits of a volume to make.
pub(super) fn limits_of(create: &CreateVolume) -> Limits {
    limits(create.reserve_bytes, create.quota_bytes, Limits::default())
}

/// The limits that wishes make of the present ones: what is absent stays, 0 is none.
pub(super) fn limits(reserve_bytes: Option<u64>, quota_bytes: Option<u64>, now: Limits) -> Limits {
    let wished = |wish: Option<u64>, now| wish.map_or(now, |bytes| Some(bytes).filter(|bytes| *bytes > 0));
    Limits {
        reserve_bytes: wished(reserve_bytes, now.reserve_bytes),
        quota_bytes: wished(quota_bytes, now.quota_bytes),
    }
}
