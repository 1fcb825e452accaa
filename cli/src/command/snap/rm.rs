//! `silt snap rm`

use siltstone::control::{Request, Response};
use siltstone::name::SnapshotName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// Remove snapshots. The volumes and clones stay as they are.
#[derive(Debug, clap::Args)]
pub(super) struct Rm {
    /// The snapshots. The first that cannot be removed ends the command.
    #[arg(required = true, value_parser = crate::command::snapshot_name, value_name = "VOLUME@NAME")]
    names: Vec<SnapshotName>,
}

impl Rm {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let names: Vec<_> = self.names.iter().map(ToString::to_string).collect();
        for name in &names {
            match backend::ask(global, Access::Write, &Request::RemoveSnapshot { name: name.clone() })? {
                Response::Done => {}
                other => return Err(backend::unexpected(&other)),
            }
        }
        let document = serde_json::json!({ "removed": names });
        Output::new(global).done(&document, || format!("removed {}", names.join(", ")))?;
        Ok(Exit::Ok)
    }
}
