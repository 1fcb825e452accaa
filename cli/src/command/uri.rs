//! `silt uri`

use siltstone::control::{Request, Response};
use siltstone::name::ExportName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// Print the NBD URIs of a volume or snapshot, the Unix socket's first.
#[derive(Debug, clap::Args)]
pub(crate) struct Uri {
    /// The volume, or a snapshot as VOLUME@NAME.
    #[arg(value_parser = super::export_name)]
    name: ExportName,
}

impl Uri {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match backend::ask(global, Access::Read, &Request::Uris { name: self.name.to_string() })? {
            Response::Uris(uris) => {
                let output = Output::new(global);
                if !uris.running {
                    output.note("no daemon serves it now: start one with `silt serve`");
                }
                output.answer(&uris, || uris.uris.join("\n"))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
