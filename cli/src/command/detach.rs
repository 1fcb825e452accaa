//! `silt detach`

use crate::args::Global;
use crate::data_dir::DataDir;
use crate::exit::Exit;
use crate::output::Output;

/// Take a volume's block device away. It must not be mounted.
#[derive(Debug, clap::Args)]
pub(crate) struct Detach {
    /// The volume or snapshot, or its device.
    #[arg(value_name = "NAME|DEVICE")]
    name: String,
}

impl Detach {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let dir = DataDir::new(&global.data)?;
        siltstone::attach::detach(dir.path(), &self.name)?;
        let document = serde_json::json!({ "detached": self.name });
        Output::new(global).done(&document, || format!("detached {}", self.name))?;
        Ok(Exit::Ok)
    }
}
