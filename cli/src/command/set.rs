//! `silt set`

use std::str::FromStr;

use siltstone::control::{Request, Response, SetVolume, VolumeDescription};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// Have a volume snapshot by itself, while the daemon runs: how often, and which of these snapshots stay.
///
/// snap-every=TIME makes one each TIME (10s, 1m, 1h, 1d) if the volume changed since the last; snap-every=off makes no
/// more. keep=STEP:REACH,... keeps, of the last REACH, one for each STEP.
#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    /// The volume.
    #[arg(value_parser = super::volume_name)]
    name: VolumeName,
    /// For example: snap-every=10s keep=10s:1h,1m:1d,1h:30d
    #[arg(required = true, value_name = "SETTING=VALUE")]
    settings: Vec<Setting>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Setting {
    SnapEvery(String),
    Keep(String),
}

impl FromStr for Setting {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some(("snap-every", value)) => Ok(Self::SnapEvery(value.to_owned())),
            Some(("keep", value)) => Ok(Self::Keep(value.to_owned())),
            _ => Err("a setting is snap-every=TIME, snap-every=off or keep=STEP:REACH,..."),
        }
    }
}

impl Set {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let mut settings = SetVolume { name: self.name.to_string(), ..SetVolume::default() };
        for setting in &self.settings {
            match setting.clone() {
                Setting::SnapEvery(value) => settings.snap_every = Some(value),
                Setting::Keep(value) => settings.keep = Some(value),
            }
        }
        match backend::ask(global, Access::Write, &Request::Set(settings))? {
            Response::Volume(volume) => {
                Output::new(global).done(&volume, || text(&volume))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

fn text(volume: &VolumeDescription) -> String {
    match &volume.schedule {
        Some(schedule) => format!("{} is snapshot every {}, kept {}", volume.name, schedule.every, schedule.keep),
        None => format!("{} is not snapshot by itself", volume.name),
    }
}
