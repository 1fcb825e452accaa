//! `silt rm`

use siltstone::control::{Request, Response};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// Remove volumes and their content. There is no way back. Clones of them stay.
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// The volumes. The first that cannot be removed ends the command.
    #[arg(required = true, value_parser = super::volume_name)]
    names: Vec<VolumeName>,
    /// Remove their snapshots too. A volume with snapshots stays otherwise.
    #[arg(long)]
    snapshots: bool,
}

impl Rm {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let names: Vec<_> = self.names.iter().map(ToString::to_string).collect();
        for name in &names {
            match backend::ask(
                global,
                Access::Write,
                &Request::Remove { name: name.clone(), snapshots: self.snapshots },
            )? {
                Response::Done => {}
                other => return Err(backend::unexpected(&other)),
            }
        }
        let document = serde_json::json!({ "removed": names });
        Output::new(global).done(&document, || format!("removed {}", names.join(", ")))?;
        Ok(Exit::Ok)
    }
}
