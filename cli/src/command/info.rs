//! `silt info`

use siltstone::control::{Request, Response, VolumeDescription};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::{Output, fields};
use crate::size;

/// Show one volume.
#[derive(Debug, clap::Args)]
pub(crate) struct Info {
    /// The volume.
    #[arg(value_parser = super::volume_name)]
    name: VolumeName,
}

impl Info {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match backend::ask(global, Access::Read, &Request::Info { name: self.name.to_string() })? {
            Response::Volume(volume) => {
                Output::new(global).answer(&volume, || text(&volume))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

fn text(volume: &VolumeDescription) -> String {
    fields(&[
        ("name", volume.name.clone()),
        ("id", volume.id.to_string()),
        ("size", format!("{} ({} bytes)", size::human(volume.size_bytes), volume.size_bytes)),
        ("codec", volume.codec.clone()),
        ("created", volume.created.clone()),
        ("state", volume.state.clone()),
        ("clients", volume.connections.to_string()),
    ])
}
