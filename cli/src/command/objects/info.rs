//! `silt objects info`

use siltstone::control::{ObjectDescription, Request, Response};
use siltstone::name::ObjectName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::{Output, fields};
use crate::size;

/// Show one object.
#[derive(Debug, clap::Args)]
pub(super) struct Info {
    /// The object.
    #[arg(value_parser = crate::command::object_name)]
    name: ObjectName,
}

impl Info {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match backend::ask(global, Access::Read, &Request::ObjectInfo { name: self.name.to_string() })? {
            Response::Object(object) => {
                Output::new(global).answer(&object, || text(&object))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

fn text(object: &ObjectDescription) -> String {
    let mut rows = vec![
        ("name", object.name.clone()),
        ("size", format!("{} ({} bytes)", size::human(object.size_bytes), object.size_bytes)),
        ("created", object.created.clone()),
        ("expires", object.expires.clone().unwrap_or_else(|| "never".into())),
        ("chunker", object.chunker.clone()),
        ("codec", object.codec.clone()),
    ];
    rows.extend(object.metadata.iter().map(|(key, value)| ("meta", format!("{key}={value}"))));
    fields(&rows)
}
