//! `silt children`

use siltstone::control::{Request, Response};
use siltstone::name::ExportName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// List the clones that were made of a snapshot, or of a volume and its snapshots.
#[derive(Debug, clap::Args)]
pub(crate) struct Children {
    /// The volume, or the snapshot as VOLUME@NAME.
    #[arg(value_parser = super::export_name, value_name = "VOLUME[@NAME]")]
    name: ExportName,
}

impl Children {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match backend::ask(global, Access::Read, &Request::Children { name: self.name.to_string() })? {
            Response::Volumes { volumes } => {
                let document = serde_json::json!({ "volumes": volumes });
                Output::new(global).answer(&document, || super::ls::text(&volumes))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
