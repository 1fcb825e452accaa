//! `silt snap create`

use siltstone::control::{Request, Response};
use siltstone::name::SnapshotName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// Freeze what volumes hold now: several all at the same moment. They may be in use.
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// The snapshots, each of another volume.
    #[arg(required = true, value_parser = crate::command::snapshot_name, value_name = "VOLUME@NAME")]
    names: Vec<SnapshotName>,
}

impl Create {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let names = self.names.iter().map(ToString::to_string).collect();
        match backend::ask(global, Access::Write, &Request::Snapshot { names })? {
            Response::Snapshots { snapshots, .. } => {
                let document = serde_json::json!({ "snapshots": snapshots });
                let names: Vec<_> = snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect();
                Output::new(global).done(&document, || format!("created {}", names.join(", ")))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
