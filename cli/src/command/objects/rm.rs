//! `silt objects rm`

use siltstone::control::{Request, Response};
use siltstone::name::ObjectName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// Remove objects for good. There is no trash for them: whoever reads one meanwhile gets an error.
#[derive(Debug, clap::Args)]
pub(super) struct Rm {
    /// The objects. The first that cannot be removed ends the command.
    #[arg(required = true, value_parser = crate::command::object_name)]
    names: Vec<ObjectName>,
    /// Remove not the objects but what `silt put --resume` keeps of broken uploads of these names.
    #[arg(long)]
    upload: bool,
}

impl Rm {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        for name in &self.names {
            let request = Request::RemoveObject { name: name.to_string(), upload: self.upload };
            match backend::ask(global, Access::Write, &request)? {
                Response::Done => {}
                other => return Err(backend::unexpected(&other)),
            }
        }
        let names: Vec<_> = self.names.iter().map(ToString::to_string).collect();
        let document = serde_json::json!({ "removed": names });
        Output::new(global).done(&document, || format!("removed {}", names.join(", ")))?;
        Ok(Exit::Ok)
    }
}
