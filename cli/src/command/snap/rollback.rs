//! `silt snap rollback`

use siltstone::control::{Request, Response};
use siltstone::name::SnapshotName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;
use crate::size;

/// Put a volume back to what a snapshot of it holds. What was written since is lost; nobody may have the volume open.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// The snapshot.
    #[arg(value_parser = crate::command::snapshot_name, value_name = "VOLUME@NAME")]
    name: SnapshotName,
}

impl Rollback {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match backend::ask(global, Access::Write, &Request::RollBack { name: self.name.to_string() })? {
            Response::Volume(volume) => {
                let size = size::human(volume.size_bytes);
                Output::new(global)
                    .done(&volume, || format!("rolled {} back to {}, {size}", volume.name, self.name))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
