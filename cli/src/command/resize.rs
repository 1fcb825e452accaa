//! `silt resize`

use siltstone::control::{Request, ResizeVolume, Response};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;
use crate::size::{self, Size};

/// Change a volume's size. Clients see a new size when they connect again.
#[derive(Debug, clap::Args)]
pub(crate) struct Resize {
    /// The volume.
    #[arg(value_parser = super::volume_name)]
    name: VolumeName,
    /// Its new size, for example 20G (GiB).
    #[arg(long, short)]
    size: Size,
    /// Permit a smaller size. What lies beyond it is lost.
    #[arg(long)]
    allow_shrink: bool,
}

impl Resize {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let resize =
            ResizeVolume { name: self.name.to_string(), size_bytes: self.size.0, allow_shrink: self.allow_shrink };
        match backend::ask(global, Access::Write, &Request::Resize(resize))? {
            Response::Volume(volume) => {
                let text = || format!("{} has {} now", volume.name, size::human(volume.size_bytes));
                Output::new(global).done(&volume, text)?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
