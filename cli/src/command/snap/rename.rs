//! `silt snap rename`

use siltstone::control::{Request, Response};
use siltstone::name::{SnapshotName, VolumeName};

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// Give a snapshot another name. Nobody may have it open.
#[derive(Debug, clap::Args)]
pub(super) struct Rename {
    /// The snapshot.
    #[arg(value_parser = crate::command::snapshot_name, value_name = "VOLUME@OLD")]
    name: SnapshotName,
    /// Its new name, without the volume.
    #[arg(value_parser = crate::command::volume_name, value_name = "NEW")]
    to: VolumeName,
}

impl Rename {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let request = Request::RenameSnapshot { name: self.name.to_string(), to: self.to.to_string() };
        match backend::ask(global, Access::Write, &request)? {
            Response::Snapshot(snapshot) => {
                Output::new(global).done(&snapshot, || format!("renamed {} to {}", self.name, snapshot.name))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
