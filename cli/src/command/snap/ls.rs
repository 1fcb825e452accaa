//! `silt snap ls`

use siltstone::control::{Request, Response, SnapshotDescription};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::{Output, table};
use crate::size;

/// List the snapshots, from the oldest of each volume.
#[derive(Debug, clap::Args)]
pub(super) struct Ls {
    /// Only those of this volume.
    #[arg(value_parser = crate::command::volume_name)]
    volume: Option<VolumeName>,
}

impl Ls {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let request = Request::ListSnapshots { volume: self.volume.as_ref().map(ToString::to_string) };
        match backend::ask(global, Access::Read, &request)? {
            Response::Snapshots { snapshots } => {
                let document = serde_json::json!({ "snapshots": snapshots });
                Output::new(global).answer(&document, || text(&snapshots))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

fn text(snapshots: &[SnapshotDescription]) -> String {
    if snapshots.is_empty() {
        return String::new();
    }
    let row = |snapshot: &SnapshotDescription| {
        let (size, clients) = (size::human(snapshot.size_bytes), snapshot.connections.to_string());
        vec![snapshot.name.clone(), size, clients, snapshot.created.clone()]
    };
    table(&["NAME", "SIZE", "CLIENTS", "CREATED"], &["SIZE", "CLIENTS"], snapshots.iter().map(row))
}
