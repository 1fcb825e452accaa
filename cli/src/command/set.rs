//! `silt set`

use std::str::FromStr;

use siltstone::access::{AllowList, InvalidAllowList};
use siltstone::control::{Kind, Request, Response, SetVolume, VolumeDescription};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::{Complaint, Exit};
use crate::output::Output;
use crate::size::{self, Size};

/// Change settings of a volume: how often it is snapshot by itself, what is kept for it, how much it may hold, and how many
/// copies it has.
///
/// snap-every=TIME has a running daemon make a snapshot each TIME (10s, 1m, 1h, 1d) if the volume changed since the last;
/// snap-every=off makes no more. keep=STEP:REACH,... keeps, of the last REACH, one for each STEP.
///
/// reserve=SIZE keeps room for it that other volumes cannot take. quota=SIZE is how much it may hold: blocks with data, before
/// dedupe and compression. reserve=none and quota=none end it.
///
/// allow=NAME,... lets only clients whose certificate has one of these names (common name, DNS name or URI) open it and its
/// snapshots over the network; allow= lets in everybody again. Clients of the Unix socket are not asked.
///
/// replicas=N changes how many nodes of the cluster hold a replicated volume, 1 to 7. Such a volume has all other settings too.
#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    /// The volume.
    #[arg(value_parser = super::volume_name)]
    name: VolumeName,
    /// For example: snap-every=10s keep=10s:1h,1m:1d,1h:30d, or reserve=10G quota=50G
    #[arg(required = true, value_name = "SETTING=VALUE")]
    settings: Vec<Setting>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Setting {
    SnapEvery(String),
    Keep(String),
    Reserve(u64),
    Quota(u64),
    Allow(AllowList),
    Replicas(u8),
}

const SETTINGS: &str = "a setting is snap-every=TIME, snap-every=off, keep=STEP:REACH,..., reserve=SIZE, quota=SIZE, \
                        allow=NAME,... or replicas=N";

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("snap-every", value)) => Ok(Self::SnapEvery(value.to_owned())),
            Some(("keep", value)) => Ok(Self::Keep(value.to_owned())),
            Some(("reserve", value)) => bytes(value).map(Self::Reserve),
            Some(("quota", value)) => bytes(value).map(Self::Quota),
            Some(("allow", value)) => {
                value.parse().map(Self::Allow).map_err(|error: InvalidAllowList| error.to_string())
            }
            Some(("replicas", value)) => super::replicas(value).map(Self::Replicas).map_err(str::to_owned),
            _ => Err(SETTINGS.to_owned()),
        }
    }
}

/// A size, or 0 for `none`.
fn bytes(text: &str) -> Result<u64, String> {
    match text {
        "none" => Ok(0),
        _ => text.parse().map_err(|error: size::InvalidSize| error.to_string()).and_then(|Size(bytes)| match bytes {
            0 => Err("it is `none`, not 0, that ends it".to_owned()),
            bytes => Ok(bytes),
        }),
    }
}

impl Set {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let mut settings = SetVolume { name: self.name.to_string(), ..SetVolume::default() };
        for setting in &self.settings {
            match setting.clone() {
                Setting::SnapEvery(value) => settings.snap_every = Some(value),
                Setting::Keep(value) => settings.keep = Some(value),
                Setting::Reserve(bytes) => settings.reserve_bytes = Some(bytes),
                Setting::Quota(bytes) => settings.quota_bytes = Some(bytes),
                Setting::Allow(list) => settings.allow = Some(list.names().map(str::to_owned).collect()),
                Setting::Replicas(replicas) => settings.replicas = Some(replicas),
            }
        }
        let (allow, replicas) = (settings.allow.clone(), settings.replicas);
        match backend::ask(global, Access::Write, &Request::Set(settings))? {
            Response::Volume(volume) => {
                check_allowed(allow, &volume)?;
                super::check_replicated(replicas, &volume)?;
                Output::new(global).done(&volume, || text(&volume))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

/// An older daemon overlooks a setting that it does not know. Of this one the user must not be left in error.
fn check_allowed(asked: Option<Vec<String>>, volume: &VolumeDescription) -> Result<(), Complaint> {
    if asked.is_none_or(|asked| asked == volume.allow) {
        return Ok(());
    }
    let message = format!("the daemon is too old to know who may open {}: restart it with this version", volume.name);
    Err(Complaint::new(Kind::Unsupported, message))
}

fn text(volume: &VolumeDescription) -> String {
    let mut text = match &volume.schedule {
        Some(schedule) => format!("{} is snapshot every {}, kept {}", volume.name, schedule.every, schedule.keep),
        None => format!("{} is not snapshot by itself", volume.name),
    };
    if let Some(bytes) = volume.reserve_bytes {
        text.push_str(&format!(", has {} reserved", size::human(bytes)));
    }
    if let Some(bytes) = volume.quota_bytes {
        text.push_str(&format!(", may hold {}", size::human(bytes)));
    }
    if !volume.allow.is_empty() {
        text.push_str(&format!(", is open to {}", volume.allow.join(", ")));
    }
    if let Some(replication) = &volume.replication {
        text.push_str(&format!(", is to have {} replicas", replication.replicas_wanted));
    }
    text
}

#[cfg(test)]
mod tests {
    use siltstone::control::ReplicationDescription;

    use super::*;

    #[test]
    fn all_settings_of_a_replicated_volume_are_told() {
        let replication = ReplicationDescription { replicas_wanted: 3, ..ReplicationDescription::default() };
        let volume = VolumeDescription {
            name: "vm".into(),
            id: 1,
            size_bytes: 10 << 30,
            codec: "lz4".into(),
            created: String::new(),
            connections: 0,
            state: "ready".into(),
            snapshots: 0,
            origin: None,
            schedule: None,
            reserve_bytes: None,
            quota_bytes: Some(5 << 30),
            allow: Vec::new(),
            replication: Some(Box::new(replication)),
        };
        assert_eq!(text(&volume), "vm is not snapshot by itself, may hold 5 GiB, is to have 3 replicas");
    }
}
