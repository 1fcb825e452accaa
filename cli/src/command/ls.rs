//! `silt ls`

use siltstone::control::{Request, Response, VolumeDescription};

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::{Output, table};
use crate::size;

/// List the volumes.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {}

impl Ls {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match backend::ask(global, Access::Read, &Request::List)? {
            Response::Volumes { volumes } => {
                let document = serde_json::json!({ "volumes": volumes });
                Output::new(global).answer(&document, || text(&volumes))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

/// Volumes as a table.
pub(super) fn text(volumes: &[VolumeDescription]) -> String {
    if volumes.is_empty() {
        return String::new();
    }
    // Where nothing is replicated there is nothing to tell.
    let tells_replicas = volumes.iter().any(|volume| volume.replication.is_some());
    let row = |volume: &VolumeDescription| {
        let clients = volume.connections.to_string();
        let state = if volume.state == "ready" { clients } else { volume.state.clone() };
        let mut row = vec![volume.name.clone(), size::human(volume.size_bytes), volume.codec.clone(), state];
        row.extend(tells_replicas.then(|| super::cluster::replicas(volume)));
        row.push(volume.created.clone());
        row
    };
    let mut columns = vec!["NAME", "SIZE", "CODEC", "CLIENTS"];
    columns.extend(tells_replicas.then_some("REPLICAS"));
    columns.push("CREATED");
    table(&columns, &["SIZE", "CLIENTS", "REPLICAS"], volumes.iter().map(row))
}
