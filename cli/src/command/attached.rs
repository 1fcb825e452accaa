//! `silt attached`

use crate::args::Global;
use crate::attach::{self, Attached as Attachment};
use crate::data_dir::DataDir;
use crate::exit::Exit;
use crate::output::{Output, table};

/// List the volumes that have a block device of this machine.
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
        vec![attachment.name.clone(), attachment.device.display().to_string(), attachment.method.clone()]
    };
    table(&["NAME", "DEVICE", "METHOD"], &[], attached.iter().map(row))
}
