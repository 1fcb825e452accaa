//! `silt attach`

use siltstone::name::VolumeName;

use crate::args::Global;
use crate::attach::{self, AttachOptions};
use crate::data_dir::DataDir;
use crate::exit::Exit;
use crate::output::Output;

/// Give a volume a block device of this machine, and print it. The daemon must run.
#[derive(Debug, clap::Args)]
pub(crate) struct Attach {
    /// The volume.
    #[arg(value_parser = super::volume_name)]
    name: VolumeName,
    /// Refuse writes to the device.
    #[arg(long)]
    read_only: bool,
}

impl Attach {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let dir = DataDir::new(&global.data)?;
        let options = AttachOptions { read_only: self.read_only };
        let attached = attach::attach(dir.path(), self.name.as_str(), &options)?;
        Output::new(global).answer(&attached, || attached.device.display().to_string())?;
        Ok(Exit::Ok)
    }
}
