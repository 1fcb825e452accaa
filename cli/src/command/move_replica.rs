//! `silt move`

use siltstone::control::{MoveReplica as Wish, Request, Response};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// Move a replica of a volume to another node. It does not wait until everything is there.
#[derive(Debug, clap::Args)]
pub(crate) struct MoveReplica {
    /// The volume.
    #[arg(value_parser = super::volume_name)]
    volume: VolumeName,
    /// The node that gets one, by name or number; it must have none.
    #[arg(long, value_name = "NODE")]
    to: String,
    /// The node that gives its replica up. One is chosen by default.
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
}

impl MoveReplica {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let wish = Wish { volume: self.volume.to_string(), from: self.from.clone(), to: self.to.clone() };
        match backend::ask(global, Access::Read, &Request::MoveReplica(wish))? {
            Response::Volume(volume) => {
                let text = || {
                    format!("a replica of {0} moves to {1}: `silt info {0}` shows how far it is", volume.name, self.to)
                };
                Output::new(global).done(&volume, text)?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
