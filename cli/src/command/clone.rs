//! `silt clone`

use siltstone::control::{Request, Response};
use siltstone::name::{ExportName, VolumeName};

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;
use crate::size;

/// Make a volume that holds what a snapshot, or another volume, holds now. It takes space only as it is changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Clone {
    /// What to clone: a volume, or a snapshot as VOLUME@NAME.
    #[arg(value_parser = super::export_name, value_name = "VOLUME[@NAME]")]
    of: ExportName,
    /// The new volume.
    #[arg(value_parser = super::volume_name)]
    name: VolumeName,
}

impl Clone {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let request = Request::Clone { of: self.of.to_string(), name: self.name.to_string() };
        match backend::ask(global, Access::Write, &request)? {
            Response::Volume(volume) => {
                let text = || format!("cloned {} to {}, {}", self.of, volume.name, size::human(volume.size_bytes));
                Output::new(global).done(&volume, text)?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
