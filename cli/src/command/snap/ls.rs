//! `silt snap ls`

use siltstone::control::{NoTransfer, Request, Response, SnapshotDescription};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend::{self, Backend};
use crate::data_dir::{Access, DataDir};
use crate::exit::Exit;
use crate::output::{Output, table};
use crate::size;

/// List the snapshots, from the oldest of each volume; with what the removal of each frees, if `silt du` was asked since the
/// last change.
#[derive(Debug, clap::Args)]
pub(super) struct Ls {
    /// Only those of this volume.
    #[arg(value_parser = crate::command::volume_name)]
    volume: Option<VolumeName>,
}

impl Ls {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let mut backend = Backend::open(&DataDir::new(&global.data)?, Access::Read)?;
        let (mut listed, mut after) = (Vec::new(), Some(String::new()));
        while after.is_some() {
            let volume = self.volume.as_ref().map(ToString::to_string);
            match backend.call(&Request::ListSnapshots { volume, after }, &mut NoTransfer)? {
                Response::Snapshots { snapshots, next } => {
                    listed.extend(snapshots);
                    after = next;
                }
                other => return Err(backend::unexpected(&other)),
            }
        }
        backend.close()?;
        Output::new(global).answer(&serde_json::json!({ "snapshots": listed }), || text(&listed))?;
        Ok(Exit::Ok)
    }
}

fn text(snapshots: &[SnapshotDescription]) -> String {
    if snapshots.is_empty() {
        return String::new();
    }
    let row = |snapshot: &SnapshotDescription| {
        let (size, clients) = (size::human(snapshot.size_bytes), snapshot.connections.to_string());
        let mut row = vec![snapshot.name.clone(), size, clients, snapshot.created.clone()];
        row.extend(snapshot.frees_bytes.map(size::human));
        row
    };
    let is_known = snapshots.iter().any(|snapshot| snapshot.frees_bytes.is_some());
    let columns: &[&str] = match is_known {
        true => &["NAME", "SIZE", "CLIENTS", "CREATED", "FREES"],
        false => &["NAME", "SIZE", "CLIENTS", "CREATED"],
    };
    table(columns, &["SIZE", "CLIENTS", "FREES"], snapshots.iter().map(row))
}
