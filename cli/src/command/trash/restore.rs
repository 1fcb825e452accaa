//! `silt trash restore`

use siltstone::control::{Request, Response};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;
use crate::size;

/// Get a volume and its snapshots back out of the trash.
#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// The name it had.
    #[arg(value_parser = crate::command::volume_name)]
    name: VolumeName,
    /// Its id, as `silt trash ls` shows it: needed if several had this name.
    #[arg(long)]
    id: Option<u64>,
    /// Give it another name.
    #[arg(long = "as", value_parser = crate::command::volume_name, value_name = "NEW")]
    to: Option<VolumeName>,
}

impl Restore {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let to = self.to.as_ref().map(ToString::to_string);
        let request = Request::Restore { name: self.name.to_string(), id: self.id, to };
        match backend::ask(global, Access::Write, &request)? {
            Response::Volume(volume) => {
                let text = || format!("restored {}, {}", volume.name, size::human(volume.size_bytes));
                Output::new(global).done(&volume, text)?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
