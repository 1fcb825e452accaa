//! `silt trash ls`

use siltstone::control::{Request, Response, TrashDescription};

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::{Output, table};
use crate::size;

/// List the volumes in the trash, from the one removed first.
#[derive(Debug, clap::Args)]
pub(super) struct Ls {}

impl Ls {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match backend::ask(global, Access::Read, &Request::ListTrash)? {
            Response::Trash { volumes } => {
                let document = serde_json::json!({ "trash": volumes });
                Output::new(global).answer(&document, || text(&volumes))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

fn text(volumes: &[TrashDescription]) -> String {
    if volumes.is_empty() {
        return String::new();
    }
    let row = |volume: &TrashDescription| {
        vec![
            volume.name.clone(),
            volume.id.to_string(),
            size::human(volume.size_bytes),
            volume.snapshots.to_string(),
            volume.removed.clone(),
            volume.expires.clone(),
        ]
    };
    let columns = ["NAME", "ID", "SIZE", "SNAPSHOTS", "REMOVED", "EXPIRES"];
    table(&columns, &["ID", "SIZE", "SNAPSHOTS"], volumes.iter().map(row))
}
