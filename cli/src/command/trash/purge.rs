//! `silt trash purge`

use siltstone::control::{Purge as PurgeRequest, Request, Response};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// Remove volumes in the trash, and their snapshots, for good. There is no way back.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["name", "expired", "all"])))]
pub(super) struct Purge {
    /// The name it had.
    #[arg(value_parser = crate::command::volume_name)]
    name: Option<VolumeName>,
    /// Its id, as `silt trash ls` shows it: needed if several had this name.
    #[arg(long, requires = "name")]
    id: Option<u64>,
    /// All whose time is over. A running daemon does this by itself.
    #[arg(long)]
    expired: bool,
    /// All, whether their time is over or not.
    #[arg(long)]
    all: bool,
}

impl Purge {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let name = self.name.as_ref().map(ToString::to_string);
        let purge = PurgeRequest { name, id: self.id, expired: self.expired, all: self.all };
        match backend::ask(global, Access::Write, &Request::Purge(purge))? {
            Response::Trash { volumes } => {
                let document = serde_json::json!({ "purged": volumes });
                let names: Vec<_> = volumes.iter().map(|volume| volume.name.as_str()).collect();
                let text = || match names[..] {
                    [] => "nothing to remove".to_owned(),
                    _ => format!("removed {} for good", names.join(", ")),
                };
                Output::new(global).done(&document, text)?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
