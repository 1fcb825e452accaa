//! `silt attached`

use siltstone::attach::{self, Attached as Attachment};

use crate::args::Global;
use crate::data_dir::DataDir;
use crate::exit::Exit;
use crate::output::{Output, table};

/// List the volumes and snapshots that have a block device of this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Attached {}

impl Attached {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let dir = DataDir::new(&global.data)?;
        let attached = attach::list(dir.path())?;
        let document = serde_json::json!({ "attached": attached });
        Output::new(global).answer(&document, || text(&attached))?;
        Ok(Exit::Ok)
    }
}

fn text(attached: &[Attachment]) -> String {
    if attached.is_empty() {
        return String::new();
    }
    let row = |attachment: &Attachment| {
        let state = if attachment.broken { "broken" } else { "ok" };
        vec![
            attachment.name.clone(),
            attachment.device.display().to_string(),
            attachment.method.to_string(),
            state.to_owned(),
        ]
    };
    table(&["NAME", "DEVICE", "METHOD", "STATE"], &[], attached.iter().map(row))
}
